//! `conformance`: holds our MCP servers against the conformance suite of the protocol, both versions of it.
//!
//! The servers are those of a whole stack, and the tokens those of a run that is live in it. The suite knows
//! neither tokens nor proofs, so a front stands between that adds both, and nothing else. What fails is
//! compared with a list in which each accepted failure has its reason; so is what passes.

mod accepted;
mod front;
mod run;
mod suite;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::Parser;

use self::{accepted::Accepted, front::Front, run::LiveRun, suite::Suite};

/// The published versions of the protocol.
const VERSIONS: [&str; 2] = ["2025-11-25", "2026-07-28"];
/// Our servers.
const SERVERS: [&str; 3] = ["casebook", "codebase", "telemetry"];

/// Holds our MCP servers against the conformance suite of the protocol.
#[derive(Debug, Parser)]
#[command(name = "conformance")]
struct Args {
    /// Only this server.
    #[arg(long, value_parser = SERVERS)]
    server: Option<String>,
    /// Print the checks that fail in the form of the list of accepted ones, without their reasons.
    #[arg(long)]
    list: bool,
    /// The suite's script.
    #[arg(long)]
    script: PathBuf,
    /// What runs it.
    #[arg(long)]
    node: PathBuf,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let conforms = runtime.block_on(judge(&args))?;
    Ok(if conforms {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]
async fn judge(args: &Args) -> Result<bool> {
    let accepted = Accepted::read(include_str!("../accepted.txt"))?;
    let suite = Suite::at(&args.node, &args.script);
    eprintln!("conformance: starting a stack with a live run");
    let live = LiveRun::begin().await?;
    let mut found = Vec::new();
    let mut table = Vec::new();
    for server in SERVERS {
        if args.server.as_deref().is_some_and(|only| only != server) {
            continue;
        }
        let front = Front::open(server, &live).await?;
        for version in VERSIONS {
            let checks = suite.run(server, version, &front.url).await?;
            let passed = checks.iter().filter(|check| check.passed).count();
            table.push((server, version, checks.len(), passed));
            found.extend(checks);
        }
    }
    live.end().await.context("the stack did not end in order")?;
    found.sort_by_key(suite::Check::name);
    if args.list {
        for check in found.iter().filter(|check| !check.passed) {
            println!("{} | {}", check.name(), check.said);
        }
    }
    println!(
        "{:<10} {:<12} {:>6} {:>7} {:>9}",
        "server", "version", "checks", "passed", "accepted"
    );
    for (server, version, checks, passed) in table {
        let accepted = checks - passed;
        println!("{server:<10} {version:<12} {checks:>6} {passed:>7} {accepted:>9}");
    }
    let verdict = accepted.judge(&found, args.server.is_none());
    for line in &verdict {
        println!("{line}");
    }
    let checks = found.len();
    println!(
        "{checks} checks, {} not as the list of accepted failures says",
        verdict.len()
    );
    Ok(verdict.is_empty() && checks > 0)
}
