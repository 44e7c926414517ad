//! What outlives a kill, and what outlives a deletion: everything, and nothing.

use std::path::{Path, PathBuf};

use nightshift_machines::{MachineState, WaitFor};

use crate::world::{ORG, SOON, World, traces, until};

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in directory.read_dir().unwrap() {
        let path = entry.unwrap().path();
        // Disks of images stay until the server starts again, as what was unpacked does.
        if path.file_name().is_some_and(|name| name == "disks") {
            continue;
        }
        if path.is_dir() {
            files.extend(files_below(&path));
        }
        files.push(path);
    }
    files
}

#[tokio::test]
async fn after_a_kill_everything_is_found_again_and_no_sandbox_runs_on() {
    let mut world = World::new().await;
    // A virtual machine has a cache of its own, which dies with its host; what was synced does not.
    let script = "cat /data/file; echo kept > /data/file; sync; echo READY; exec sleep 64.25";
    let running = world.make("running", script).await;
    let resting = world.make("resting", "true").await;
    let doomed = world.make("doomed", "echo READY; exec sleep 64.25").await;
    for made in [&running, &doomed] {
        world
            .client
            .start(&made.app, &made.machine.id)
            .await
            .unwrap();
    }
    // A sandbox that is killed with its server between exec and its first line may not have bound its
    // life to the server's yet; the server's next start ends that one.
    world.printed(&running, "READY").await;
    world.printed(&doomed, "READY").await;
    let both = || [&running, &doomed].map(|made| traces(made, "sleep 64.25").len());
    assert!(both().iter().all(|found| *found > 0));

    world.kill();
    until("sandboxes outlive the server", || {
        both().iter().all(|found| *found == 0)
    })
    .await;
    world.launch().await;

    for made in [&running, &resting] {
        let machine = world
            .client
            .machine(&made.app, &made.machine.id)
            .await
            .unwrap();
        assert_eq!(machine.state, MachineState::Stopped, "{}", made.app);
        assert_eq!(machine.instance_id, made.machine.instance_id);
        let volume = world.client.volume(&made.app, &made.volume).await.unwrap();
        assert_eq!(volume.attached_machine_id.as_ref(), Some(&made.machine.id));
    }
    let machine = world
        .client
        .machine("running", &running.machine.id)
        .await
        .unwrap();
    let exit = machine.last_exit().unwrap();
    assert_eq!((exit.exit_code, exit.requested_stop), (137, false));
    let machine = world
        .client
        .machine("resting", &resting.machine.id)
        .await
        .unwrap();
    assert!(
        machine.last_exit().is_none(),
        "what did not run did not exit"
    );

    world
        .client
        .start("running", &running.machine.id)
        .await
        .unwrap();
    world.printed(&running, "kept\nREADY").await;
    world.client.delete_app("doomed").await.unwrap();
    let waited = world
        .client
        .wait("doomed", &doomed.machine.id, WaitFor::Destroyed, SOON)
        .await;
    waited.unwrap();
}

#[tokio::test]
async fn once_all_is_deleted_no_process_socket_or_file_is_left() {
    let world = World::with(&["--tombstone-ms", "100"]).await;
    let before = files_below(&world.state());
    let scripts = [
        "exec sleep 65.25",
        // Leaves files that are closed to all, and processes in a session of their own.
        "mkdir -p /data/deep/er; touch /data/deep/er/f; chmod 000 /data/deep; \
         setsid sleep 65.25 & echo READY; exec sleep 65.25",
        "true",
    ];
    let mut made = Vec::new();
    for (nth, script) in scripts.iter().enumerate() {
        let one = world.make(&format!("app-{nth}"), script).await;
        world.client.start(&one.app, &one.machine.id).await.unwrap();
        made.push(one);
    }
    world.printed(&made[1], "READY").await;
    world.stopped(&made[2]).await;
    assert_eq!(world.client.app("app-0").await.unwrap().machine_count, 1);

    for one in &made[..2] {
        world
            .client
            .force_delete_machine(&one.app, &one.machine.id)
            .await
            .unwrap();
        let destroyed = world
            .client
            .wait(&one.app, &one.machine.id, WaitFor::Destroyed, SOON)
            .await;
        destroyed.unwrap();
        while world
            .client
            .delete_volume(&one.app, &one.volume)
            .await
            .is_err()
        {
            crate::world::pause().await;
        }
        world.client.delete_app(&one.app).await.unwrap();
    }
    // The third goes with its app, all at once.
    world.client.delete_app("app-2").await.unwrap();

    for one in &made {
        let mut gone = false;
        while !gone {
            gone = world
                .client
                .app(&one.app)
                .await
                .is_err_and(|error| error.is_gone());
        }
    }
    until("processes are left", || {
        made.iter().all(|one| traces(one, "sleep 65.25").is_empty())
    })
    .await;
    until("files are left", || files_below(&world.state()) == before).await;
    assert!(
        world
            .client
            .org_machines(ORG)
            .await
            .unwrap()
            .machines
            .is_empty()
    );
    let children = format!("/proc/{0}/task/{0}/children", world.pid());
    let zombies = || {
        std::fs::read_to_string(&children)
            .unwrap()
            .trim()
            .is_empty()
    };
    until("children are not reaped", zombies).await;
}

#[tokio::test]
async fn when_its_parent_is_gone_the_server_stops_every_sandbox_and_exits() {
    let mut world = World::new().await;
    let script = "trap 'exit 0' TERM; echo READY; while :; do sleep 0.05; done; : 66.25";
    let made = world.make("a", script).await;
    world.client.start("a", &made.machine.id).await.unwrap();
    world.printed(&made, "READY").await;
    let status = world.hang_up();
    assert!(status.success(), "{status}");
    assert!(traces(&made, ": 66.25").is_empty());

    world.launch().await;
    let machine = world.client.machine("a", &made.machine.id).await.unwrap();
    assert_eq!(machine.state, MachineState::Stopped);
    assert_eq!(
        machine.last_exit().map(|exit| exit.exit_code),
        Some(0),
        "it was asked first"
    );
}
