//! `benches`: how fast the platform is, on a private PostgreSQL whose commits reach the disk.

mod cli;
mod database;
mod environment;
mod figures;
mod load;
mod seed;
mod usage;

mod alerts;
mod claims;
mod cold_start;
mod fleet;

use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    match cli::Cli::parse().run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            figures::say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}
