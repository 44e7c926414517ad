//! The command line of the benchmarks.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};

use crate::{alerts, claims, cold_start, figures::Output, fleet};

/// Measures the platform. Every figure is explained in docs/benchmarks.md.
#[derive(Debug, Parser)]
#[command(name = "benches")]
pub(crate) struct Cli {
    /// The checkout; the private PostgreSQL lies in its .local.
    #[arg(long)]
    root: PathBuf,
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// Matches and grants per second, from an empty history to a long one.
    Claims(Claims),
    /// Alerts answered, at a usual rate and far above it.
    Alerts(Alerts),
    /// Thousands of live investigations with their heartbeats.
    Fleet(Fleet),
    /// Start of every function binary to its first answer.
    ColdStart(ColdStart),
}

/// What `fleet` measures.
#[derive(Debug, Clone, Args)]
pub(crate) struct Fleet {
    /// JSON as the last line.
    #[arg(long)]
    json: bool,
    /// Live investigations.
    #[arg(long, default_value_t = 5_000)]
    pub(crate) agents: usize,
    /// Seconds of steady state.
    #[arg(long, default_value_t = 150)]
    pub(crate) seconds: u64,
}

/// What `cold-start` measures.
#[derive(Debug, Clone, Args)]
pub(crate) struct ColdStart {
    /// JSON as the last line.
    #[arg(long)]
    json: bool,
    /// Starts of each function.
    #[arg(long, default_value_t = 20)]
    pub(crate) runs: usize,
}

/// What `alerts` measures.
#[derive(Debug, Clone, Args)]
pub(crate) struct Alerts {
    /// JSON as the last line.
    #[arg(long)]
    json: bool,
    /// Seconds of every load [default: 30 at 100/s, 20 at 1,000/s].
    #[arg(long)]
    pub(crate) seconds: Option<u64>,
}

/// What `claims` measures.
#[derive(Debug, Clone, Args)]
pub(crate) struct Claims {
    /// JSON as the last line.
    #[arg(long)]
    json: bool,
    /// Only claims beside a running refill, and without.
    #[arg(long)]
    pub(crate) with_refill: bool,
    /// Only some parts: `matches`, `plan`, `closed`, `open`, `peers`, `fairness`, `refill`.
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// The longest history, in finished investigations.
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) history: i64,
    /// Seconds of every load that is measured.
    #[arg(long, default_value_t = 10)]
    pub(crate) seconds: u64,
}

impl Cli {
    /// Measures what was asked for.
    pub(crate) async fn run(self) -> Result<()> {
        let local = self.root.join(".local");
        std::fs::create_dir_all(&local)
            .with_context(|| format!("cannot make {}", local.display()))?;
        match self.bench {
            Bench::Claims(wanted) => {
                let output = Output::new(wanted.json);
                claims::run(&local, &wanted, &output).await
            }
            Bench::Alerts(wanted) => {
                let output = Output::new(wanted.json);
                alerts::run(&local, &wanted, &output).await
            }
            Bench::Fleet(wanted) => {
                let output = Output::new(wanted.json);
                fleet::run(&local, &wanted, &output).await
            }
            Bench::ColdStart(wanted) => {
                let output = Output::new(wanted.json);
                cold_start::run(&local, &wanted, &output).await
            }
        }
    }
}
