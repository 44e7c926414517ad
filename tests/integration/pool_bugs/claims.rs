//! Claims that meet each other, provisioning and rotation.

use anyhow::Result;
use chrono::TimeDelta;
use futures_util::future::{join_all, try_join_all};
use nightshift_domain::{InvestigationId, SandboxId};
use nightshift_engine::{
    Clock, claim::claim, dispatch::dispatch, provision::provision, refill::refill,
};
use nightshift_store::Ready;
use nightshift_tests::{Fault, World};
use sqlx::{PgPool, types::Uuid};

use super::{processes, wrongly_held};
use crate::pool::{count, states};

/// B1. A controller read a stale cache, did not see the machine it had just made for a claim, and made or
/// adopted another. Here the same claim and the same provisioning are carried out by four processes at once,
/// while the provider's list shows nothing that is new.
#[sqlx::test(migrations = "../migrations")]
async fn b1_a_claim_that_is_processed_four_times_at_once_costs_one_machine(
    pg: PgPool,
) -> Result<()> {
    let world = World::builder().build(pg).await?;
    world.cloud.lag();
    let processes = processes(&world, 4).await?;
    let id = world.alert("one").await?;
    try_join_all(processes.iter().map(|process| claim(process, world.pool))).await?;
    try_join_all(processes.iter().map(|process| refill(process, world.pool))).await?;
    let planned: Vec<Uuid> = sqlx::query_scalar("select id from sandboxes")
        .fetch_all(&world.pg)
        .await?;
    assert_eq!(planned.len(), 1);

    let sandbox = SandboxId::from(planned[0]);
    // Some lose a race against their own copies and come again, as a queue would have them.
    for _ in 0..3 {
        join_all(processes.iter().map(|process| provision(process, sandbox))).await;
    }
    try_join_all(processes.iter().map(|process| claim(process, world.pool))).await?;
    world.settle().await?;

    assert_eq!(world.cloud.apps().len(), 1);
    assert_eq!(world.cloud.machines_made(), 1);
    assert_eq!(world.investigation(id).await?.state.name(), "starting");
    assert_eq!(wrongly_held(&world).await?, 0);
    Ok(())
}

/// B2. Two controllers, the old one and the new one of a rolling deploy, adopted one machine for two
/// claims. Here six coordinators run at once, and half of them belong to a version that does not take turns.
#[sqlx::test(migrations = "../migrations")]
async fn b2_coordinators_of_two_versions_never_grant_a_sandbox_twice(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(30).build(pg).await?;
    for number in 0..50 {
        world.alert(&format!("alert-{number}")).await?;
    }
    let processes = processes(&world, 6).await?;
    let now = world.clock.now();

    join_all(processes.iter().enumerate().map(async |(number, process)| {
        if number % 2 == 0 {
            return claim(process, world.pool).await.map(drop);
        }
        for _ in 0..10 {
            let mut tx = process.store.begin().await?;
            tx.grant(world.pool, 7, now).await?;
            tx.commit().await?;
        }
        Ok(())
    }))
    .await
    .into_iter()
    .collect::<Result<Vec<_>, _>>()?;

    assert_eq!(wrongly_held(&world).await?, 0);
    assert_eq!(
        count(&world, "claimed").await?,
        30,
        "and none was left lying"
    );
    // The schema says the same: a second holder cannot be written at all.
    let (holder, other): (Uuid, Uuid) = sqlx::query_as(
        "select (select sandbox_id from investigations where sandbox_id is not null limit 1),
                (select id from investigations where state = 'queued' limit 1)",
    )
    .fetch_one(&world.pg)
    .await?;
    let second = sqlx::query(
        "update investigations set state = 'claimed', sandbox_id = $1, epoch = 1 where id = $2",
    )
    .bind(holder)
    .bind(other)
    .execute(&world.pg)
    .await;
    assert!(second.is_err_and(|error| error.to_string().contains("one_a_sandbox")));
    Ok(())
}

/// B5. A machine was adopted that was not ready any more: its node was being drained. Here a ready one is
/// being retired at the moment of the grant, and a host turns out to have no room after it.
#[sqlx::test(migrations = "../migrations")]
async fn b5_a_sandbox_that_is_on_its_way_out_is_never_granted(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(1).at_most(1).build(pg).await?;
    let id = world.alert("one").await?;
    let mut leaving = world.store().begin().await?;
    let retired = leaving
        .retire_ready(world.pool, Ready::Of(1), 1, "drained", world.clock.now())
        .await?;
    assert_eq!(retired.len(), 1);

    // Not decided yet: it is passed over, not waited for.
    claim(&world.platform, world.pool).await?;
    assert_eq!(world.investigation(id).await?.state.name(), "queued");
    leaving.commit().await?;
    claim(&world.platform, world.pool).await?;
    assert_eq!(world.investigation(id).await?.state.name(), "queued");
    assert_eq!(count(&world, "retiring").await?, 1);

    // The one that takes its place is ready.
    let sandbox = retired[0];
    nightshift_engine::retire::retire(&world.platform, sandbox).await?;
    world.fill().await?;
    let run = world.investigation(id).await?.state.run();
    assert!(
        run.is_some_and(|run| run.sandbox != sandbox),
        "{:?}",
        states(&world).await?
    );
    Ok(())
}

/// B5, after the grant: the host turns out to have no room, and the machine is not waited for.
#[sqlx::test(migrations = "../migrations")]
async fn b5_a_host_that_turns_out_full_costs_one_start_and_no_place(pg: PgPool) -> Result<()> {
    let world = World::builder().ready(2).build(pg).await?;
    let id = world.alert("one").await?;
    claim(&world.platform, world.pool).await?;
    let run = world.investigation(id).await?.state.run().unwrap();
    world.cloud.fail("start", Fault::HostFull);

    dispatch(&world.platform, id, run.sandbox, run.epoch).await?;
    world.settle().await?;

    let after = world.investigation(id).await?;
    assert_eq!(after.state.name(), "starting");
    assert_ne!(after.state.run().unwrap().sandbox, run.sandbox);
    assert_eq!(wrongly_held(&world).await?, 0);
    Ok(())
}

/// B6. Replacing an image deleted sandboxes that had been claimed a moment before. Here ten thousand ready
/// sandboxes of the old image are raced for by grants and by the rotation.
#[sqlx::test(migrations = "../migrations")]
async fn b6_a_rotation_that_races_claims_ten_thousand_times_takes_none_that_is_held(
    pg: PgPool,
) -> Result<()> {
    const SANDBOXES: i64 = 10_000;
    const TICKETS: i64 = 6_000;
    let world = World::builder()
        .max_running(20_000)
        .max_queued(20_000)
        .at_most(50_000)
        .build(pg)
        .await?;
    crowd(&world, SANDBOXES, TICKETS).await?;
    crate::pool::point_at(&world, "sha256:6b6b").await?;
    let processes = processes(&world, 4).await?;
    let now = world.clock.now();

    let raced = join_all(processes.iter().enumerate().map(async |(number, process)| {
        let mut taken = 0;
        loop {
            let mut tx = process.store.begin().await?;
            let some = if number % 2 == 0 {
                tx.grant(world.pool, 25, now).await?.len()
            } else {
                tx.retire_ready(world.pool, Ready::NotOf(2), 25, "rotated", now)
                    .await?
                    .len()
            };
            tx.commit().await?;
            taken += some;
            if some == 0 {
                return anyhow::Ok(taken);
            }
        }
    }))
    .await
    .into_iter()
    .collect::<Result<Vec<_>>>()?;

    assert_eq!(wrongly_held(&world).await?, 0);
    let (claimed, retiring) = (
        count(&world, "claimed").await?,
        count(&world, "retiring").await?,
    );
    assert_eq!(claimed + retiring, SANDBOXES, "{raced:?}");
    assert!(
        claimed > 0 && retiring > 0,
        "both had their share: {raced:?}"
    );
    let doubly: i64 = sqlx::query_scalar(
        "select count(*) from sandboxes where state = 'retiring' and investigation_id is not null",
    )
    .fetch_one(&world.pg)
    .await?;
    assert_eq!(doubly, 0);
    Ok(())
}

/// Ready sandboxes of the pool's first image, and tickets that wait.
async fn crowd(world: &World, sandboxes: i64, tickets: i64) -> Result<()> {
    let first: InvestigationId = world.alert("first").await?;
    sqlx::query(
        "insert into sandboxes (id, pool_id, state, app, machine, deadline_at, created_at, ready_at)
         select gen_random_uuid(), $1, 'ready', 'ns-' || n, 'm' || n, $2, $3,
                $3 + n * interval '1 ms'
           from generate_series(1, $4) n",
    )
    .bind(world.pool.as_uuid())
    .bind(world.clock.now() + TimeDelta::days(1))
    .bind(world.clock.now())
    .bind(sandboxes)
    .execute(&world.pg)
    .await?;
    sqlx::query(
        "with first as (
             select * from investigations where id = $1
         ), crowd as materialized (
             select gen_random_uuid() as incident, gen_random_uuid() as id
               from generate_series(2, $2)
         ), their_incidents as (
             insert into incidents (id, tenant_id, source, source_key, title, status, opened_at)
             select c.incident, f.tenant_id, 'generic', c.incident::text, 'crowd', 'open',
                    f.created_at
               from crowd c cross join first f
         ), their_investigations as (
             insert into investigations
                    (id, tenant_id, incident_id, alert_id, state, deadline_at, created_at)
             select c.id, f.tenant_id, c.incident, f.alert_id, 'queued', f.deadline_at, f.created_at
               from crowd c cross join first f
         )
         insert into tickets (investigation_id, tenant_id, pool_id, state, created_at)
         select c.id, f.tenant_id, $3, 'waiting', f.created_at from crowd c cross join first f",
    )
    .bind(first.as_uuid())
    .bind(tickets)
    .bind(world.pool.as_uuid())
    .execute(&world.pg)
    .await?;
    Ok(())
}
