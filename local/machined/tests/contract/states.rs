//! States, and what moves a machine between them.

use nightshift_machines::{Machine, MachineState, MachinesError, Restart, RestartPolicy, WaitFor};

use crate::world::{Made, SOON, World, until};

async fn read(world: &World, made: &Made) -> Machine {
    world
        .client
        .machine(&made.app, &made.machine.id)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_new_machine_refuses_to_start_until_it_rests_in_stopped() {
    let world = World::with(&["--prepare-ms", "400"]).await;
    let app = world.app("a").await;
    let new = world.new_machine("m", "exec sleep 60");
    let machine = world.client.create_machine(&app, &new).await.unwrap();
    assert_eq!(machine.state, MachineState::Created);

    let early = world.client.start(&app, &machine.id).await;
    assert!(
        matches!(&early, Err(MachinesError::NotSettled(refusal))
        if refusal.text.contains("current state: 'created'")),
        "{early:?}"
    );

    let waited = world
        .client
        .wait(&app, &machine.id, WaitFor::Stopped, SOON)
        .await
        .unwrap();
    assert_eq!(
        (waited.state.as_str(), waited.version),
        ("stopped", machine.instance_id)
    );
    let started = world.client.start(&app, &machine.id).await.unwrap();
    assert_eq!(started.previous_state, "stopped");
    let again = world.client.start(&app, &machine.id).await.unwrap();
    assert_eq!(
        again.previous_state, "started",
        "starting a started one is no error"
    );
}

#[tokio::test]
async fn a_machine_that_has_just_exited_refuses_to_start_for_a_moment() {
    let world = World::with(&["--settle-ms", "400"]).await;
    let made = world.make("a", "exit 3").await;
    world
        .client
        .start(&made.app, &made.machine.id)
        .await
        .unwrap();
    world.stopped(&made).await;
    let early = world.client.start(&made.app, &made.machine.id).await;
    assert!(
        matches!(&early, Err(MachinesError::NotSettled(refusal))
        if refusal.text.contains("still active")),
        "{early:?}"
    );
    let exit = read(&world, &made).await.last_exit().cloned().unwrap();
    assert_eq!(
        (exit.exit_code, exit.requested_stop, exit.restarting),
        (3, false, false)
    );
    while world
        .client
        .start(&made.app, &made.machine.id)
        .await
        .is_err()
    {
        crate::world::pause().await;
    }
}

#[tokio::test]
async fn a_machine_is_asked_to_stop_by_its_signal_and_killed_when_it_does_not() {
    let world = World::new().await;
    let polite = "trap 'echo goodbye; exit 7' INT; echo ready; while :; do sleep 0.05; done";
    let made = world.make("polite", polite).await;
    world
        .client
        .start(&made.app, &made.machine.id)
        .await
        .unwrap();
    world.printed(&made, "ready").await;
    world
        .client
        .stop(&made.app, &made.machine.id)
        .await
        .unwrap();
    world.stopped(&made).await;
    world.printed(&made, "goodbye").await;
    let exit = read(&world, &made).await.last_exit().cloned().unwrap();
    assert_eq!((exit.exit_code, exit.requested_stop), (7, true));

    let deaf = "trap '' INT TERM; echo ready; while :; do sleep 0.05; done";
    let made = world.make("deaf", deaf).await;
    world
        .client
        .start(&made.app, &made.machine.id)
        .await
        .unwrap();
    world.printed(&made, "ready").await;
    let path = format!("/v1/apps/deaf/machines/{}/stop", made.machine.id);
    let body = serde_json::json!({ "signal": "SIGTERM", "timeout": "200ms" });
    assert!(
        world
            .call("POST", &path, Some(body))
            .await
            .status()
            .is_success()
    );
    world.stopped(&made).await;
    assert_eq!(
        read(&world, &made)
            .await
            .last_exit()
            .map(|exit| exit.exit_code),
        Some(137)
    );
}

#[tokio::test]
async fn a_machine_restarts_by_its_policy_and_not_beyond() {
    let world = World::new().await;
    let restart = |policy, max_retries| {
        Some(Restart {
            policy,
            max_retries,
        })
    };
    let script = "echo run >> /data/runs; echo run; exit 3";
    for (name, policy, script, runs) in [
        ("never", restart(RestartPolicy::No, None), script, 1),
        (
            "failing",
            restart(RestartPolicy::OnFailure, Some(2)),
            script,
            3,
        ),
        (
            "content",
            restart(RestartPolicy::OnFailure, Some(2)),
            "echo run; exit 0",
            1,
        ),
    ] {
        let app = world.app(name).await;
        let mut new = world.new_machine(
            name,
            script.replace("echo run >> /data/runs; ", "").as_str(),
        );
        new.config.restart = policy;
        let machine = world.client.create_machine(&app, &new).await.unwrap();
        world
            .client
            .wait(&app, &machine.id, WaitFor::Stopped, SOON)
            .await
            .unwrap();
        world.client.start(&app, &machine.id).await.unwrap();
        let made = Made {
            app,
            volume: String::new(),
            machine,
        };
        loop {
            let exit = read(&world, &made).await.last_exit().cloned();
            if exit.is_some_and(|exit| !exit.restarting) {
                break;
            }
            crate::world::pause().await;
        }
        let printed = world.printed(&made, "run").await;
        assert_eq!(printed.matches("run").count(), runs, "{name}: {printed}");
    }

    let app = world.app("always").await;
    let mut new = world.new_machine("always", "echo run; exit 0");
    new.config.restart = restart(RestartPolicy::Always, None);
    let machine = world.client.create_machine(&app, &new).await.unwrap();
    world
        .client
        .wait(&app, &machine.id, WaitFor::Stopped, SOON)
        .await
        .unwrap();
    world.client.start(&app, &machine.id).await.unwrap();
    world
        .printed(
            &Made {
                app,
                volume: String::new(),
                machine,
            },
            "run\nrun\nrun",
        )
        .await;
}

#[tokio::test]
async fn a_machine_that_destroys_itself_does_so_even_when_it_fails() {
    let world = World::new().await;
    let app = world.app("a").await;
    let mut new = world.new_machine("m", "exit 9");
    new.config.auto_destroy = true;
    let machine = world.client.create_machine(&app, &new).await.unwrap();
    world
        .client
        .wait(&app, &machine.id, WaitFor::Stopped, SOON)
        .await
        .unwrap();
    world.client.start(&app, &machine.id).await.unwrap();
    world
        .client
        .wait(&app, &machine.id, WaitFor::Destroyed, SOON)
        .await
        .unwrap();
    assert!(
        world
            .client
            .find_machine(&app, "m")
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn a_destroyed_machine_is_shown_for_a_while_and_holds_its_volume_a_little_longer() {
    let world = World::with(&["--tombstone-ms", "300", "--release-ms", "200"]).await;
    let made = world.make("a", "exec sleep 60").await;
    let (app, id) = (&made.app, &made.machine.id);
    world.client.start(app, id).await.unwrap();

    let gently = world.client.delete_machine(app, id).await;
    assert!(
        matches!(gently, Err(MachinesError::NotStopped(_))),
        "{gently:?}"
    );
    world.client.force_delete_machine(app, id).await.unwrap();
    world
        .client
        .wait(app, id, WaitFor::Destroyed, SOON)
        .await
        .unwrap();
    assert_eq!(read(&world, &made).await.state, MachineState::Destroyed);

    let bound = world.client.delete_volume(app, &made.volume).await;
    assert!(
        matches!(&bound, Err(MachinesError::VolumeClaimed { machine, .. })
        if machine.as_ref() == Some(id)),
        "{bound:?}"
    );
    while world.client.delete_volume(app, &made.volume).await.is_err() {
        crate::world::pause().await;
    }
    let volume = world.client.volume(app, &made.volume).await.unwrap();
    assert!(volume.state.is_leaving(), "{volume:?}");
    assert_eq!(world.client.find_volume(app, "data").await.unwrap(), None);

    let mut gone = false;
    while !gone {
        gone = world
            .client
            .machine(app, id)
            .await
            .is_err_and(|error| error.is_gone());
    }
    until("its directory is left", || {
        !world.state().join("machines").join(id).exists()
    })
    .await;
}

#[tokio::test]
async fn a_volume_keeps_its_files_over_a_stop_and_loses_them_when_deleted() {
    let world = World::new().await;
    let made = world
        .make("a", "echo once more >> /data/file; cat /data/file")
        .await;
    for times in 1..=3 {
        while world
            .client
            .start(&made.app, &made.machine.id)
            .await
            .is_err()
        {
            crate::world::pause().await;
        }
        world.stopped(&made).await;
        world.printed(&made, &"once more\n".repeat(times)).await;
    }
    let files = world.state().join("volumes").join(&made.volume);
    assert!(files.exists());

    let bound = world.client.delete_volume(&made.app, &made.volume).await;
    assert!(
        matches!(bound, Err(MachinesError::VolumeClaimed { .. })),
        "{bound:?}"
    );
    while world
        .client
        .start(&made.app, &made.machine.id)
        .await
        .is_err()
    {
        crate::world::pause().await;
    }
    world.stopped(&made).await;
    // A refused deletion deletes nothing.
    world.printed(&made, &"once more\n".repeat(4 + 6)).await;
    world
        .client
        .delete_machine(&made.app, &made.machine.id)
        .await
        .unwrap();
    while world
        .client
        .delete_volume(&made.app, &made.volume)
        .await
        .is_err()
    {
        crate::world::pause().await;
    }
    assert!(!files.exists());
}

#[tokio::test]
async fn a_machine_that_cannot_boot_fails_and_says_so() {
    let world = World::new().await;
    let app = world.app("a").await;
    let mut new = world.new_machine("m", "true");
    new.config.init = Some(nightshift_machines::Init {
        exec: Some(vec!["/no/such/program".to_owned()]),
    });
    let machine = world.client.create_machine(&app, &new).await.unwrap();
    world
        .client
        .wait(&app, &machine.id, WaitFor::Stopped, SOON)
        .await
        .unwrap();
    world.client.start(&app, &machine.id).await.unwrap();
    world
        .client
        .wait(&app, &machine.id, WaitFor::Stopped, SOON)
        .await
        .unwrap();
    let made = Made {
        app,
        volume: String::new(),
        machine,
    };
    assert_eq!(
        read(&world, &made)
            .await
            .last_exit()
            .map(|exit| exit.exit_code),
        Some(1)
    );
    world.printed(&made, "/no/such/program").await;
}
