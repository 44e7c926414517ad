//! The same, when machined runs as an ordinary user.

use std::process::Command;

use crate::{
    gateway, identity, isolation,
    world::{Options, World, is_root, skipped},
};

/// A user nobody is.
const USER: u32 = 54_321;

/// Why it cannot be tried here, if it cannot.
fn obstacle() -> Option<String> {
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
