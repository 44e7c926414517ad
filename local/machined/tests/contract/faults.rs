//! Each fault, as a caller sees it, and what it leaves behind.

use nightshift_machines::{Decision, MachinesError, NewVolume};

use crate::world::{ORG, REGION, World};

#[tokio::test]
async fn a_full_host_refuses_a_start_once_and_the_machine_stays_stopped() {
    let world = World::new().await;
    let made = world.make("a", "exec sleep 60").await;
    world.fault("start", "host_full").await;
    let refused = world.client.start("a", &made.machine.id).await;
    assert!(
        matches!(refused, Err(MachinesError::HostFull(_))),
        "{refused:?}"
    );
    let started = world.client.start("a", &made.machine.id).await.unwrap();
    assert_eq!(started.previous_state, "stopped");

    world.app("b").await;
    world.fault("create_machine", "host_full").await;
    let refused = world
        .client
        .create_machine("b", &world.new_machine("m", "true"))
        .await;
    assert!(
        matches!(refused, Err(MachinesError::RegionFull(_))),
        "{refused:?}"
    );
    world.fault("create_volume", "host_full").await;
    let new = NewVolume::for_sandbox("v", REGION, 1);
    let refused = world.client.create_volume("b", &new).await;
    assert!(
        matches!(refused, Err(MachinesError::RegionFull(_))),
        "{refused:?}"
    );

    let volume = world.client.create_volume("b", &new).await.unwrap().id;
    let mut new = world.new_machine("m", "true");
    new.config.mounts = vec![nightshift_machines::Mount {
        volume,
        path: "/data".to_owned(),
    }];
    world.fault("create_machine", "host_full").await;
    let refused = world.client.create_machine("b", &new).await;
    assert!(
        matches!(refused, Err(MachinesError::VolumeHostFull(_))),
        "{refused:?}"
    );
    assert!(world.client.machines("b").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_call_that_timed_out_may_have_happened_and_is_found_by_name() {
    let world = World::new().await;
    world.app("a").await;
    let new = world.new_machine("m", "true");
    world.fault("create_machine", "timeout_after_effect").await;
    let unknown = world.client.create_machine("a", &new).await.unwrap_err();
    assert_eq!(unknown.decision(), Decision::LookUp, "{unknown}");
    let found = world.client.find_machine("a", "m").await.unwrap().unwrap();
    let again = world.client.create_machine("a", &new).await;
    assert!(
        matches!(again, Err(MachinesError::NameTaken { machine, .. })
        if machine == Some(found.id))
    );

    let new = world.new_machine("n", "true");
    world.fault("create_machine", "error_before").await;
    let unknown = world.client.create_machine("a", &new).await.unwrap_err();
    assert_eq!(
        unknown.decision(),
        Decision::LookUp,
        "the text of a 5xx tells nothing: {unknown}"
    );
    assert_eq!(world.client.find_machine("a", "n").await.unwrap(), None);
    world.client.create_machine("a", &new).await.unwrap();
}

#[tokio::test]
async fn a_lost_machine_is_nowhere_and_neither_is_its_volume() {
    let world = World::new().await;
    let made = world.make("a", "exec sleep 61.25").await;
    world.client.start("a", &made.machine.id).await.unwrap();
    world.fault("get_machine", "lost_machine").await;
    let lost = world.client.machine("a", &made.machine.id).await;
    assert!(lost.unwrap_err().is_gone());
    assert!(
        world
            .client
            .volume("a", &made.volume)
            .await
            .unwrap_err()
            .is_gone()
    );
    assert!(world.client.machines("a").await.unwrap().is_empty());
    let none = || crate::world::traces(&made, "sleep 61.25").is_empty();
    crate::world::until("its processes run on", none).await;
}

#[tokio::test]
async fn limits_slowness_and_silent_regions_strike_as_often_as_asked_and_can_be_cleared() {
    let world = World::new().await;
    let made = world.make("a", "true").await;
    let twice = serde_json::json!({ "operation": "stop", "fault": "rate_limited", "times": 2 });
    assert_eq!(
        world.call("POST", "/faults", Some(twice)).await.status(),
        201
    );
    for _ in 0..2 {
        let refused = world.client.stop("a", &made.machine.id).await;
        assert!(
            matches!(refused, Err(MachinesError::RateLimited(_))),
            "{refused:?}"
        );
    }
    world.client.stop("a", &made.machine.id).await.unwrap();

    let slow = serde_json::json!({ "operation": "stop", "fault": "slow_ms", "ms": 300 });
    world.call("POST", "/faults", Some(slow)).await;
    let began = std::time::Instant::now();
    world.client.stop("a", &made.machine.id).await.unwrap();
    assert!(began.elapsed().as_millis() >= 300);

    world.fault("list_org_machines", "error_regions").await;
    let partial = world.client.org_machines(ORG).await.unwrap();
    assert_eq!(
        (partial.machines.len(), partial.error_regions.len()),
        (0, 1)
    );
    let whole = world.client.org_machines(ORG).await.unwrap();
    assert_eq!((whole.machines.len(), whole.error_regions.len()), (1, 0));

    world.fault("stop", "rate_limited").await;
    let left: serde_json::Value = world
        .call("GET", "/faults", None)
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(left["faults"][0]["fault"], "rate_limited");
    assert_eq!(world.call("DELETE", "/faults", None).await.status(), 204);
    world.client.stop("a", &made.machine.id).await.unwrap();
    let nonsense = serde_json::json!({ "operation": "fly", "fault": "rate_limited" });
    assert_eq!(
        world.call("POST", "/faults", Some(nonsense)).await.status(),
        400
    );
}
