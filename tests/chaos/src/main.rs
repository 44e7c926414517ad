//! `chaos`: see [`nightshift_chaos`].

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use nightshift_chaos::Chaos;

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
}

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]
fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let chaos = Chaos {
        duration: Duration::try_from_secs_f64(args.minutes * 60.0)?,
        seed: args.seed,
        rate: args.rate,
        sweep: Duration::from_mins(1),
        longest: None,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(chaos.run(|line| eprintln!("chaos: {line}")))?;
    for line in outcome.lines() {
        println!("{line}");
    }
    let failed = !outcome.violations.is_empty();
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
