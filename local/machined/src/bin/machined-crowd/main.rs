//! `machined-crowd`: how many sandboxes one machine holds, what each costs, and what is left of them: nothing.

mod figures;
mod leftovers;
mod peer;
mod run;
mod server;

use std::path::PathBuf;

use clap::Parser;

/// Starts many sandboxes through machined, lets them live together, kills machined, starts them again,
/// deletes everything and looks for what is left. Exits with 1 if anything is.
#[derive(Debug, Clone, Parser)]
#[command(name = "machined-crowd")]
struct Args {
    /// Sandboxes alive at the same time.
    #[arg(long, default_value_t = 1_000)]
    machines: usize,
    /// Calls at the same time.
    #[arg(long, default_value_t = 4)]
    parallel: usize,
    /// Machines without a volume.
    #[arg(long)]
    no_volumes: bool,
    /// JSON as the last line.
    #[arg(long)]
    json: bool,
    /// The server [default: machined beside this program].
    #[arg(long)]
    machined: Option<PathBuf>,
}

fn main() -> anyhow::Result<std::process::ExitCode> {
    let args = Args::parse();
    let runtime = tokio::runtime::Runtime::new()?;
    let clean = runtime.block_on(run::run(&args))?;
    Ok(std::process::ExitCode::from(u8::from(!clean)))
}
