//! The children: started together, started again when one dies, ended together.

use std::time::Duration;

use anyhow::Result;
use tokio::{sync::watch, task::JoinHandle};

use super::process::{Process, Program};

/// The pause before a dead child is started again; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A child that lived this long has recovered: the next pause is the first again.
const RECOVERED: Duration = Duration::from_secs(30);

/// Running children.
#[derive(Debug)]
pub(super) struct Children {
    stop: watch::Sender<bool>,
    keepers: Vec<JoinHandle<()>>,
}

impl Children {
    /// Starts every program and waits until each serves. If one does not, none is left.
    pub(super) async fn start(programs: Vec<Program>, http: &reqwest::Client) -> Result<Self> {
        let mut started = Vec::with_capacity(programs.len());
        for program in programs {
            let process = program.spawn()?;
            started.push((program, process));
        }
        for (program, process) in &mut started {
            program.wait_until_healthy(http, process).await?;
        }
        let (stop, stopped) = watch::channel(false);
        let keepers = started
            .into_iter()
            .map(|(program, process)| tokio::spawn(keep(program, process, stopped.clone())))
            .collect();
        Ok(Self { stop, keepers })
    }

    /// Ends all of them.
    pub(super) async fn end(self) {
        let _ = self.stop.send(true);
        for keeper in self.keepers {
            // A keeper that panicked took its child along.
            let _ = keeper.await;
        }
    }
}

/// Keeps one child alive until told to stop.
async fn keep(program: Program, process: Process, mut stopped: watch::Receiver<bool>) {
    let mut running = Some(process);
    let mut pause = FIRST_PAUSE;
    loop {
        if let Some(mut process) = running.take() {
            let began = tokio::time::Instant::now();
            tokio::select! {
                _ = stopped.changed() => return process.end().await,
                status = process.ended() => {
                    let status = status.map_or_else(|error| error.to_string(), |s| s.to_string());
                    tracing::error!(child = program.name, status, "A child died; starting it again");
                }
            }
            if began.elapsed() > RECOVERED {
                pause = FIRST_PAUSE;
            }
        }
        tokio::select! {
            _ = stopped.changed() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
        match program.spawn() {
            Ok(process) => running = Some(process),
            Err(error) => {
                tracing::error!(
                    child = program.name,
                    ?error,
                    "Could not start a child again"
                );
            }
        }
    }
}
