//! The image as it is built, in a bubblewrap sandbox as a machine would make it.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    probe::{Action, post, shell},
    world::{World, brief, end_of, has_uids},
};

const CAPABILITIES: [&str; 8] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETPCAP",
    "SETUID",
];

/// Builds the image from this build's binaries; the probe stands in for the harness.
fn build(world: &World) -> (String, PathBuf) {
    let target = world.path("target/debug");
    fs::create_dir_all(&target).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_supervisor"), target.join("supervisor")).unwrap();
    let script = "#!/bin/sh\nexport NIGHTSHIFT_PROBE=harness\n\
                  exec /opt/nightshift/bin/probe probe::play --exact --nocapture\n";
    fs::write(target.join("harness"), script).unwrap();
    fs::set_permissions(target.join("harness"), fs::Permissions::from_mode(0o755)).unwrap();
    let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("../build");
    let built = Command::new(recipe)
        .args(["--base", "host-usr", "--out"])
        .arg(world.path("images"))
        .env("CARGO_TARGET_DIR", world.path("target"))
        .output()
        .unwrap();
    assert!(built.status.success(), "{built:?}");
    let said = String::from_utf8(built.stdout).unwrap();
    let reference = said.lines().last().unwrap().to_owned();
    let hex = reference
        .strip_prefix("nightshift-sandbox@sha256:")
        .unwrap();
    let directory = world.path("images").join(hex);
    (reference, directory)
}

fn sandbox(world: &World, rootfs: &Path, uids: &str, accepted: &str) -> tokio::process::Command {
    fs::create_dir_all(world.path("fly")).unwrap();
    if !world.path("fly/api").exists() {
        fs::rename(world.path("identity.sock"), world.path("fly/api")).unwrap();
    }
    let mut bwrap = tokio::process::Command::new("bwrap");
    bwrap.args([
        "--unshare-pid",
        "--unshare-net",
        "--unshare-ipc",
        "--unshare-uts",
        "--clearenv",
    ]);
    bwrap.args(["--die-with-parent", "--new-session", "--cap-drop", "ALL"]);
    if uids == "single" {
        bwrap.args(["--unshare-user", "--uid", "0", "--gid", "0"]);
    }
    for capability in CAPABILITIES {
        bwrap.args(["--cap-add", &format!("CAP_{capability}")]);
    }
    bwrap.args(["--ro-bind", "/usr", "/usr"]);
    for top in ["bin", "sbin", "lib", "lib64"] {
        if let Ok(target) = fs::read_link(Path::new("/").join(top)) {
            bwrap
                .arg("--symlink")
                .arg(target)
                .arg(Path::new("/").join(top));
        }
    }
    for top in ["etc", "opt"] {
        bwrap
            .arg("--ro-bind")
            .arg(rootfs.join(top))
            .arg(Path::new("/").join(top));
    }
    fs::copy(world.path("probe"), rootfs.join("opt/nightshift/bin/probe")).unwrap();
    bwrap.args(["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]);
    bwrap.args(["--perms", "0755", "--tmpfs", "/run"]);
    bwrap.arg("--ro-bind").arg(world.path("fly")).arg("/.fly");
    bwrap
        .arg("--ro-bind")
        .arg(world.path("run/gateway.sock"))
        .arg("/run/gateway.sock");
    bwrap.arg("--bind").arg(world.path("data")).arg("/data");
    bwrap.args(["--remount-ro", "/"]);
    bwrap.args(["--setenv", "NIGHTSHIFT_SESSION", "http://session.test"]);
    bwrap.args(["--setenv", "NIGHTSHIFT_GATEWAY_SOCKET", "/run/gateway.sock"]);
    bwrap.args(["--setenv", "NIGHTSHIFT_UIDS", uids]);
    bwrap.args(["--setenv", "NIGHTSHIFT_ACCEPTED_RISKS", accepted]);
    bwrap.args(["--", "/opt/nightshift/bin/supervisor"]);
    let log = fs::File::create(world.path("log")).unwrap();
    bwrap.stdin(Stdio::null()).stderr(log).kill_on_drop(true);
    bwrap
}

#[test]
fn the_same_content_has_the_same_reference_and_other_content_another() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let _in_runtime = runtime.enter();
    let (one, two) = (World::new(), World::new());
    let (reference, directory) = build(&one);
    assert_eq!(build(&one).0, reference, "again, over what is there");
    assert_eq!(build(&two).0, reference, "and elsewhere");
    let manifest = fs::read(directory.join("image.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["digest"], reference.split_once('@').unwrap().1);
    assert_eq!(manifest["entrypoint"][0], "/opt/nightshift/bin/supervisor");
    assert_eq!(
        fs::read_dir(one.path("images")).unwrap().count(),
        1,
        "nothing half-made is left"
    );

    fs::write(two.path("target/debug/supervisor"), "another").unwrap();
    let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("../build");
    let mut again = Command::new(recipe);
    again
        .args(["--base", "host-usr", "--out"])
        .arg(two.path("images"))
        .env("CARGO_TARGET_DIR", two.path("target"));
    let said = String::from_utf8(again.output().unwrap().stdout).unwrap();
    assert!(
        said.starts_with("nightshift-sandbox@sha256:") && said.trim() != reference,
        "{said}"
    );
}

#[tokio::test]
async fn in_a_sandbox_it_checks_itself_and_runs_an_investigation() {
    if Command::new("bwrap").arg("--version").output().is_err() {
        return;
    }
    // Without root there is no range of user ids to be had.
    for uids in if has_uids() {
        &["range", "single"][..]
    } else {
        &["single"]
    } {
        let world = World::new();
        let (_, image) = build(&world);
        // No control groups are mounted in it, and in one for an ordinary user there is but one user.
        let (missing, accepted) = if *uids == "single" {
            ("`users` cannot be had", "cgroups,users")
        } else {
            ("`cgroups` cannot be had", "cgroups")
        };
        let rootfs = image.join("rootfs");
        let mut refused = sandbox(&world, &rootfs, uids, "").spawn().unwrap();
        assert_eq!(end_of(&mut refused).await, Some(77), "{}", world.log());
        assert!(world.log().contains(missing), "{uids}: {}", world.log());

        let mut command = sandbox(&world, &rootfs, uids, accepted);
        let mut checked = command.spawn().unwrap();
        assert_eq!(
            end_of(&mut checked).await,
            Some(0),
            "{uids}: {}",
            world.log()
        );
        assert!(
            world.log().contains("self-check passed"),
            "{uids}: {}",
            world.log()
        );

        let command_line = "id -un; grep -c : /proc/net/dev; touch /x 2>/dev/null || echo ro; \
                            (exec 3<>/.fly/api) 2>&1; ls /run/nightshift 2>&1; kill -9 1; echo on";
        let actions = [
            post("llm.test", "hello"),
            shell(command_line, 9_000),
            Action::Exit(9),
        ];
        world.platform.lock().unwrap().brief = Some(brief(&actions));
        world.platform.lock().unwrap().forget_key();
        let log = fs::File::create(world.path("log")).unwrap();
        let mut running = command.stderr(log).spawn().unwrap();
        assert_eq!(
            end_of(&mut running).await,
            Some(9),
            "{uids}: {}",
            world.log()
        );
        let results = world.results();
        assert!(results[0].contains("served hello"), "{uids}: {results:?}");
        let said = &results[1];
        assert!(
            said.contains("\\nro\\n") && said.contains("\\non\\n"),
            "{uids}: {said}"
        );
        if *uids == "range" {
            assert!(
                said.contains("\"stdout\":\"agent\\n1\\n"),
                "only loopback: {said}"
            );
            assert!(said.contains("cannot access '/run/nightshift'"), "{said}");
            assert!(said.contains("/.fly/api: Permission denied"), "{said}");
        }
        assert_eq!(world.violations(), [""; 0]);
    }
}
