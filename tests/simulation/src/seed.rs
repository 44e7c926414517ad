//! One seed from its first delivery to the last sandbox.

use crate::{
    core::{Core, lock},
    database::Database,
    rest,
    world::World,
};

/// Turns that may pass until everything that steps bring about is done.
const STEPS_ALONE: usize = 6_000;
/// Turns that may pass until everything is over.
const TO_THE_END: usize = 12_000;

/// Seeds that failed once, one a line, with the reason behind a `#`.
const CORPUS: &str = include_str!("../seeds.txt");

/// What became of a seed.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Which.
    pub seed: u64,
    /// How often an actor was let go.
    pub steps: usize,
    /// Processes that were killed.
    pub crashes: u64,
    /// What must not happen and did.
    pub violations: Vec<String>,
    /// The digest of its trace.
    pub digest: u64,
    /// The trace, if it was asked for.
    pub trace: Vec<String>,
}

/// Seeds that failed once; they run before all others.
#[must_use]
pub fn corpus() -> Vec<u64> {
    let numbers = CORPUS
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default());
    numbers
        .filter_map(|number| number.trim().parse().ok())
        .collect()
}

/// Runs a seed to its end, or to its first violation.
pub async fn run(database: &mut Database, seed: u64, keep_trace: bool) -> anyhow::Result<Outcome> {
    nightshift_domain::id::count_from(Some(1 << 40));
    let mut world = World::of(Core::of(seed, keep_trace), database).await?;
    play(&mut world).await?;
    let core = lock(&world.core);
    Ok(Outcome {
        seed,
        steps: core.step,
        crashes: core.crashes,
        violations: core.violations.clone(),
        digest: core.trace.digest(),
        trace: core.trace.lines().to_vec(),
    })
}

async fn play(world: &mut World) -> anyhow::Result<()> {
    let rough = lock(&world.core).scenario.rough_steps;
    while lock(&world.core).step < rough {
        if !world.turn().await? || has_failed(world) {
            break;
        }
    }
    if has_failed(world) {
        return Ok(());
    }
    calm_down(world).await?;
    if !alone(world).await? {
        return Ok(());
    }
    lock(&world.core).net = true;
    to_the_end(world).await
}

/// Faults stop, the sweep too; a person sends dead letters back.
async fn calm_down(world: &mut World) -> anyhow::Result<()> {
    world.hurry();
    let now = {
        let mut core = lock(&world.core);
        core.note("CALM, without the sweep");
        core.calm = true;
        core.net = false;
        let now = core.now;
        core.queues.redrive(now);
        now
    };
    world.redrive(now).await
}

/// Until no step is left that anybody could carry out. Tells whether to go on.
async fn alone(world: &mut World) -> anyhow::Result<bool> {
    for _ in 0..STEPS_ALONE {
        if world.is_idle() && lock(&world.core).queues.are_empty() {
            let seen = world.look().await?;
            if seen.outbox.is_empty() {
                let mut core = lock(&world.core);
                core.note("no step is left; the sweep runs again");
                for broken in rest::without_the_net(&core, &seen) {
                    core.violate(&broken);
                }
                return Ok(core.violations.is_empty());
            }
        }
        if !world.turn().await? {
            break;
        }
        if has_failed(world) {
            return Ok(false);
        }
    }
    lock(&world.core).violate("I10: the steps never come to an end");
    Ok(false)
}

async fn to_the_end(world: &mut World) -> anyhow::Result<()> {
    for _ in 0..TO_THE_END {
        if world.is_idle() && lock(&world.core).queues.are_empty() {
            let seen = world.look().await?;
            if rest::is_over(&lock(&world.core), &seen) {
                break;
            }
        }
        if !world.turn().await? || has_failed(world) {
            break;
        }
    }
    if has_failed(world) {
        return Ok(());
    }
    let seen = world.look().await?;
    let mut core = lock(&world.core);
    if core.queues.dead() > 0 {
        core.violate("I10: a step died although nothing went wrong");
    }
    for broken in rest::at_last(&core, &seen) {
        core.violate(&broken);
    }
    core.note("over");
    Ok(())
}

fn has_failed(world: &World) -> bool {
    !lock(&world.core).violations.is_empty()
}
