//! The machine's own end. Nobody outside has to ask for it, so a sandbox that everybody has forgotten, or
//! whose control plane is gone, does not live on.

use std::{thread, time::Duration};

use rustix::time::{ClockId, clock_gettime};

/// How much later the process ends itself, should its ordinary end not come about.
const MARGIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The exit code of a process that had to end itself.
pub const EXIT_CODE: i32 = 72;

/// A moment on the clock that also runs while the machine is suspended.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    at: Duration,
}

impl Deadline {
    /// So long from now.
    #[must_use]
    pub fn after(time: Duration) -> Self {
        Self {
            at: since_boot() + time,
        }
    }

    /// Comes when it is over.
    pub async fn over(self) {
        while let Some(left) = self.left() {
            // In short rounds, because timers stand still while the machine is suspended.
            tokio::time::sleep(left.min(LOOK_EVERY)).await;
        }
    }

    /// Ends the process a little later from a thread of its own, which needs nothing to work but itself. What
    /// the process started dies with it.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn insist(self) -> std::io::Result<()> {
        let last = Self {
            at: self.at + MARGIN,
        };
        thread::Builder::new()
            .name("deadline".to_owned())
            .spawn(move || {
                while let Some(left) = last.left() {
                    thread::sleep(left.min(LOOK_EVERY));
                }
                tracing::error!("The machine's own deadline is over and nothing else ended it");
                std::process::exit(EXIT_CODE);
            })?;
        Ok(())
    }

    fn left(self) -> Option<Duration> {
        self.at
            .checked_sub(since_boot())
            .filter(|left| !left.is_zero())
    }
}

fn since_boot() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
}
