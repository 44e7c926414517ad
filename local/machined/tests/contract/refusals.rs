//! Refusals, in the provider's words and with the client's meaning.

use nightshift_machines::{MachinesError, Mount, NewVolume, WaitFor};
use serde_json::json;

use crate::world::{ORG, Options, REGION, SOON, World};

#[tokio::test]
async fn a_machines_name_is_taken_until_it_is_destroyed() {
    let world = World::new().await;
    let app = world.app("a").await;
    let new = world.new_machine("m", "true");
    let first = world.client.create_machine(&app, &new).await.unwrap();
    let second = world.client.create_machine(&app, &new).await;
    assert!(
        matches!(&second, Err(MachinesError::NameTaken { machine, .. })
        if machine.as_ref() == Some(&first.id)),
        "{second:?}"
    );
    let other = world.app("b").await;
    world.client.create_machine(&other, &new).await.unwrap();

    world
        .client
        .force_delete_machine(&app, &first.id)
        .await
        .unwrap();
    world
        .client
        .wait(&app, &first.id, WaitFor::Destroyed, SOON)
        .await
        .unwrap();
    let third = world.client.create_machine(&app, &new).await.unwrap();
    assert_ne!(third.id, first.id);
}

#[tokio::test]
async fn an_apps_name_is_taken_except_for_a_repeat_of_the_same_call() {
    let world = World::new().await;
    let first = world.client.create_app("a", ORG, "net-a").await.unwrap();
    let repeat = world.client.create_app("a", ORG, "net-a").await.unwrap();
    assert_eq!(first.id, repeat.id);
    let app = world.client.app("a").await.unwrap();
    assert_eq!(
        (app.network.as_str(), app.organization.slug.as_str()),
        ("net-a", ORG)
    );

    let body = json!({ "app_name": "a", "org_slug": ORG });
    let answer = world.call("POST", "/v1/apps", Some(body)).await;
    assert_eq!(answer.status(), 422);
    let answer: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(answer["status"], "name_taken");

    for name in ["", "Upper", "under_score", &"x".repeat(63)] {
        let refused = world.client.create_app(name, ORG, "n").await;
        assert!(
            matches!(refused, Err(MachinesError::Rejected(_))),
            "{name}: {refused:?}"
        );
    }
}

#[tokio::test]
async fn a_volume_is_for_one_machine_and_a_deleted_one_is_not_found() {
    let world = World::new().await;
    let made = world.make("a", "true").await;
    let mut new = world.new_machine("other", "true");
    new.config.mounts = vec![Mount {
        volume: made.volume.clone(),
        path: "/data".to_owned(),
    }];
    let claimed = world.client.create_machine("a", &new).await;
    assert!(
        matches!(&claimed, Err(MachinesError::VolumeClaimed { machine, .. })
        if machine.as_ref() == Some(&made.machine.id)),
        "{claimed:?}"
    );

    let new_volume = NewVolume::for_sandbox("other", REGION, 1);
    let volume = world.client.create_volume("a", &new_volume).await.unwrap();
    world.client.delete_volume("a", &volume.id).await.unwrap();
    new.config.mounts[0].volume = volume.id;
    let stale = world.client.create_machine("a", &new).await;
    assert!(
        matches!(stale, Err(MachinesError::VolumeGone(_))),
        "{stale:?}"
    );

    world.app("b").await;
    new.config.mounts[0].volume = made.volume;
    let foreign = world.client.create_machine("b", &new).await;
    assert!(
        matches!(foreign, Err(MachinesError::VolumeGone(_))),
        "{foreign:?}"
    );
}

#[tokio::test]
async fn an_image_is_named_by_digest_and_must_be_there() {
    let world = World::new().await;
    let app = world.app("a").await;
    let mut new = world.new_machine("m", "true");
    let absent = format!("registry.test/probe@sha256:{}", "0".repeat(64));
    for (image, word) in [
        ("registry.test/probe:latest", "by digest"),
        ("registry.test/probe@sha256:../../etc", "by digest"),
        (absent.as_str(), "manifest unknown"),
    ] {
        image.clone_into(&mut new.config.image);
        let refused = world.client.create_machine(&app, &new).await;
        assert!(
            matches!(&refused, Err(MachinesError::Rejected(refusal))
            if refusal.text.contains(word)),
            "{image}: {refused:?}"
        );
    }
    assert!(world.client.machines(&app).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_wait_times_out_with_408_and_refuses_what_cannot_be_waited_for() {
    let world = World::new().await;
    let made = world
        .make("a", "trap '' INT; echo READY; while :; do sleep 0.05; done")
        .await;
    let wait = |query: &str| format!("/v1/apps/a/machines/{}/wait?{query}", made.machine.id);

    let (status, text) = world
        .refused("GET", &wait("state=started&timeout=1"), None)
        .await;
    assert_eq!(status, 408);
    assert!(text.starts_with("deadline_exceeded: machine failed to reach desired state, started"));
    for timeout in ["0", "61", "-1", "soon"] {
        let query = format!("state=stopped&timeout={timeout}");
        let (status, text) = world.refused("GET", &wait(&query), None).await;
        assert_eq!(status, 400, "{timeout}");
        assert!(text.contains("inside range [1s, 1m0s]"), "{text}");
    }
    assert_eq!(
        world.refused("GET", &wait("state=sleeping"), None).await.0,
        400
    );

    world.client.start("a", &made.machine.id).await.unwrap();
    world.printed(&made, "READY").await;
    world.client.stop("a", &made.machine.id).await.unwrap();
    let (status, text) = world
        .refused("GET", &wait("state=started&timeout=5"), None)
        .await;
    assert_eq!(
        status, 400,
        "it is stopping, so not heading to started: {text}"
    );
    world
        .client
        .force_delete_machine("a", &made.machine.id)
        .await
        .unwrap();
    let (status, _) = world
        .refused("GET", &wait("state=stopped&timeout=5"), None)
        .await;
    assert_eq!(status, 400, "it is on its way out");
}

#[tokio::test]
async fn a_wait_from_an_event_is_not_met_by_what_was_before_it() {
    let world = World::new().await;
    let made = world.make("a", "exec sleep 60").await;
    let path = format!("/v1/apps/a/machines/{}", made.machine.id);
    let events = world.call("GET", &format!("{path}/events"), None).await;
    let events: serde_json::Value = events.json().await.unwrap();
    let last = events[0]["id"].as_str().unwrap();
    let query = format!("{path}/wait?state=stopped&timeout=1&from_event_id={last}");
    assert_eq!(world.refused("GET", &query, None).await.0, 408);
}

#[tokio::test]
async fn more_machines_than_allowed_and_regions_that_are_not_there_are_refused() {
    let world = World::with(&["--max-machines", "1"]).await;
    let app = world.app("a").await;
    let mut elsewhere = world.new_machine("m", "true");
    "mars".clone_into(&mut elsewhere.region);
    let refused = world.client.create_machine(&app, &elsewhere).await;
    assert!(
        matches!(refused, Err(MachinesError::RegionFull(_))),
        "{refused:?}"
    );
    let volume = NewVolume::for_sandbox("v", "mars", 1);
    let refused = world.client.create_volume(&app, &volume).await;
    assert!(
        matches!(refused, Err(MachinesError::RegionFull(_))),
        "{refused:?}"
    );

    world
        .client
        .create_machine(&app, &world.new_machine("one", "true"))
        .await
        .unwrap();
    let refused = world
        .client
        .create_machine(&app, &world.new_machine("two", "true"))
        .await;
    assert!(
        matches!(refused, Err(MachinesError::OverQuota(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn calls_are_limited_per_machine_and_per_app_unless_switched_off() {
    let world = World::start(Options {
        rate_limits: true,
        ..Options::default()
    })
    .await;
    for app in ["a", "b"] {
        world.app(app).await;
        for nth in 0..3 {
            let new = world.new_machine(&format!("m{nth}"), "true");
            world.client.create_machine(app, &new).await.unwrap();
        }
    }
    let fourth = world
        .client
        .create_machine("a", &world.new_machine("m3", "true"))
        .await;
    assert!(
        matches!(fourth, Err(MachinesError::RateLimited(_))),
        "{fourth:?}"
    );

    let machines = world.client.machines("a").await.unwrap();
    let (one, two) = (&machines[0].id, &machines[1].id);
    for _ in 0..3 {
        world.client.stop("a", one).await.unwrap();
    }
    let refused = world.client.stop("a", one).await;
    assert!(
        matches!(refused, Err(MachinesError::RateLimited(_))),
        "{refused:?}"
    );
    world.client.stop("a", two).await.unwrap();
    for _ in 0..10 {
        world.client.machine("a", one).await.unwrap();
    }
}

#[tokio::test]
async fn nobody_gets_anything_without_the_token() {
    let world = World::new().await;
    world.app("a").await;
    for (method, path) in [
        ("GET", "/v1/apps/a"),
        ("DELETE", "/v1/apps/a"),
        ("GET", "/v1/orgs/acme/machines"),
        ("POST", "/faults"),
    ] {
        let url = format!("{}{path}", world.base);
        let request = reqwest::Client::new().request(method.parse().unwrap(), url);
        let answer = request.bearer_auth("contract-tokeX").send().await.unwrap();
        assert_eq!(answer.status(), 401, "{method} {path}");
    }
    world.client.app("a").await.unwrap();
    let unknown = world.call("POST", "/v1/apps/a/machines/m/exec", None).await;
    assert_eq!(unknown.status(), 501, "what is not modelled says so");
}
