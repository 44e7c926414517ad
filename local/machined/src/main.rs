//! `machined`: the Machines API on one machine.

use std::io::{IsTerminal, Write};

use clap::Parser;
use nightshift_machined::{Args, probe, serve, stage};
use tracing_subscriber::EnvFilter;

fn main() -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let args = stage(Args::parse())?;
    if args.probe {
        writeln!(std::io::stdout(), "{}", probe(args.backend))?;
        return Ok(());
    }
    let exit_with_parent = args.exit_with_parent;
    let config = args.configure()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(config, exit_with_parent))?;
    // A read of standard input that never ends must not keep the process.
    runtime.shutdown_background();
    Ok(())
}
