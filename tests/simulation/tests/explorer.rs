//! A bounded set of schedules, and that a schedule is the same whenever it is run.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::{
    process::{Command, Stdio},
    thread,
};

use nightshift_simulation::{Database, Exploration, World, bugs, corpus, explore, run};

/// Schedules beside those that failed once.
const SEEDS: u64 = 48;

/// The server on which tests make their databases; `DATABASE_URL` names it.
fn url() -> Option<String> {
    std::env::var_os("DATABASE_URL")?.into_string().ok()
}

#[test]
fn no_schedule_of_a_bounded_set_violates_anything() {
    let explored = explore(
        &Exploration {
            url: url().unwrap(),
            seeds: corpus().into_iter().chain(1..=SEEDS).collect(),
            workers: 2,
            until_found: false,
            keep_trace: false,
        },
        |_| {},
    )
    .unwrap();
    let failed: Vec<_> = explored
        .failed
        .iter()
        .map(|outcome| (outcome.seed, &outcome.violations))
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(explored.crashes > SEEDS, "hardly anything was killed");
}

#[tokio::test]
async fn a_seed_that_is_run_again_does_the_same_bit_for_bit() {
    let name = |which| format!("simulation_again_{}_{which}", std::process::id());
    let mut one = Database::create(&url().unwrap(), &name(1), World::LINES)
        .await
        .unwrap();
    let mut other = Database::create(&url().unwrap(), &name(2), World::LINES)
        .await
        .unwrap();
    // The other database has seen another seed before.
    run(&mut other, 5, false).await.unwrap();
    let mut digests = Vec::new();
    for seed in [2, 3, 4] {
        let first = run(&mut one, seed, true).await.unwrap();
        let again = run(&mut other, seed, true).await.unwrap();
        let differs = first.trace.iter().zip(&again.trace).find(|(a, b)| a != b);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(first.digest, again.digest, "seed {seed}");
        digests.push(first.digest);
    }
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), 3, "every seed is the same schedule");
    one.drop(&url().unwrap()).await.unwrap();
    other.drop(&url().unwrap()).await.unwrap();
}

/// What the command prints about a seed: everything that happens.
fn printed(seed: &str, plant: Option<&str>) -> Vec<u8> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_simulate"));
    command.args(["--seed", seed]).stderr(Stdio::null());
    if let Some(bug) = plant {
        command.args(["--plant", bug]);
    }
    command.output().unwrap().stdout
}

/// Two processes that stand in each other's way, each with a database of its own.
fn is_printed_the_same_by_two_processes_at_a_time(seed: &str, plant: Option<&str>) {
    let (one, other) = thread::scope(|scope| {
        let other = scope.spawn(|| printed(seed, plant));
        (printed(seed, plant), other.join().unwrap())
    });
    let lines = one.split(|byte| *byte == b'\n').count();
    assert!(lines > 100, "seed {seed} with {plant:?} has {lines} lines");
    assert_eq!(one, other, "seed {seed} with {plant:?}");
}

#[test]
fn a_seed_is_printed_the_same_in_every_byte_by_whichever_process() {
    for seed in ["7", "8"] {
        is_printed_the_same_by_two_processes_at_a_time(seed, None);
    }
}

/// Only a build that can plant bugs has this one.
#[cfg(feature = "plants")]
#[test]
fn a_seed_that_finds_a_planted_bug_is_printed_the_same_in_every_byte() {
    for (seed, bug) in [("3", "marked-before-send"), ("2", "start-without-epoch")] {
        is_printed_the_same_by_two_processes_at_a_time(seed, Some(bug));
        let found = printed(seed, Some(bug));
        assert!(
            String::from_utf8_lossy(&found).contains(" VIOLATION "),
            "{bug} is not found by seed {seed}"
        );
    }
}

#[test]
fn at_least_twelve_bugs_can_be_planted_and_each_has_a_name_of_its_own() {
    let mut names: Vec<_> = bugs().iter().map(|bug| bug.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), bugs().len());
    assert!(names.len() >= 12);
}
