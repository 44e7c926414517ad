//! Follow-ups.

use anyhow::Result;
use chrono::TimeDelta;
use nightshift_domain::{
    Epoch, InvestigationId, Report,
    investigation::{HEARTBEAT_PATIENCE, State},
    report::{Impact, Outcome},
};
use nightshift_engine::{
    Clock,
    attest::admit,
    message::{MessageError, send},
    rest::rest,
    sweep::sweep,
};
use nightshift_tests::World;
use sqlx::PgPool;

fn report() -> Report {
    Report {
        outcome: Outcome::Inconclusive,
        summary: "nothing was found".to_owned(),
        root_cause: None,
        impact: Impact {
            summary: "unknown".to_owned(),
            failed_share: None,
            affected: Vec::new(),
            evidence: Vec::new(),
        },
        timeline: Vec::new(),
        findings: Vec::new(),
        ruled_out: Vec::new(),
        related_alerts: Vec::new(),
        next_steps: Vec::new(),
        evidence: Vec::new(),
        dropped: Vec::new(),
    }
}

/// An investigation that has reported and rests.
async fn reported(world: &World) -> Result<InvestigationId> {
    let id = world.alert("one").await?;
    world.settle().await?;
    admit(
        world.store(),
        &world.clock,
        &world.statement(id).await?,
        "key",
    )
    .await?;
    let now = world.clock.now();
    let working = world.investigation(id).await?;
    let mut tx = world.store().begin().await?;
    tx.save_report(working.tenant, id, Epoch(1), &report(), now)
        .await?;
    tx.apply(working.rest(Epoch(1), now + TimeDelta::hours(1))?, now)
        .await?;
    tx.commit().await?;
    Ok(id)
}

#[sqlx::test(migrations = "../migrations")]
async fn a_message_wakes_the_same_sandbox_under_a_new_epoch(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(1).build(pg).await?;
    let id = reported(&world).await?;
    let before = world
        .investigation(id)
        .await?
        .state
        .run()
        .expect("it rests");

    send(world.store(), &world.clock, None, id, "ada", "why?").await?;
    world.settle().await?;

    let found = world.investigation(id).await?;
    let State::Starting(run) = found.state else {
        panic!("{found:?}")
    };
    assert_eq!((run.sandbox, run.epoch), (before.sandbox, Epoch(2)));
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_message_that_came_while_the_agent_reported_is_not_left_lying(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(1).build(pg).await?;
    let id = reported(&world).await?;
    let tenant = world.investigation(id).await?.tenant;
    let mut tx = world.store().begin().await?;
    tx.add_message(tenant, id, "ada", "why?", world.clock.now())
        .await?;
    tx.commit().await?;

    rest(&world.platform, id, Epoch(1)).await?;
    rest(&world.platform, id, Epoch(1)).await?;

    let found = world.investigation(id).await?;
    assert!(
        matches!(found.state, State::Claimed(run) if run.epoch == Epoch(2)),
        "{found:?}"
    );
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_reported_run_that_goes_silent_rests_and_is_never_called_failed(
    pg: PgPool,
) -> Result<()> {
    let world = World::builder().ready(1).build(pg).await?;
    let id = reported(&world).await?;
    let tenant = world.investigation(id).await?.tenant;
    let message = send(world.store(), &world.clock, None, id, "ada", "why?").await?;
    world.settle().await?;
    admit(
        world.store(),
        &world.clock,
        &world.statement(id).await?,
        "key",
    )
    .await?;
    let mut tx = world.store().begin().await?;
    assert!(
        tx.answer_message(id, message, "because", world.clock.now())
            .await?
    );
    tx.commit().await?;
    assert_eq!(world.store().messages_of(tenant, id).await?.len(), 1);

    world
        .clock
        .advance(HEARTBEAT_PATIENCE + TimeDelta::seconds(1));
    sweep(&world.platform).await?;

    let name = world.investigation(id).await?.state.name();
    assert!(["resting", "concluded"].contains(&name), "{name}");
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn nobody_can_ask_about_what_is_over_or_another_tenants(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(1).tenants(2).build(pg).await?;
    let id = reported(&world).await?;
    let stranger = world.endpoints.get(1).map(|endpoint| endpoint.tenant);

    let refused = send(world.store(), &world.clock, stranger, id, "eve", "tell me").await;
    assert!(
        matches!(refused, Err(MessageError::Unknown(_))),
        "{refused:?}"
    );

    world.clock.advance(TimeDelta::hours(2));
    sweep(&world.platform).await?;
    let late = send(world.store(), &world.clock, None, id, "ada", "why?").await;
    assert!(matches!(late, Err(MessageError::Closed(_))), "{late:?}");
    Ok(())
}
