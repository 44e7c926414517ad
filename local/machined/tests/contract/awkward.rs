//! Faults that are about time: what lags, lingers, is stuck, or is not there yet.

use nightshift_machines::{MachineState, MachinesError, NewVolume, WaitFor};
use serde_json::{Value, json};

use crate::world::{ORG, REGION, SOON, World};

impl World {
    async fn fault_for(&self, operation: &str, fault: &str, ms: u64) {
        let body = json!({ "operation": operation, "fault": fault, "ms": ms });
        let answer = self.call("POST", "/faults", Some(body)).await;
        assert_eq!(answer.status(), 201);
    }

    async fn list(&self, path: &str) -> Vec<Value> {
        self.call("GET", path, None).await.json().await.unwrap()
    }
}

#[tokio::test]
async fn a_lagging_list_shows_what_was_and_the_machine_itself_shows_what_is() {
    let world = World::new().await;
    let old = world.make("a", "exec sleep 60").await;
    tokio::time::sleep(std::time::Duration::from_millis(700)).await;
    world.client.start("a", &old.machine.id).await.unwrap();
    let new = world.new_machine("second", "true");
    let second = world.client.create_machine("a", &new).await.unwrap();

    world.fault_for("list_machines", "lagging", 600).await;
    let listed = world.client.machines("a").await.unwrap();
    assert_eq!(listed.len(), 1, "the second is not listed yet");
    assert_ne!(listed[0].state, MachineState::Started);
    let listed = world.client.machines("a").await.unwrap();
    assert_eq!(listed.len(), 2, "only the next call was struck");
    let read = world.client.machine("a", &second.id).await.unwrap();
    assert_eq!(read.name, "second");

    let began = std::time::Instant::now();
    world
        .client
        .force_delete_machine("a", &old.machine.id)
        .await
        .unwrap();
    world
        .client
        .wait("a", &old.machine.id, WaitFor::Destroyed, SOON)
        .await
        .unwrap();
    world
        .fault_for("list_org_machines", "lagging", 60_000)
        .await;
    let none = world.client.org_machines(ORG).await.unwrap();
    assert!(none.machines.is_empty() && none.error_regions.is_empty());
    let lag = u64::try_from(began.elapsed().as_millis()).unwrap() + 20;
    world.fault_for("list_org_machines", "lagging", lag).await;
    let page = world.client.org_machines(ORG).await.unwrap();
    let found = page.machines.iter().find(|one| one.id == old.machine.id);
    assert!(found.is_some(), "one that is destroyed is still listed");
}

#[tokio::test]
async fn a_deleted_volume_is_listed_as_if_it_were_there_and_cannot_be_used() {
    let world = World::new().await;
    world.app("a").await;
    let new = NewVolume::for_sandbox("v", REGION, 1);
    let volume = world.client.create_volume("a", &new).await.unwrap();
    world.client.delete_volume("a", &volume.id).await.unwrap();
    let state = async |world: &World| world.list("/v1/apps/a/volumes").await[0]["state"].clone();
    assert_eq!(state(&world).await, "pending_destroy");
    world.fault_for("list_volumes", "lagging", 0).await;
    assert_eq!(state(&world).await, "created");
    let mut new = world.new_machine("m", "true");
    new.config.mounts = vec![nightshift_machines::Mount {
        volume: volume.id,
        path: "/data".to_owned(),
    }];
    assert!(world.client.create_machine("a", &new).await.is_err());
}

#[tokio::test]
async fn a_machine_that_is_stuck_in_created_never_starts_and_can_be_destroyed() {
    let world = World::new().await;
    world.app("a").await;
    world.fault("create_machine", "stuck_created").await;
    let new = world.new_machine("m", "true");
    let stuck = world.client.create_machine("a", &new).await.unwrap();
    let path = format!(
        "/v1/apps/a/machines/{}/wait?state=stopped&timeout=1",
        stuck.id
    );
    let (status, text) = world.refused("GET", &path, None).await;
    assert_eq!(status, 408, "{text}");
    assert!(text.ends_with("currently created"), "{text}");
    let early = world.client.start("a", &stuck.id).await;
    assert!(
        matches!(early, Err(MachinesError::NotSettled(_))),
        "{early:?}"
    );
    world
        .client
        .force_delete_machine("a", &stuck.id)
        .await
        .unwrap();
    world
        .client
        .wait("a", &stuck.id, WaitFor::Destroyed, SOON)
        .await
        .unwrap();
}

#[tokio::test]
async fn destroying_may_linger_and_the_volume_stays_bound_meanwhile() {
    let world = World::new().await;
    let made = world.make("a", "true").await;
    world.fault_for("delete_machine", "lingers", 600).await;
    world
        .client
        .force_delete_machine("a", &made.machine.id)
        .await
        .unwrap();
    let read = world.client.machine("a", &made.machine.id).await.unwrap();
    assert_eq!(read.state, MachineState::Destroying);
    let bound = world.client.delete_volume("a", &made.volume).await;
    assert!(bound.is_err(), "its machine is still there");
    let began = std::time::Instant::now();
    world
        .client
        .wait("a", &made.machine.id, WaitFor::Destroyed, SOON)
        .await
        .unwrap();
    assert!(began.elapsed().as_millis() >= 400);
}

#[tokio::test]
async fn what_was_just_made_may_not_be_found_yet_and_volumes_may_be_stale_or_still_bound() {
    let world = World::new().await;
    let made = world.make("a", "true").await;
    for operation in ["get_machine", "wait"] {
        world.fault(operation, "not_found_yet").await;
    }
    let early = world.client.machine("a", &made.machine.id).await;
    assert!(early.unwrap_err().is_gone());
    let path = format!("/v1/apps/a/machines/{}/wait?state=stopped", made.machine.id);
    let (status, text) = world.refused("GET", &path, None).await;
    assert_eq!(
        (status, text.as_str()),
        (404, "not_found: machine not found")
    );
    world.client.machine("a", &made.machine.id).await.unwrap();

    world.app("b").await;
    let new = NewVolume::for_sandbox("v", REGION, 1);
    let volume = world.client.create_volume("b", &new).await.unwrap().id;
    let body = json!({ "name": "m", "config": { "image": world.image,
        "mounts": [{ "volume": volume, "path": "/data" }] }, "skip_launch": true });
    for (fault, status, sentence) in [
        ("stale_volume", 400, "volume not found"),
        ("still_bound", 412, "volume already claimed by machine \0"),
        ("over_quota", 403, "which is over the allowed quota"),
    ] {
        world.fault("create_machine", fault).await;
        let refused = world
            .refused("POST", "/v1/apps/b/machines", Some(body.clone()))
            .await;
        assert_eq!(refused.0, status, "{fault}");
        assert!(refused.1.contains(sentence), "{fault}: {}", refused.1);
    }
    assert!(world.client.machines("b").await.unwrap().is_empty());
    world.fault("delete_volume", "still_bound").await;
    let path = format!("/v1/apps/b/volumes/{volume}");
    let (status, text) = world.refused("DELETE", &path, None).await;
    assert_eq!(status, 412);
    assert!(
        text.contains("volume is currently bound to machine"),
        "{text}"
    );
    world.client.delete_volume("b", &volume).await.unwrap();
}

#[tokio::test]
async fn how_long_a_fault_takes_is_told_where_it_matters_and_nowhere_else() {
    let world = World::new().await;
    for (fault, ms, status) in [
        ("lagging", None, 400),
        ("lingers", None, 400),
        ("stuck_created", Some(5), 400),
        ("slow_ms", Some(5), 201),
    ] {
        let body = json!({ "operation": "wait", "fault": fault, "ms": ms });
        let answer = world.call("POST", "/faults", Some(body)).await;
        assert_eq!(answer.status(), status, "{fault}");
    }
}
