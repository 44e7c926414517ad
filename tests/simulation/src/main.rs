//! `simulate`: explores crash schedules and tells which broke an invariant.
#![expect(clippy::print_stdout, reason = "a command answers on stdout")]
#![expect(
    clippy::print_stderr,
    reason = "a command tells how far it is on stderr"
)]

use std::{process::ExitCode, time::Instant};

use anyhow::Context as _;
use clap::Parser;
use nightshift_simulation::{Exploration, Explored, Outcome, bugs, corpus, explore, plant};

/// Explores seeded crash schedules on a real PostgreSQL.
///
/// Exits with 0 if nothing was violated, with 1 if something was (with `--plant`, that is what should
/// happen), with 2 if the seeds could not be run.
#[derive(Debug, Parser)]
#[command(name = "simulate")]
struct Arguments {
    /// How many seeds to run; those that failed once come first.
    #[arg(long, default_value_t = 100)]
    seeds: usize,
    /// Run this seed only and print everything that happens.
    #[arg(long)]
    seed: Option<u64>,
    /// Plant a bug and stop at the first seed that finds it.
    #[arg(long, value_name = "BUG")]
    plant: Option<String>,
    /// Print the bugs that can be planted.
    #[arg(long)]
    list_plants: bool,
    /// Print one JSON object as the last line.
    #[arg(long)]
    json: bool,
    /// How many seeds to run at a time [default: one a core].
    #[arg(long)]
    workers: Option<usize>,
    /// The PostgreSQL to use, as somebody who may create databases [default: `DATABASE_URL`].
    #[arg(long, value_name = "URL")]
    database: Option<String>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("simulate: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if arguments.list_plants {
        for bug in bugs() {
            println!("{:<28} {}", bug.name, bug.what);
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(name) = &arguments.plant {
        let bug = bugs().iter().find(|bug| bug.name == name);
        plant(*bug.with_context(|| format!("no bug is called {name}; see --list-plants"))?)?;
    }
    let named = || std::env::var_os("DATABASE_URL")?.into_string().ok();
    let url = arguments.database.clone().or_else(named);
    let url = url.context("DATABASE_URL is not set")?;
    let exploration = Exploration {
        url,
        seeds: seeds(arguments),
        workers: arguments.workers.unwrap_or_else(cores),
        until_found: arguments.plant.is_some(),
        keep_trace: arguments.seed.is_some(),
    };
    let began = Instant::now();
    let mut ran = 0;
    let explored = explore(&exploration, |outcome| {
        ran += 1;
        tell(arguments, outcome, ran, began);
    })?;
    close(arguments, &explored, began);
    Ok(if explored.failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn seeds(arguments: &Arguments) -> Vec<u64> {
    if let Some(seed) = arguments.seed {
        return vec![seed];
    }
    let mut seeds = corpus();
    let others = (1..).filter(|seed| !corpus().contains(seed));
    seeds.extend(others.take(arguments.seeds));
    seeds.truncate(arguments.seeds);
    seeds
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZero::get)
}

fn tell(arguments: &Arguments, outcome: &Outcome, ran: usize, began: Instant) {
    for line in &outcome.trace {
        println!("{line}");
    }
    for violation in &outcome.violations {
        eprintln!("seed {}: {violation}", outcome.seed);
    }
    if let (Some(bug), false) = (&arguments.plant, outcome.violations.is_empty()) {
        eprintln!("found {bug} at seed {}", outcome.seed);
    }
    if ran.is_multiple_of(50) {
        let pace =
            f64::from(u32::try_from(ran).unwrap_or(u32::MAX)) / began.elapsed().as_secs_f64();
        eprintln!("{ran} seeds, {pace:.1} a second");
    }
}

fn close(arguments: &Arguments, explored: &Explored, began: Instant) {
    let failed: Vec<_> = explored
        .failed
        .iter()
        .map(
            |outcome| serde_json::json!({ "seed": outcome.seed, "violations": outcome.violations }),
        )
        .collect();
    let (seeds, crashes, violations) = (explored.seeds, explored.crashes, explored.violations());
    let seconds = began.elapsed().as_secs_f64();
    eprintln!(
        "{} steps in {seconds:.0} s; replay one with --seed S",
        explored.steps
    );
    if arguments.json {
        let answer = serde_json::json!({
            "seeds": seeds,
            "crashes": crashes,
            "violations": violations,
            "steps": explored.steps,
            "seconds": seconds,
            "plant": arguments.plant,
            "found": arguments.plant.is_some() && violations > 0,
            "failed": failed,
        });
        println!("{answer}");
    } else {
        println!("{seeds} seeds, {crashes} crashes, {violations} violations");
    }
}
