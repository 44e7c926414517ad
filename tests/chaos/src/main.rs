//! `chaos`: see [`nightshift_chaos`].

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use nightshift_chaos::{Chaos, Plant, Rotation};

/// Puts a stack under load, kills parts of it, and looks whether anything was lost.
#[derive(Debug, Parser)]
#[command(name = "chaos")]
struct Args {
    /// How long alerts are sent and parts are killed, in minutes.
    #[arg(long, default_value_t = 3.0)]
    minutes: f64,
    /// What is done, and when.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Alerts a second.
    #[arg(long, default_value_t = 0.5)]
    rate: f64,
    /// Instead: rotate the keys of run tokens under live runs, and kill only what must not make a difference.
    #[arg(long, conflicts_with_all = ["minutes", "seed", "rate"])]
    rotation: bool,
    /// Runs that are live at once.
    #[arg(long, requires = "rotation", default_value_t = 50,
          value_parser = clap::value_parser!(u16).range(1..=200))]
    runs: u16,
    /// How long run tokens live, in seconds. The old key is there for a minute longer.
    #[arg(long, requires = "rotation", default_value_t = 600,
          value_parser = clap::value_parser!(u64).range(10..=600))]
    token_seconds: u64,
    /// How long the next key is published before it signs, in seconds.
    #[arg(long, requires = "rotation", default_value_t = 30,
          value_parser = clap::value_parser!(u64).range(5..=300))]
    lead_seconds: u64,
    /// Do something wrong, which must be seen.
    #[arg(long, requires = "rotation")]
    plant: Option<Plant>,
    /// One JSON object as the last line instead of a table.
    #[arg(long, requires = "rotation")]
    json: bool,
}

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]
fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let tell = |line: &str| eprintln!("chaos: {line}");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let (lines, violations) = if args.rotation {
        let outcome = runtime.block_on(args.as_rotation().run(tell))?;
        let lines = if args.json {
            vec![outcome.json().to_string()]
        } else {
            outcome.lines()
        };
        (lines, outcome.violations().len())
    } else {
        let outcome = runtime.block_on(args.as_chaos()?.run(tell))?;
        (outcome.lines(), outcome.violations.len())
    };
    for line in lines {
        println!("{line}");
    }
    Ok(if violations > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

impl Args {
    fn as_chaos(&self) -> anyhow::Result<Chaos> {
        Ok(Chaos {
            duration: Duration::try_from_secs_f64(self.minutes * 60.0)?,
            seed: self.seed,
            rate: self.rate,
            sweep: Duration::from_mins(1),
            longest: None,
        })
    }

    fn as_rotation(&self) -> Rotation {
        Rotation {
            runs: self.runs.into(),
            life: Duration::from_secs(self.token_seconds),
            lead: Duration::from_secs(self.lead_seconds),
            plant: self.plant,
        }
    }
}
