//! The harness: reads a brief from standard input, works on it, and ends. Without a brief there is
//! nothing to do, and it ends well: that is how the supervisor checks that it starts.

use std::{
    io::{self, Read as _},
    process::ExitCode,
    time::Instant,
};

use nightshift_harness::{
    Harness as _,
    config::Config,
    run::{Native, RunError},
};
use nightshift_protocol::Brief;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use tokio::signal::unix::{SignalKind, signal};
use tracing::level_filters::LevelFilter;

/// `EX_DATAERR`: the brief, or the session on the volume, is not what it must be.
const BAD_DATA: u8 = 65;

fn main() -> ExitCode {
    // Where the agent's shell has to share this user, it must not be able to take this process over.
    let hardened = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_max_level(LevelFilter::INFO)
        .with_writer(io::stderr)
        .init();
    if let Err(error) = hardened {
        tracing::error!(error = %error, "Could not become non-dumpable");
        return ExitCode::FAILURE;
    }
    let mut text = Vec::new();
    if let Err(error) = io::stdin().read_to_end(&mut text) {
        tracing::error!(error = %error, "Could not read the brief");
        return BAD_DATA.into();
    }
    if text.is_empty() {
        return ExitCode::SUCCESS;
    }
    match serde_json::from_slice(&text) {
        Ok(brief) => work(brief),
        Err(error) => {
            tracing::error!(error = %error, "The brief is malformed");
            BAD_DATA.into()
        }
    }
}

fn work(brief: Brief) -> ExitCode {
    let started = Instant::now();
    let investigation = brief.investigation;
    let done = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .and_then(|runtime| {
            runtime.block_on(async {
                let mut terminate = signal(SignalKind::terminate())?;
                let stop = async move {
                    terminate.recv().await;
                };
                Ok(Native::new(Config::from_env()).work(brief, stop).await)
            })
        });
    let ms = started.elapsed().as_millis();
    match done {
        Ok(Ok(finish)) => {
            tracing::info!(investigation.id = %investigation, ?finish, ms, "Ended");
            ExitCode::SUCCESS
        }
        Ok(Err(error)) => {
            tracing::error!(investigation.id = %investigation, error = causes(&error), ms, "Failed");
            match error {
                RunError::Checkpoint(_) => BAD_DATA.into(),
                RunError::NoCasebook(_) | RunError::Casebook(_) | RunError::LastWords => {
                    ExitCode::FAILURE
                }
            }
        }
        Err(error) => {
            tracing::error!(error = %error, "Could not start the runtime");
            ExitCode::FAILURE
        }
    }
}

/// An error and everything that caused it, on one line.
fn causes(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |&error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
