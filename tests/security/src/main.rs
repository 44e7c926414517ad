//! The attack suite: every attack of the list that one machine can try, against the real servers.
//!
//! Each case runs in a process of its own, in which the servers stand on loopback over a real PostgreSQL.
//! In a build with switches a case can be run without the controls that stop it, and must then succeed:
//! an attack that cannot succeed shows nothing.

mod attacks;
mod case;
mod cli;
mod database;
mod roles;
mod run;
mod sandbox;
mod stack;
mod table;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::cli::Arguments;

fn main() -> ExitCode {
    // First of all: what it is then holds tokens, or becomes another user.
    if let Some(code) = roles::played() {
        return code;
    }
    nightshift_http::tls::choose();
    match tried(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            cli::complain(&format!("attack: {error:#}"));
            ExitCode::from(2)
        }
    }
}

fn tried(arguments: &Arguments) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    if let Some(name) = &arguments.one {
        return runtime.block_on(run::one(name));
    }
    let chosen = arguments.chosen()?;
    if arguments.list {
        cli::say(&table::list(&chosen));
        return Ok(ExitCode::SUCCESS);
    }
    let off = arguments.switched_off()?;
    let tries = runtime.block_on(run::all(&chosen, &off))?;
    let verdict = table::Verdict::of(&tries, arguments.expect_success);
    cli::say(&if arguments.json {
        table::json(&tries, &verdict)?
    } else {
        table::show(&tries, &verdict)
    });
    Ok(if verdict.as_it_must_be {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
