//! The same, when machined runs as an ordinary user.

use std::{os::unix::fs::MetadataExt, process::Command};

use crate::{
    gateway, identity, isolation,
    world::{Options, World, is_qemu, is_root, skipped},
};

/// A user nobody is.
const USER: u32 = 54_321;
/// A user that exists everywhere; `newuidmap` insists on one.
const NOBODY: u32 = 65_534;

/// Why it cannot be tried here, if it cannot.
fn obstacle() -> Option<String> {
    if is_qemu() {
        return Some("what is said here is about users that share the host's kernel".to_owned());
    }
    if !is_root() {
        return Some("the tests run as an ordinary user already".to_owned());
    }
    let user = USER.to_string();
    let tried = Command::new("setpriv")
        .args([
            "--reuid",
            &user,
            "--regid",
            &user,
            "--clear-groups",
            "bwrap",
        ])
        .args(["--unshare-all", "--ro-bind", "/", "/", "true"])
        .output()
        .unwrap();
    let why = String::from_utf8_lossy(&tried.stderr).into_owned();
    (!tried.status.success()).then(|| format!("user namespaces are off for users: {why}"))
}

#[tokio::test]
async fn as_an_ordinary_user_sandboxes_are_as_closed_and_know_who_they_are() {
    if let Some(why) = obstacle() {
        skipped(&why);
        return;
    }
    let (seen, base) = gateway::upstream().await;
    let arguments = vec![
        format!("--egress=tools={base}"),
        "--egress=down=http://127.0.0.1:1".to_owned(),
    ];
    let options = Options {
        arguments,
        user: Some(USER),
        ..Options::default()
    };
    let mut world = World::start(options).await;
    isolation::sees_nothing_of_the_host(&world).await;
    identity::names_the_machine(&world).await;
    gateway::forwards_what_is_allowed_and_refuses_the_rest(&world, &seen).await;

    let script = "mkdir -p /data/shut/er; chmod 000 /data/shut; echo $NIGHTSHIFT_UIDS; id -u";
    let made = world.make("users", script).await;
    world.client.start("users", &made.machine.id).await.unwrap();
    world.stopped(&made).await;
    assert_eq!(world.printed(&made, "0\n").await, "single\n0\n");
    let metadata = world
        .client
        .metadata("users", &made.machine.id)
        .await
        .unwrap();
    assert_eq!(metadata["uid_map"], "single");

    world.kill();
    world.launch().await;
    world
        .client
        .machine("users", &made.machine.id)
        .await
        .unwrap();
    world.client.delete_app("users").await.unwrap();
    let files = world.state().join("volumes").join(&made.volume);
    crate::world::until("a closed directory is left", || !files.exists()).await;
}

#[tokio::test]
async fn an_ordinary_user_with_subordinate_users_has_several_inside_and_can_delete_their_files() {
    let needed = ["/usr/bin/newuidmap", "/etc/subuid", "/etc/subgid"];
    let missing = needed
        .into_iter()
        .find(|path| !std::path::Path::new(path).exists());
    if let Some(why) = obstacle().or(missing.map(|path| format!("{path} is not there"))) {
        skipped(&why);
        return;
    }
    let options = Options {
        user: Some(NOBODY),
        subordinate: true,
        ..Options::default()
    };
    let world = World::start(options).await;
    let script = "mkdir -m 777 /data/all; for u in 1001 1002; do setpriv --reuid $u --regid $u \
                  --clear-groups sh -c 'mkdir -m 700 /data/all/$(id -u) && \
                  touch /data/all/$(id -u)/f; id -u; ls /.fly'; done; echo $NIGHTSHIFT_UIDS";
    let made = world.make("a", script).await;
    world.client.start("a", &made.machine.id).await.unwrap();
    let printed = world.printed(&made, "range").await;
    for part in ["1001\n", "1002\n", "ls: cannot open directory '/.fly'"] {
        assert!(printed.contains(part), "{printed}");
    }
    let files = world.state().join("volumes").join(&made.volume);
    for (name, owner) in [("1001", 300_001), ("1002", 300_002)] {
        let path = files.join("data/all").join(name);
        assert_eq!(path.metadata().unwrap().uid(), owner, "{name}");
    }
    world.client.delete_app("a").await.unwrap();
    crate::world::until("their files are left", || !files.exists()).await;
}
