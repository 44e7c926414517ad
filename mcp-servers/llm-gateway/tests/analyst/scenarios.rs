//! Incidents of every sort, with random names, shapes, times and innocent deploys around the cause.

use chrono::{DateTime, TimeDelta};
use nightshift_protocol::tools::telemetry::ServiceKind;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use crate::{
    diffs::{CACHES, FAILURES, INNOCENT, LEAKS, LIMITS, LOOPS, TIMEOUTS, fill, pick},
    world::{Node, System, World, seconds},
};

/// Sorts of incidents.
pub(crate) const SORTS: &[&str] = &[
    "query in a loop",
    "connection leak",
    "outside system fails",
    "more traffic",
    "cache kept too short",
    "limit lowered",
    "timeout lowered",
    "new failure",
    "slow without a change",
    "slow network",
    "expired certificate",
];

// Node numbers: 0 entry, 1 middle, 2 leaf with a store, 3 its store, 4 outside, 5 side service, 6 its store.
const MIDDLE: usize = 1;
const LEAF: usize = 2;
const OUTSIDE: usize = 4;
const SIDE: usize = 5;

/// One incident.
pub(crate) fn incident(sort: &str, seed: u64) -> World {
    let mut rng = StdRng::seed_from_u64(seed);
    let before = system(&mut rng);
    let fired_at = DateTime::from_timestamp(1_790_000_000, 0).unwrap()
        + TimeDelta::seconds(rng.random_range(0..500_000));
    let onset = fired_at - seconds(rng.random_range(60.0..200.0));
    let mut world = World {
        after: before.clone(),
        before,
        onset,
        fired_at,
        alerted: *[0, MIDDLE].choose(&mut rng).unwrap(),
        extra: Vec::new(),
        series: std::collections::BTreeMap::new(),
        templates: Vec::new(),
        deploys: Vec::new(),
        commits: Vec::new(),
        flags: Vec::new(),
        components: Vec::new(),
        guilty: None,
        title: "Too slow or failing",
    };
    innocents(&mut world, &mut rng);
    if !by_change(&mut world, &mut rng, sort) {
        by_itself(&mut world, &mut rng, sort);
    }
    symptoms(&mut world);
    world
        .commits
        .sort_by_key(|commit| std::cmp::Reverse(commit.at));
    world
        .deploys
        .sort_by_key(|deploy| std::cmp::Reverse(deploy.at));
    world
}

/// Breaks the system through a deploy; `false` where the sort is none of these.
fn by_change(world: &mut World, rng: &mut StdRng, sort: &str) -> bool {
    let name = |at: usize| world.before.nodes[at].name.clone();
    let (middle, leaf) = (name(MIDDLE), name(LEAF));
    match sort {
        "query in a loop" => {
            world.after.nodes[LEAF].calls[0].1 = rng.random_range(5.0..40.0);
            world.moved(&leaf, "db_pool_in_use", 1.0, 3.0, 5.0);
            blame(world, rng, &leaf, 1.0, LOOPS);
        }
        "connection leak" => {
            let lag = rng.random_range(5.0..14.0);
            drained(world, rng, &leaf, true, lag);
            blame(world, rng, &leaf, lag + 0.5, LEAKS);
            let near = pick(rng, INNOCENT, &leaf);
            world.deploy(rng, &leaf, 0.8, near);
        }
        "cache kept too short" => {
            world.after.nodes[LEAF].calls[0].1 *= 5.0;
            world.moved(&leaf, "cache_hit_ratio", 0.95, 0.2, 5.0);
            blame(world, rng, &leaf, 2.0, CACHES);
        }
        "limit lowered" => {
            drained(world, rng, &leaf, false, 0.0);
            world.moved(&leaf, "db_pool_max", 40.0, 4.0, -60.0);
            blame(world, rng, &leaf, 2.0, LIMITS);
        }
        "timeout lowered" => {
            world.after.nodes[MIDDLE].calls[0].2 = 0.4;
            world.logs(
                &middle,
                "error",
                &format!("calling {leaf}: request timed out"),
                0.0,
                40.0,
            );
            blame(world, rng, &middle, 0.7, TIMEOUTS);
        }
        "new failure" => {
            world.after.nodes[LEAF].fails = rng.random_range(0.1..0.9);
            let ((path, text), says) = FAILURES.choose(rng).copied().unwrap();
            world.logs(&leaf, "error", says, 0.0, 25.0);
            let diff = fill(rng, path, text, &leaf);
            world.guilty = Some(world.deploy(rng, &leaf, 0.6, diff));
            world.components = vec![leaf];
        }
        _ => return false,
    }
    true
}

/// Breaks the system without a deploy.
fn by_itself(world: &mut World, rng: &mut StdRng, sort: &str) {
    let name = |at: usize| world.before.nodes[at].name.clone();
    let (entry, middle, leaf, outside) = (name(0), name(MIDDLE), name(LEAF), name(OUTSIDE));
    match sort {
        "outside system fails" => {
            let node = &mut world.after.nodes[OUTSIDE];
            node.own_ms *= rng.random_range(1.0..12.0);
            node.fails = rng.random_range(0.2..0.7);
            world.logs(
                &middle,
                "error",
                &format!("call to {outside} failed: answered 503"),
                0.0,
                30.0,
            );
            world.components = vec![outside];
        }
        "more traffic" => {
            world.after.demand *= rng.random_range(2.0..4.0);
            world.after.nodes[LEAF].own_ms *= 8.0;
            world.after.nodes[LEAF].fails = 0.1;
            let (was, now) = (world.before.demand / 60.0, world.after.demand / 60.0);
            world.moved(&entry, "http_requests_total:rate", was, now, -20.0);
            world.moved(&leaf, "worker_queue_waiting", 0.0, 30.0, 10.0);
            world.logs(&leaf, "warn", "queue is full, request refused", 0.0, 12.0);
            world.components = vec![entry, middle, leaf];
        }
        "slow without a change" => {
            world.after.nodes[LEAF].own_ms *= 12.0;
            world.components = vec![leaf];
        }
        "slow network" => {
            world.after.nodes[MIDDLE].calls[0].3 = 180.0;
            world.components = vec![leaf, middle];
        }
        "expired certificate" => {
            world.after.nodes[LEAF].fails = 0.8;
            world.logs(&leaf, "error", "tls: certificate has expired", 0.0, 50.0);
            world.components = vec![leaf];
        }
        other => panic!("no such sort: {other}"),
    }
}

fn blame(
    world: &mut World,
    rng: &mut StdRng,
    service: &str,
    minutes: f64,
    among: &[crate::diffs::Diff],
) {
    let diff = pick(rng, among, service);
    world.guilty = Some(world.deploy(rng, service, minutes, diff));
    world.components = vec![service.to_owned()];
}

/// A few innocent deploys, on the way and elsewhere, some very near.
fn innocents(world: &mut World, rng: &mut StdRng) {
    for _ in 0..rng.random_range(2..6) {
        let at = *[0, MIDDLE, LEAF, SIDE, LEAF].choose(rng).unwrap();
        let service = world.before.nodes[at].name.clone();
        let minutes = *[-0.9, 0.2, 0.5, 1.5, 4.0, 12.0, 90.0].choose(rng).unwrap();
        let diff = pick(rng, INNOCENT, &service);
        world.deploy(rng, &service, minutes, diff);
    }
}

/// The leaf's connections run out: little by little, or at once.
fn drained(world: &mut World, rng: &mut StdRng, leaf: &str, gradual: bool, lag_minutes: f64) {
    const SAYS: &[&str] = &[
        "timed out waiting for a connection from the pool",
        "pool exhausted: no free connection",
        "could not acquire connection within <*> ms",
    ];
    let start = world.onset - seconds(lag_minutes * 60.0);
    let mut points = Vec::new();
    let mut at = world.fired_at - TimeDelta::minutes(30);
    while at <= world.fired_at + TimeDelta::minutes(2) {
        let noise = rng.random_range(0.0..1.2);
        let level = if at < start {
            1.0 + noise
        } else if gradual {
            let share = (at - start).as_seconds_f64() / (lag_minutes * 60.0);
            (1.0 + noise + 18.0 * share).min(20.0)
        } else {
            20.0
        };
        points.push((at, level.round()));
        at += TimeDelta::seconds(15);
    }
    world
        .series
        .insert((leaf.to_owned(), "db_pool_in_use".to_owned()), points);
    world.moved(
        leaf,
        "db_pool_in_use",
        if gradual { 9.0 } else { 2.0 },
        20.0,
        -30.0,
    );
    world.moved(leaf, "db_pool_waiting", 0.0, 12.0, 5.0);
    world.after.nodes[LEAF].own_ms += 900.0;
    world.after.nodes[LEAF].fails = 0.25;
    let says = SAYS.choose(rng).copied().unwrap();
    world.logs(leaf, "error", says, 0.0, 18.0);
}

/// What the dashboards show of a changed system: latency and failures of each service.
fn symptoms(world: &mut World) {
    for at in 0..world.before.nodes.len() {
        if world.before.nodes[at].kind != ServiceKind::Service {
            continue;
        }
        let service = world.before.nodes[at].name.clone();
        let ((was, failed), (is, fails)) = (world.before.cost(at), world.after.cost(at));
        if is > 1.3 * was {
            let lag = 4.0 - f64::from(u32::try_from(at).unwrap());
            world.moved(
                &service,
                "http_request_duration_seconds:p95",
                was * 0.0018,
                is * 0.0018,
                lag,
            );
        }
        if fails > failed + 0.02 {
            world.moved(
                &service,
                "http_errors_total:rate",
                failed,
                fails * 10.0,
                3.0,
            );
            world.logs(
                &service,
                "warn",
                "answered with a failure",
                0.1,
                20.0 * fails,
            );
        }
        world.logs(&service, "info", "request served", 100.0, 100.0);
    }
}

fn system(rng: &mut StdRng) -> System {
    let mut names: Vec<String> = Vec::new();
    while names.len() < 7 {
        let name = invented(rng);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let mut node = |at: usize, kind: ServiceKind, calls: Vec<(usize, f64, f64, f64)>| Node {
        name: match kind {
            ServiceKind::Service => names[at].clone(),
            ServiceKind::Database => format!("{}-db", names[at]),
            ServiceKind::External => format!("{}.example", names[at]),
        },
        kind,
        own_ms: rng.random_range(2.0..9.0),
        fails: 0.002,
        calls,
    };
    let nodes = vec![
        node(
            0,
            ServiceKind::Service,
            vec![(MIDDLE, 1.0, 0.0, 0.3), (SIDE, 1.0, 0.0, 0.3)],
        ),
        node(
            1,
            ServiceKind::Service,
            vec![(LEAF, 1.0, 0.0, 0.3), (OUTSIDE, 0.5, 0.0, 8.0)],
        ),
        node(2, ServiceKind::Service, vec![(3, 1.2, 0.0, 0.2)]),
        node(3, ServiceKind::Database, Vec::new()),
        node(4, ServiceKind::External, Vec::new()),
        node(5, ServiceKind::Service, vec![(6, 1.0, 0.0, 0.2)]),
        node(6, ServiceKind::Database, Vec::new()),
    ];
    System {
        nodes,
        demand: rng.random_range(200.0..1_500.0),
    }
}

fn invented(rng: &mut StdRng) -> String {
    const START: &[&str] = &["bra", "ka", "lo", "mi", "nu", "pe", "sto", "ti", "vu", "za"];
    const END: &[&str] = &[
        "dor", "fix", "gan", "lek", "mor", "nix", "rul", "tan", "vel", "zip",
    ];
    format!(
        "{}{}{}",
        START.choose(rng).unwrap(),
        START.choose(rng).unwrap(),
        END.choose(rng).unwrap()
    )
}
