//! The children that somebody waits for, so that burying the others never takes their exit status.

use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::Pid;
use tokio::signal::unix::{SignalKind, signal};

use crate::descendants;

/// The process ids that somebody waits for.
#[derive(Debug, Clone, Default)]
pub struct Children {
    waited_for: Arc<Mutex<Vec<Pid>>>,
}

/// Somebody waits for a child for as long as this lives.
#[derive(Debug)]
pub struct Waiting {
    children: Children,
    pid: Pid,
}

impl Children {
    /// Notes that somebody waits for `pid`. Must happen before anything else is awaited after the
    /// child was started: the runtime has one thread, so the burial cannot come in between.
    #[must_use]
    pub fn wait_for(&self, pid: Pid) -> Waiting {
        self.waited_for
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(pid);
        Waiting {
            children: self.clone(),
            pid,
        }
    }

    /// Buries adopted children whenever one dies, for as long as this is polled.
    ///
    /// # Errors
    /// The kernel's refusal to tell about dead children.
    pub async fn bury_adopted(self) -> std::io::Result<()> {
        let mut died = signal(SignalKind::child())?;
        while died.recv().await.is_some() {
            let waited_for = self
                .waited_for
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            descendants::bury(&waited_for);
        }
        Ok(())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut pids = self
            .children
            .waited_for
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        pids.retain(|pid| *pid != self.pid);
    }
}
