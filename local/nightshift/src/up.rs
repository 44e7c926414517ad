//! The whole stack on one machine: started, kept alive and ended here.

mod children;
mod control;
mod database;
mod ending;
mod image;
mod lambda;
mod lock;
mod plan;
mod plane;
mod ports;
mod process;
mod risks;
mod secrets;
mod seed;
mod stack;

pub use lambda::{Elsewhere, Functions, function_names};
pub use stack::{Size, Stack};

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};

use crate::{checkout::Checkout, say};

/// Runs a stack until Ctrl-C or SIGTERM, then ends it.
pub async fn run(checkout: &Checkout, size: Size) -> Result<()> {
    let mut interrupted = Interrupt::new()?;
    say("starting the stack (logs in .local/logs)");
    let stack = tokio::select! {
        stack = Stack::start(checkout, size) => stack?,
        () = interrupted.wait() => {
            say("stopped before the stack was up; nothing was lost");
            return Ok(());
        }
    };
    say(&format!(
        "the stack is up: intake {}, API {}; .local/stack.json says the rest. Ctrl-C ends it",
        stack.file().intake,
        stack.file().api
    ));
    interrupted.wait().await;
    say("ending: no new alerts are taken; ready sandboxes are destroyed");
    stack.end().await
}

/// Somebody wants us to end: Ctrl-C or SIGTERM.
pub struct Interrupt {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Interrupt {
    /// Takes the signals over; they no longer end the process by themselves.
    pub fn new() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Returns at the next of them.
    pub async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

impl std::fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interrupt").finish_non_exhaustive()
    }
}
