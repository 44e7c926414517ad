//! Thousands of live investigations on one PostgreSQL: each agent's heartbeat every 15 seconds, the sweep
//! each minute, and grants going on.
//!
//! A heartbeat goes through the casebook's own use case (`Cases::heartbeat`: read, check the epoch, move the
//! deadline by compare-and-set, count open questions, commit); only HTTP and the token's signature are left out.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use chrono::TimeDelta;
use nightshift_casebook::{Cases, RunKey};
use nightshift_domain::{Epoch, InvestigationId, SandboxId};
use nightshift_engine::{Platform, Settings, SystemClock, sweep};
use nightshift_terminal::Table;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{
    claims::{self, Flow, Nowhere, Options},
    cli::Fleet,
    database::Database,
    environment,
    figures::{Latencies, Output, millis, ms, round, say},
    load, seed,
    usage::Usage,
};

const TENANTS: usize = 50;
const HISTORY: i64 = 100_000;
/// How often an agent tells that it lives.
const BEAT: Duration = Duration::from_secs(15);
/// How often the sweep runs.
const SWEEP: Duration = Duration::from_mins(1);
/// Grants a second.
const GRANTS: u32 = 20;
/// Connections of the casebook.
const CASEBOOK_CONNECTIONS: u32 = 16;

/// Measures one fleet.
pub(crate) async fn run(local: &Path, wanted: &Fleet, output: &Output) -> Result<()> {
    let database = Database::make(local).await?;
    let measured = measure(&database, wanted).await;
    database.end().await?;
    output.end(&measured?);
    Ok(())
}

async fn measure(database: &Database, wanted: &Fleet) -> Result<Value> {
    let machine = environment::describe();
    let cast = seed::cast(&database.admin, TENANTS).await?;
    say(&format!(
        "making a history of {HISTORY} and {} live investigations",
        wanted.agents
    ));
    cast.history(&database.admin, HISTORY).await?;
    let during = Duration::from_secs(wanted.seconds);
    let bench = claims::bench(database, cast, during);
    let enough = usize::try_from(u64::from(GRANTS) * (wanted.seconds + 30) * 2)?;
    let flow = Flow::start(&bench, &Options::plain(&bench, enough)).await?;
    let runs = live(database, &bench.cast, wanted.agents).await?;

    let cases = Cases::new(
        database.store(CASEBOOK_CONNECTIONS).await?,
        Arc::new(nightshift_mcp_kit::SystemClock),
        TimeDelta::minutes(15),
    );
    let platform = Platform {
        store: database.store(2).await?,
        clock: Arc::new(SystemClock),
        provider: Arc::new(Nowhere),
        courier: Arc::new(Nowhere),
        settings: Arc::new(Settings::default()),
    };
    // Everybody has begun after one beat; the figures are of what comes then.
    let until = Instant::now() + BEAT + during;
    let beats = tokio::spawn(beat(cases, runs.clone(), Instant::now() + BEAT, until));
    let sweeps = tokio::spawn(sweep_each_minute(platform, Instant::now() + BEAT, until));
    let before = {
        tokio::time::sleep(BEAT).await;
        Usage::now(&database.admin).await?
    };
    let asked = Arc::clone(&flow);
    let grants = load::open(f64::from(GRANTS), Duration::ZERO, during, 5, move || {
        let flow = Arc::clone(&asked);
        async move { flow.one(0).await }
    })
    .await;
    let used = before.since(&database.admin).await?;
    let connections: i64 = sqlx::query_scalar(
        "select count(*) from pg_stat_activity where datname = current_database()",
    )
    .fetch_one(&database.admin)
    .await?;
    let (beats, (swept, silent)) = (beats.await??, sweeps.await??);
    let alive = alive(database, &runs).await?;
    flow.end(&bench).await?;
    let grants = grants?.measured();

    let mut table = Table::new(["what", "how many", "p50 ms", "p90", "p99", "max"]);
    for (name, found) in [
        ("heartbeats", &beats),
        ("sweeps", &swept),
        ("grants", &grants.latencies),
    ] {
        table.row(&found.named(name));
    }
    let title = format!(
        "{} live investigations for {} s",
        wanted.agents, wanted.seconds
    );
    Output::table(&title, &table);
    let cores = used.postgres_cores(during);
    let wal = used.wal_mb() / during.as_secs_f64();
    Output::line(&format!(
        "PostgreSQL: {cores:.2} cores, {connections} connections, {wal:.2} MB WAL/s; \
         {silent} of {} taken for silent, {alive} alive at the end",
        wanted.agents
    ));
    ensure!(
        silent == 0 && alive == wanted.agents,
        "agents that beat in time were taken for silent"
    );
    Ok(json!({
        "bench": "fleet", "machine": machine, "agents": wanted.agents, "seconds": wanted.seconds,
        "heartbeats": beats.count(), "heartbeat_ms": beats.json(), "sweep_ms": swept.json(),
        "grants": grants.all, "claim_ms": grants.latencies.json(),
        "postgres_cores": round(cores), "bench_cores": round(used.bench_cores(during)),
        "connections": connections, "wal_mb_per_s": round(wal), "slowest_beat_ms": ms(beats.percentiles().max),
    }))
}

/// Investigations at work, each in its sandbox, as attestation leaves them.
async fn live(database: &Database, cast: &seed::Cast, agents: usize) -> Result<Vec<RunKey>> {
    let cases = cast
        .cases(&database.admin, agents, 0..cast.tenants.len())
        .await?;
    let runs: Vec<RunKey> = cases
        .iter()
        .map(|case| RunKey {
            tenant: case.tenant,
            investigation: InvestigationId::generate(),
            sandbox: SandboxId::generate(),
            epoch: Epoch(1),
        })
        .collect();
    let ids = |of: fn(&RunKey) -> Uuid| runs.iter().map(of).collect::<Vec<_>>();
    sqlx::query(
        "with new as (
             select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[])
                 as new (tenant, investigation, sandbox, incident, alert)
         ), sandboxes as (
             insert into sandboxes (id, pool_id, state, investigation_id, epoch, attested_epoch, app, volume,
                                    machine, machine_version, deadline_at, created_at, ready_at)
             select sandbox, $6, 'claimed', investigation, 1, 1, 'ns-' || sandbox, 'vol-' || sandbox,
                    'machine-' || sandbox, 'v1', now() + interval '12 hours', now(), now()
               from new
         ), investigations as (
             insert into investigations (id, tenant_id, incident_id, alert_id, state, sandbox_id, epoch,
                                         deadline_at, granted_at, created_at)
             select investigation, tenant, incident, alert, 'working', sandbox, 1,
                    now() + interval '45 seconds', now(), now()
               from new
         )
         insert into tickets (investigation_id, tenant_id, pool_id, state, created_at, granted_at)
         select investigation, tenant, $6, 'granted', now(), now() from new",
    )
    .bind(ids(|run| run.tenant.as_uuid()))
    .bind(ids(|run| run.investigation.as_uuid()))
    .bind(ids(|run| run.sandbox.as_uuid()))
    .bind(cases.iter().map(|case| case.incident.as_uuid()).collect::<Vec<_>>())
    .bind(cases.iter().map(|case| case.alert.as_uuid()).collect::<Vec<_>>())
    .bind(cast.pool.as_uuid())
    .execute(&database.admin)
    .await?;
    Ok(runs)
}

/// How many of these are at work at the epoch they began with.
async fn alive(database: &Database, runs: &[RunKey]) -> Result<usize> {
    let ids: Vec<Uuid> = runs.iter().map(|run| run.investigation.as_uuid()).collect();
    let count: i64 = sqlx::query_scalar(
        "select count(*) from investigations
          where id = any($1) and state = 'working' and epoch = 1 and deadline_at > now()",
    )
    .bind(ids)
    .fetch_one(&database.admin)
    .await?;
    Ok(usize::try_from(count)?)
}

/// Lets every run beat, spread evenly, each at its own times whatever became of the beats before. Those
/// that were meant to begin after `from` count, from their intended moment.
async fn beat(cases: Cases, runs: Vec<RunKey>, from: Instant, until: Instant) -> Result<Latencies> {
    let began = Instant::now();
    let apart = BEAT.div_f64(f64::from(u32::try_from(runs.len().max(1))?));
    let mut under_way = JoinSet::new();
    let mut found = Vec::new();
    for (number, run) in (0_u32..).zip(runs.iter().copied().cycle()) {
        let at = began + apart * number;
        if at >= until {
            break;
        }
        tokio::time::sleep_until(at.into()).await;
        let cases = cases.clone();
        under_way.spawn(async move {
            let beat = cases.heartbeat(run).await?;
            ensure!(beat.go_on, "a live agent was told to stop");
            Ok((at >= from).then(|| millis(at.elapsed())))
        });
        while let Some(done) = under_way.try_join_next() {
            found.extend(done??);
        }
    }
    while let Some(done) = under_way.join_next().await {
        found.extend(done??);
    }
    Ok(Latencies(found))
}

/// Sweeps as the schedule does; tells how long each took and whom they took for silent.
async fn sweep_each_minute(
    platform: Platform,
    from: Instant,
    until: Instant,
) -> Result<(Latencies, usize)> {
    let (mut took, mut silent) = (Vec::new(), 0);
    let mut at = from + SWEEP / 4;
    while at < until {
        tokio::time::sleep_until(at.into()).await;
        let began = Instant::now();
        silent += sweep::sweep(&platform).await?.investigations;
        took.push(millis(began.elapsed()));
        at += SWEEP;
    }
    Ok((Latencies(took), silent))
}
