//! OCI images: run as they are, to the byte, and nothing of one leaves its place.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use nightshift_machines::{MachinesError, NewMachine, WaitFor};
use serde_json::json;
use tar::EntryType;

use crate::{
    oci::{self, Layer, Layout},
    world::{Options, SOON, World, is_root, skipped},
};

/// Printed by one script, with what a shell can do by itself.
const LOOK: &str = r#"
cd /etc; echo "etc=$(echo *)"
cd /deep; echo "deep=$(echo *)"
cd /sub; echo "sub=$(echo *)"
read a </name; read b </second; read c </link; echo "read=$a $b $c"
[ -x /name ] && echo bad=executable; [ -x /bin/sh ] && echo good=executable
[ -e /usr/bin/env ] && echo bad=host-usr
(echo x >/etc/x) 2>/dev/null && echo bad=wrote
echo x >/tmp/x && echo good=tmp; echo x >/run/x && echo good=run
echo "env=$FROM_IMAGE"; echo END
"#;

fn images(world: &World) -> std::path::PathBuf {
    world.directory.path().join("images")
}

/// Two layers of which the second changes and hides parts of the first.
fn two_layers(world: &World) -> Layout {
    let first = Layer::new()
        .directory("./", 0o755)
        .shell()
        .directory("etc/", 0o755)
        .file("etc/gone", 0o644, b"x")
        .file("etc/kept", 0o644, b"x")
        .directory("deep", 0o755)
        .file("deep/a", 0o644, b"x")
        .directory("deep/b", 0o755)
        .file("deep/b/c", 0o644, b"x")
        .directory("sub", 0o555)
        .file("sub/old", 0o644, b"x")
        .file("name", 0o755, b"first\n");
    let second = Layer::new()
        .file("etc/.wh.gone", 0o644, b"")
        .file("deep/new", 0o644, b"x")
        .file("deep/.wh..wh..opq", 0o644, b"")
        .file("sub/new", 0o600, b"x")
        .file("name", 0o644, b"second\n")
        .hard_link("second", "name")
        .link("link", "/name");
    oci::write(&images(world), vec![first, second], LOOK)
}

fn machine(name: &str, reference: &str) -> NewMachine {
    let mut new = NewMachine {
        name: name.to_owned(),
        region: crate::world::REGION.to_owned(),
        config: nightshift_machines::MachineConfig::default(),
        skip_launch: true,
    };
    reference.clone_into(&mut new.config.image);
    new
}

/// Runs the image's own program and returns what it printed.
async fn run(world: &World, app: &str, reference: &str) -> String {
    world.app(app).await;
    let mut new = machine(app, reference);
    new.config.restart = world.config("").restart;
    let made = world.client.create_machine(app, &new).await.unwrap();
    let stopped = world.client.wait(app, &made.id, WaitFor::Stopped, SOON);
    stopped.await.unwrap();
    world.client.start(app, &made.id).await.unwrap();
    let made = crate::world::Made {
        app: app.to_owned(),
        volume: String::new(),
        machine: made,
    };
    world.printed(&made, "END").await
}

fn is_as_written(printed: &str) {
    for line in [
        "etc=kept",
        "deep=new",
        "sub=new old",
        "read=second second second",
        "good=executable",
        "good=tmp",
        "good=run",
        "env=yes",
    ] {
        assert!(
            printed.lines().any(|printed| printed == line),
            "{line}: {printed}"
        );
    }
    assert!(!printed.contains("bad="), "{printed}");
}

#[tokio::test]
async fn an_image_runs_as_its_layers_say_from_a_directory_and_from_an_archive() {
    let world = World::new().await;
    let layout = two_layers(&world);
    is_as_written(&run(&world, "a", &layout.reference()).await);

    let unpacked = world.state().join("images").join(&layout.hex);
    let sub = unpacked.join("rootfs/sub").metadata().unwrap();
    assert_eq!(sub.mode() & 0o7777, if is_root() { 0o555 } else { 0o755 });
    assert_eq!(sub.mtime(), 1_000_000_000);
    let (name, second) = ("rootfs/name", "rootfs/second");
    let inode = |path| unpacked.join(path).metadata().unwrap().ino();
    assert_eq!(inode(name), inode(second), "a hard link is one file");

    let world = World::new().await;
    let layout = two_layers(&world);
    layout.archive();
    is_as_written(&run(&world, "a", &layout.reference()).await);
}

#[tokio::test]
async fn as_an_ordinary_user_an_image_runs_just_so() {
    if !is_root() {
        skipped("the tests run as an ordinary user already");
        return;
    }
    let options = Options {
        user: Some(54_321),
        ..Options::default()
    };
    let mut world = World::start(options).await;
    let layout = two_layers(&world);
    is_as_written(&run(&world, "a", &layout.reference()).await);

    // Gone with its layout and its last machine, closed directories and all.
    world.client.delete_app("a").await.unwrap();
    fs::remove_dir_all(&layout.directory).unwrap();
    let unpacked = world.state().join("images").join(&layout.hex);
    let records = world.state().join("records/machines");
    crate::world::until("the machine is not forgotten", || {
        fs::read_dir(&records).unwrap().next().is_none()
    })
    .await;
    assert!(unpacked.exists());
    world.kill();
    world.launch().await;
    assert!(!unpacked.exists());
}

#[tokio::test]
async fn an_image_is_unpacked_once_and_lasts_as_long_as_a_machine_of_it() {
    let mut world = World::new().await;
    let layout = two_layers(&world);
    let reference = layout.reference();
    world.app("a").await;
    let (first, second) = (machine("m1", &reference), machine("m2", &reference));
    let (first, second) = tokio::join!(
        world.client.create_machine("a", &first),
        world.client.create_machine("a", &second),
    );
    for made in [first.unwrap(), second.unwrap()] {
        let stopped = world.client.wait("a", &made.id, WaitFor::Stopped, SOON);
        stopped.await.unwrap();
    }
    let unpacked = world.state().join("images");
    let root = unpacked.join(&layout.hex).join("rootfs");
    let inode = root.metadata().unwrap().ino();

    // A kill in the middle of unpacking leaves a draft; its image may be gone meanwhile.
    world.kill();
    let draft = unpacked.join(format!(".new-{}", "0".repeat(64)));
    fs::create_dir(&draft).unwrap();
    fs::remove_dir_all(&layout.directory).unwrap();
    world.launch().await;
    assert!(!draft.exists());
    is_as_written(&run(&world, "b", &reference).await);
    assert_eq!(root.metadata().unwrap().ino(), inode, "unpacked again");
}

#[tokio::test]
async fn one_wrong_byte_in_any_blob_is_refused() {
    let world = World::new().await;
    let spoil = |path: &Path, at: usize| {
        let mut bytes = fs::read(path).unwrap();
        let at = at.min(bytes.len() - 1);
        bytes[at] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    let app = world.app("a").await;

    // What names the layers is read when a machine is made, which then is not. What is wrong means the
    // same, so nothing but the digest tells.
    for which in ["manifest", "config"] {
        let layout = two_layers(&world);
        let hex = if which == "config" {
            &layout.config
        } else {
            &layout.hex
        };
        let mut text = fs::read(layout.blob(hex)).unwrap();
        text.push(b' ');
        fs::write(layout.blob(hex), text).unwrap();
        let new = json!({ "config": { "image": layout.reference() } });
        let machines = format!("/v1/apps/{app}/machines");
        let (status, why) = world.refused("POST", &machines, Some(new)).await;
        let says = format!("blob sha256:{hex} is not what its name says");
        assert!(
            status == 422 && why.contains(&says),
            "{which}: {status} {why}"
        );
        fs::remove_dir_all(&layout.directory).unwrap();
    }

    // The layers are read when it is prepared.
    for (number, at) in [(0, 30_000), (0, usize::MAX), (1, 600), (1, usize::MAX)] {
        let layout = two_layers(&world);
        spoil(&layout.blob(&layout.layers[number]), at);
        let name = format!("of-byte-{number}-{at}");
        let why = refusal(&world, &name, &layout.reference()).await;
        let says = format!(
            "blob sha256:{} is not what its name says",
            layout.layers[number]
        );
        assert!(why.contains(&says), "{number} {at}: {why}");
        fs::remove_dir_all(&layout.directory).unwrap();
    }

    // More than there should be is as wrong as less.
    let layout = two_layers(&world);
    let blob = layout.blob(&layout.layers[1]);
    let mut bytes = fs::read(&blob).unwrap();
    bytes.push(0);
    fs::write(&blob, bytes).unwrap();
    let why = refusal(&world, "longer", &layout.reference()).await;
    assert!(why.contains("is not what its name says"), "{why}");
    assert_eq!(
        fs::read_dir(world.state().join("images")).unwrap().count(),
        0
    );
}

/// A name, a layer that no image may have, and what is said of it. `outside` is a directory of the host's.
fn evil(outside: &str) -> Vec<(&'static str, Layer, &'static str)> {
    let file = |name: &str| Layer::new().file(name, 0o644, b"x");
    let special = |kind| Layer::new().entry(kind, "x", 0o666, "", b"");
    let through = |name: &str| Layer::new().link("way", outside).file(name, 0o644, b"x");
    vec![
        ("climbs", file("../../victim/file"), "leaves the image"),
        (
            "climbs-late",
            file("a/../../victim/file"),
            "leaves the image",
        ),
        (
            "absolute",
            file(&format!("{outside}/file")),
            "leaves the image",
        ),
        ("through-a-link", through("way/file"), "goes through a link"),
        (
            "through-a-file",
            file("way").file("way/file", 0o644, b"x"),
            "goes through a link or a file",
        ),
        (
            "dir-through",
            Layer::new()
                .link("way", outside)
                .directory("way/made", 0o755),
            "goes through a link",
        ),
        (
            "hidden-through",
            through("way/.wh.file"),
            "goes through a link",
        ),
        (
            "opaque-through",
            through("way/.wh..wh..opq"),
            "goes through a link",
        ),
        ("hidden-climbs", file(".wh..."), "is no whiteout"),
        (
            "hard-absolute",
            Layer::new().hard_link("x", &format!("{outside}/file")),
            "links out of the image",
        ),
        (
            "hard-climbs",
            Layer::new().hard_link("x", "../../victim/file"),
            "links out of the image",
        ),
        (
            "hard-through",
            Layer::new().link("way", outside).hard_link("x", "way/file"),
            "goes through a link",
        ),
        (
            "hard-to-link",
            Layer::new().link("way", outside).hard_link("x", "way"),
            "is no file of the image",
        ),
        (
            "hard-to-self",
            file("x").hard_link("x", "x"),
            "is no file of the image",
        ),
        (
            "character",
            special(EntryType::Char),
            "is no file, directory or link",
        ),
        (
            "block",
            special(EntryType::Block),
            "is no file, directory or link",
        ),
        (
            "fifo",
            special(EntryType::Fifo),
            "is no file, directory or link",
        ),
        (
            "setuid",
            Layer::new().file("x", 0o4755, b"x"),
            "grants the rights",
        ),
        (
            "setgid",
            Layer::new().file("x", 0o2755, b"x"),
            "grants the rights",
        ),
        (
            "capability",
            Layer::new().with_attribute("x", "SCHILY.xattr.security.capability"),
            "extended attributes",
        ),
        (
            "root-link",
            Layer::new().link("./", outside),
            "stands in for the root",
        ),
    ]
}

#[tokio::test]
async fn an_entry_that_leaves_the_image_or_grants_a_privilege_is_refused() {
    let world = World::new().await;
    let victim = world.directory.path().join("victim");
    let outside = victim.to_str().unwrap().to_owned();
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("file"), "untouched").unwrap();
    world.app("a").await;
    for (name, layer, says) in evil(&outside) {
        let layout = oci::write(&images(&world), vec![layer], "true");
        let why = refusal(&world, name, &layout.reference()).await;
        assert!(why.contains(says), "{name}: {why}");
    }
    assert_eq!(fs::read_dir(&victim).unwrap().count(), 1);
    assert_eq!(
        fs::read_to_string(victim.join("file")).unwrap(),
        "untouched"
    );
    assert_eq!(victim.join("file").metadata().unwrap().nlink(), 1);
    assert_eq!(
        fs::read_dir(world.state().join("images")).unwrap().count(),
        0
    );
}

#[tokio::test]
async fn what_is_not_modelled_is_refused_and_not_ignored() {
    let world = World::new().await;
    let app = world.app("a").await;
    let program = |more: serde_json::Value| {
        let mut config = json!({ "Entrypoint": ["/bin/sh"] });
        config
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        config
    };
    for config in [json!({ "User": "1001" }), json!({ "WorkingDir": "/data" })] {
        let layers = vec![Layer::new().directory("etc", 0o755)];
        let layout = oci::write_with(&images(&world), layers, &program(config.clone()));
        let refused = world
            .client
            .create_machine(&app, &machine("m", &layout.reference()))
            .await;
        assert!(
            matches!(refused, Err(MachinesError::Rejected(_))),
            "{config}: {refused:?}"
        );
    }
    assert!(world.client.machines(&app).await.unwrap().is_empty());
}

/// Why a machine of this image cannot be started.
async fn refusal(world: &World, name: &str, reference: &str) -> String {
    let made = world
        .client
        .create_machine("a", &machine(name, reference))
        .await
        .unwrap();
    let settled = format!(
        "/v1/apps/a/machines/{}/wait?state=settled&timeout=15",
        made.id
    );
    let settled = world
        .call("GET", &settled, None)
        .await
        .text()
        .await
        .unwrap();
    assert!(settled.contains("\"failed\""), "{name}: {settled}");
    let start = format!("/v1/apps/a/machines/{}/start", made.id);
    let (status, why) = world.refused("POST", &start, None).await;
    assert_eq!(status, 422, "{name}: {why}");
    why
}
