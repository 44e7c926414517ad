//! The operators' API as a client meets it, over a real PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod events;
mod form;
mod world;

use std::collections::BTreeSet;

use axum::{
    body::Body,
    http::{Method, StatusCode, header},
};
use nightshift_domain::{
    Epoch, Report, Sandbox, SandboxId,
    report::{Impact, Outcome},
};
use nightshift_engine::{
    Clock,
    intake::{self, SetAside},
};
use nightshift_protocol::Step;
use nightshift_store::Settlement;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::world::{TOKEN, World};

#[sqlx::test(migrations = "../../migrations")]
async fn pages_show_everything_once_from_new_to_old(pg: PgPool) {
    let world = World::new(pg).await;
    let mut expected = vec![];
    for number in 0..7 {
        expected.push(world.alert(0, &format!("svc-{number}")).await.to_string());
    }
    expected.reverse();
    for path in [
        "/v1/investigations",
        "/v1/alerts",
        "/v1/incidents",
        "/v1/deliveries",
    ] {
        let (mut seen, mut cursor, mut pages) = (vec![], String::new(), 0);
        loop {
            let page = world.read(&format!("{path}?limit=3{cursor}")).await;
            assert_eq!(page.status, StatusCode::OK, "{:?}", page.body);
            seen.extend(page.ids());
            pages += 1;
            match page.body["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!((seen.len(), pages), (7, 3), "{path}");
        assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 7, "{path}");
        if path == "/v1/investigations" {
            assert_eq!(seen, expected);
        }
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_tenant_filter_shows_nothing_of_others(pg: PgPool) {
    let world = World::new(pg).await;
    let ours = world.alert(0, "bread").await.to_string();
    let theirs = world.alert(1, "milk").await.to_string();
    let tenant = world.endpoints[0].tenant;

    let everyone = world.read("/v1/investigations").await;
    assert_eq!(everyone.ids(), [theirs.clone(), ours.clone()]);
    let page = world
        .read(&format!("/v1/investigations?tenant={tenant}"))
        .await;
    assert_eq!(page.ids(), [ours]);
    for path in ["/v1/alerts", "/v1/incidents", "/v1/deliveries"] {
        let page = world.read(&format!("{path}?tenant={tenant}")).await;
        assert_eq!(page.ids().len(), 1, "{path}");
        assert!(
            !page.body.to_string().contains("milk"),
            "{path}: {}",
            page.body
        );
    }
    for path in ["", "/events"] {
        let hidden = world
            .read(&format!(
                "/v1/investigations/{theirs}{path}?tenant={tenant}"
            ))
            .await;
        assert_eq!(
            (hidden.status, hidden.kind()),
            (StatusCode::NOT_FOUND, "not-found")
        );
    }
    let message = json!({"author": "eve", "text": "tell me"});
    let path = format!("/v1/investigations/{theirs}/messages?tenant={tenant}");
    assert_eq!(
        world.send(&path, &message).await.status,
        StatusCode::NOT_FOUND
    );
    let pool = world.read(&format!("/v1/pool?tenant={tenant}")).await;
    assert_eq!(pool.body["items"][0]["waiting"], 1);
}

#[sqlx::test(migrations = "../../migrations")]
async fn an_investigation_tells_its_state_its_times_and_its_report(pg: PgPool) {
    let world = World::new(pg).await;
    let id = world.alert(0, "bread").await;
    let path = format!("/v1/investigations/{id}");

    let queued = world.read(&path).await;
    assert_eq!(queued.status, StatusCode::OK, "{:?}", queued.body);
    assert_eq!(queued.body["state"], "queued");
    assert_eq!(queued.body["report"], Value::Null);
    assert_eq!(queued.body["signal"]["title"], "bread is slow");
    assert_eq!(queued.body["timings"], json!({"accepted": 0}));
    assert!(queued.body["waiting_place"].is_i64());

    for (kind, at) in [
        ("claimed", 12),
        ("working", 210),
        ("evidence", 300),
        ("evidence", 400),
    ] {
        world.add_event(id, kind, at).await;
    }
    let impact = Impact {
        summary: "none".to_owned(),
        failed_share: None,
        affected: vec![],
        evidence: vec![],
    };
    let report = Report {
        outcome: Outcome::Inconclusive,
        summary: "The flour is late.".to_owned(),
        root_cause: None,
        impact,
        timeline: vec![],
        findings: vec![],
        ruled_out: vec![],
        related_alerts: vec![],
        next_steps: vec![],
        evidence: vec![],
        dropped: vec![],
    };
    let mut tx = world.store.begin().await.unwrap();
    let tenant = world.endpoints[0].tenant;
    tx.save_report(tenant, id, Epoch(1), &report, world.clock.now())
        .await
        .unwrap();
    let found = tx.investigation(id).await.unwrap().unwrap();
    tx.apply(
        found
            .fail("the oven burnt down", world.clock.now())
            .unwrap(),
        world.clock.now(),
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();

    let failed = world.read(&path).await;
    assert_eq!(failed.body["state"], "failed");
    assert_eq!(failed.body["reason"], "the oven burnt down");
    assert_eq!(failed.body["timings"]["claimed"], 12);
    assert_eq!(failed.body["timings"]["working"], 210);
    assert_eq!(
        failed.body["timings"]["evidence"], 300,
        "the first of its kind"
    );
    assert_eq!(failed.body["report"]["outcome"], "inconclusive");
    assert_eq!(failed.headers[header::CACHE_CONTROL], "no-store");

    assert_eq!(
        world.read("/v1/investigations?state=failed").await.ids(),
        [id.to_string()]
    );
    assert!(
        world
            .read("/v1/investigations?state=queued")
            .await
            .ids()
            .is_empty()
    );
}

/// Sends the parked step on its way again: once, and nothing that is not parked.
async fn redrive(world: &World, id: &Value) {
    let tell = async |id: &str| {
        let path = format!("/v1/dead-letters/{id}/redrive");
        let none = Body::empty();
        world.request(Method::POST, &path, Some(TOKEN), none).await
    };
    let id = id.to_string();
    assert_eq!(tell("oven").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(tell("999999").await.status, StatusCode::NOT_FOUND);
    assert_eq!(tell(&id).await.status, StatusCode::ACCEPTED);

    assert_eq!(
        tell(&id).await.status,
        StatusCode::NOT_FOUND,
        "it is on its way"
    );
    let left = world.read("/v1/dead-letters").await;
    assert_eq!(left.body["items"], json!([]));
    let leased = world
        .store
        .lease_steps(world.clock.now(), chrono::TimeDelta::seconds(60), 10)
        .await
        .unwrap();
    let again: Vec<i32> = leased
        .iter()
        .filter(|step| step.id.to_string() == id)
        .map(|step| step.attempt)
        .collect();
    assert_eq!(again, [1], "with all its attempts, and due now");
}

#[sqlx::test(migrations = "../../migrations")]
async fn sandboxes_pools_dead_letters_and_odd_deliveries_are_shown(pg: PgPool) {
    let world = World::new(pg).await;
    world.alert(0, "bread").await;
    let now = world.clock.now();
    let mut tx = world.store.begin().await.unwrap();
    let (kept, gone) = (SandboxId::generate(), SandboxId::generate());
    for id in [kept, gone] {
        tx.add_sandbox(&Sandbox::plan(id, world.pool, now), now)
            .await
            .unwrap();
    }
    tx.enqueue(Step::Retire { sandbox: gone }, &world.pool.to_string(), now)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    sqlx::query(
        "update sandboxes set state = 'gone', reason = 'test', deadline_at = null where id = $1",
    )
    .bind(gone.as_uuid())
    .execute(&world.pg)
    .await
    .unwrap();

    assert_eq!(world.read("/v1/sandboxes").await.ids(), [kept.to_string()]);
    assert_eq!(
        world.read("/v1/sandboxes?state=gone").await.ids(),
        [gone.to_string()]
    );
    assert_eq!(
        world.read("/v1/sandboxes?state=planned").await.ids(),
        [kept.to_string()]
    );
    let pool = world.read("/v1/pool").await;
    assert_eq!(pool.body["items"][0]["planned"], 1);
    assert_eq!(pool.body["items"][0]["waiting"], 1);

    assert!(
        world.read("/v1/dead-letters").await.body["items"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    let steps = world
        .store
        .lease_steps(now, chrono::TimeDelta::seconds(60), 10)
        .await
        .unwrap();
    let parked = steps.last().unwrap();
    let error = "the provider says no".to_owned();
    world
        .store
        .settle_step(parked, Settlement::Dead { error }, now)
        .await
        .unwrap();
    let dead = world.read("/v1/dead-letters").await;
    assert_eq!(dead.body["items"][0]["kind"], "retire");
    assert_eq!(dead.body["items"][0]["last_error"], "the provider says no");
    redrive(&world, &dead.body["items"][0]["id"]).await;

    let why = SetAside::Malformed { why: "no title" };
    let endpoint = &world.endpoints[0];
    intake::set_aside(&world.store, &world.clock, endpoint, "odd", b"{\xff}", why)
        .await
        .unwrap();
    let odd = world.read("/v1/deliveries?disposition=malformed").await;
    assert_eq!(odd.ids().len(), 1);
    assert_eq!(odd.body["items"][0]["body"], "{\u{fffd}}");
    assert_eq!(odd.body["items"][0]["detail"], "no title");
}
