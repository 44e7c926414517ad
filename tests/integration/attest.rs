//! Who gets a brief and tokens.

use anyhow::Result;
use chrono::TimeDelta;
use nightshift_domain::{Epoch, investigation::HEARTBEAT_PATIENCE};
use nightshift_engine::{
    attest::{AttestError, admit, renew},
    claim::claim,
    sweep::sweep,
};
use nightshift_tests::World;
use sqlx::PgPool;

#[sqlx::test(migrations = "../migrations")]
async fn the_machine_that_holds_the_claim_is_admitted_once_an_epoch(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(1).build(pg).await?;
    let id = world.alert("one").await?;
    claim(&world.platform, world.pool).await?;

    let admitted = admit(
        world.store(),
        &world.clock,
        &world.statement(id).await?,
        "key",
    )
    .await?;
    let again = admit(
        world.store(),
        &world.clock,
        &world.statement(id).await?,
        "key",
    )
    .await;

    assert_eq!(admitted.grant.investigation, id);
    assert_eq!(admitted.grant.epoch, Epoch(1));
    assert_eq!(world.investigation(id).await?.state.name(), "working");
    assert!(
        matches!(again, Err(AttestError::AlreadyAttested)),
        "{again:?}"
    );
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_ready_sandbox_that_nobody_claimed_gets_nothing(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(2).build(pg).await?;
    let id = world.alert("one").await?;
    claim(&world.platform, world.pool).await?;
    let mut statement = world.statement(id).await?;
    let (app, machine): (String, String) =
        sqlx::query_as("select app, machine from sandboxes where state = 'ready' limit 1")
            .fetch_one(&world.pg)
            .await?;
    (statement.app_name, statement.machine_id) = (app, machine);

    let refused = admit(world.store(), &world.clock, &statement, "key").await;

    assert!(
        matches!(refused, Err(AttestError::NotClaimed)),
        "{refused:?}"
    );
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_statement_counts_once_and_only_whole(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(1).build(pg).await?;
    let id = world.alert("one").await?;
    claim(&world.platform, world.pool).await?;
    let good = world.statement(id).await?;

    for spoiled in 0..4 {
        let mut statement = world.statement(id).await?;
        match spoiled {
            0 => statement.app_name.push('x'),
            1 => statement.machine_id.push('x'),
            2 => statement.machine_version.push('x'),
            _ => statement.image_digest.push('x'),
        }
        let refused = admit(world.store(), &world.clock, &statement, "key").await;
        assert!(
            matches!(refused, Err(AttestError::Unknown)),
            "{spoiled}: {refused:?}"
        );
    }
    admit(world.store(), &world.clock, &good, "key").await?;
    let replayed = admit(world.store(), &world.clock, &good, "key").await;
    assert!(
        matches!(replayed, Err(AttestError::Replayed)),
        "{replayed:?}"
    );
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_refused_statement_is_used_up_too(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(1).build(pg).await?;
    let id = world.alert("one").await?;
    claim(&world.platform, world.pool).await?;
    admit(
        world.store(),
        &world.clock,
        &world.statement(id).await?,
        "key",
    )
    .await?;
    let early = world.statement(id).await?;
    let refused = admit(world.store(), &world.clock, &early, "key").await;
    assert!(
        matches!(refused, Err(AttestError::AlreadyAttested)),
        "{refused:?}"
    );

    world
        .clock
        .advance(HEARTBEAT_PATIENCE + TimeDelta::seconds(1));
    sweep(&world.platform).await?;
    let kept = admit(world.store(), &world.clock, &early, "key").await;

    assert!(matches!(kept, Err(AttestError::Replayed)), "{kept:?}");
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn of_starts_that_attest_at_once_one_gets_the_brief(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(1).build(pg).await?;
    let id = world.alert("one").await?;
    claim(&world.platform, world.pool).await?;
    let (a, b) = (world.statement(id).await?, world.statement(id).await?);

    let (a, b) = tokio::join!(
        admit(world.store(), &world.clock, &a, "key"),
        admit(world.store(), &world.clock, &b, "key"),
    );

    let (won, lost) = if a.is_ok() { (a, b) } else { (b, a) };
    assert!(won.is_ok(), "{won:?}");
    assert!(
        matches!(lost, Err(AttestError::AlreadyAttested)),
        "{lost:?}"
    );
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn only_the_living_epoch_with_its_own_key_is_renewed(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(1).build(pg).await?;
    let id = world.alert("one").await?;
    claim(&world.platform, world.pool).await?;
    admit(
        world.store(),
        &world.clock,
        &world.statement(id).await?,
        "key",
    )
    .await?;
    let first = Epoch(1);

    let fresh = world.statement(id).await?;
    assert!(renew(world.store(), &fresh, "key", first).await.is_ok());
    let fresh = world.statement(id).await?;
    assert!(
        renew(world.store(), &fresh, "another key", first)
            .await
            .is_err()
    );

    world
        .clock
        .advance(HEARTBEAT_PATIENCE + TimeDelta::seconds(1));
    sweep(&world.platform).await?;
    let fresh = world.statement(id).await?;
    let zombie = renew(world.store(), &fresh, "key", first).await;
    assert!(matches!(zombie, Err(AttestError::Superseded)), "{zombie:?}");
    Ok(())
}
