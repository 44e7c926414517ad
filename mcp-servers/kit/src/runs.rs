//! Whether a run is live, asked of whoever knows and believed for at most two seconds.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use nightshift_controls::{Control, holds};
use nightshift_domain::{Epoch, InvestigationId};
use nightshift_protocol::run::{RunStatus, STATUS_TTL_MS};
use tokio::time::Instant;

use crate::Pending;

/// How many answers are kept before those that are too old are thrown away.
const SWEEP_ABOVE: usize = 4_096;

/// Knows which runs are live.
pub trait Runs: Send + Sync {
    /// The run, if it is live at exactly this epoch.
    fn status(
        &self,
        investigation: InvestigationId,
        epoch: Epoch,
    ) -> Pending<'_, Result<Option<RunStatus>, RunsUnavailable>>;
}

/// Nobody could say whether the run is live, so it is treated as if it were not, for now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the casebook cannot be asked about runs: {0}")]
pub struct RunsUnavailable(pub String);

/// Remembers answers for [`STATUS_TTL_MS`]. A failure to ask is never remembered, and an old
/// answer never stands in for one.
#[derive(Debug)]
pub struct CachedRuns<R> {
    source: R,
    answers: RwLock<HashMap<(InvestigationId, Epoch), Answer>>,
}

#[derive(Debug, Clone)]
struct Answer {
    status: Option<RunStatus>,
    asked_at: Instant,
}

impl Answer {
    fn is_fresh(&self) -> bool {
        self.asked_at.elapsed() < Duration::from_millis(STATUS_TTL_MS)
            || !holds(Control::RunFreshness)
    }
}

impl<R: Runs> CachedRuns<R> {
    /// Remembers what `source` answers.
    #[must_use]
    pub fn new(source: R) -> Self {
        Self {
            source,
            answers: RwLock::default(),
        }
    }

    fn remembered(&self, key: (InvestigationId, Epoch)) -> Option<Answer> {
        let answers = self.answers.read().unwrap_or_else(PoisonError::into_inner);
        answers
            .get(&key)
            .filter(|answer| answer.is_fresh())
            .cloned()
    }

    fn remember(&self, key: (InvestigationId, Epoch), answer: Answer) {
        let mut answers = self.answers.write().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= SWEEP_ABOVE {
            answers.retain(|_, answer| answer.is_fresh());
        }
        answers.insert(key, answer);
    }
}

impl<R: Runs> Runs for CachedRuns<R> {
    fn status(
        &self,
        investigation: InvestigationId,
        epoch: Epoch,
    ) -> Pending<'_, Result<Option<RunStatus>, RunsUnavailable>> {
        Box::pin(async move {
            let key = (investigation, epoch);
            if let Some(answer) = self.remembered(key) {
                return Ok(answer.status);
            }
            // The age counts from the question: the answer may be that old when it arrives.
            let asked_at = Instant::now();
            let status = self.source.status(investigation, epoch).await?;
            self.remember(
                key,
                Answer {
                    status: status.clone(),
                    asked_at,
                },
            );
            Ok(status)
        })
    }
}

impl<R: Runs + ?Sized> Runs for Arc<R> {
    fn status(
        &self,
        investigation: InvestigationId,
        epoch: Epoch,
    ) -> Pending<'_, Result<Option<RunStatus>, RunsUnavailable>> {
        (**self).status(investigation, epoch)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        sync::atomic::{AtomicU8, AtomicUsize, Ordering},
    };

    use chrono::DateTime;
    use nightshift_domain::{SandboxId, TenantId};

    use super::*;

    const LIVE: u8 = 0;
    const OVER: u8 = 1;
    const DOWN: u8 = 2;

    /// Answers as it is told, each time after half a second, and counts.
    #[derive(Default)]
    struct Slow {
        mode: AtomicU8,
        asked: AtomicUsize,
    }

    impl Runs for Slow {
        fn status(
            &self,
            investigation: InvestigationId,
            epoch: Epoch,
        ) -> Pending<'_, Result<Option<RunStatus>, RunsUnavailable>> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let live = RunStatus {
                investigation,
                tenant: TenantId::generate(),
                sandbox: SandboxId::generate(),
                epoch,
                fired_at: DateTime::UNIX_EPOCH,
                connections: BTreeMap::new(),
            };
            let answer = match self.mode.load(Ordering::SeqCst) {
                LIVE => Ok(Some(live)),
                OVER => Ok(None),
                _ => Err(RunsUnavailable("down".to_owned())),
            };
            Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(500)).await;
                answer
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_believed_for_two_seconds_from_the_question() {
        let runs = CachedRuns::new(Slow::default());
        let run = InvestigationId::generate();
        let is_live = async |epoch| {
            runs.status(run, Epoch(epoch))
                .await
                .map(|run| run.is_some())
        };

        assert_eq!(is_live(1).await, Ok(true));
        runs.source.mode.store(OVER, Ordering::SeqCst);
        tokio::time::advance(Duration::from_millis(1_499)).await;
        assert_eq!(is_live(1).await, Ok(true));
        assert_eq!(runs.source.asked.load(Ordering::SeqCst), 1);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(is_live(1).await, Ok(false));
        assert_eq!(
            is_live(2).await,
            Ok(false),
            "another epoch is another question"
        );
        assert_eq!(runs.source.asked.load(Ordering::SeqCst), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_answer_does_not_stand_in_for_a_failure_and_a_failure_is_not_kept() {
        let runs = CachedRuns::new(Slow::default());
        let run = InvestigationId::generate();
        let is_live = async || runs.status(run, Epoch(1)).await.map(|run| run.is_some());

        assert_eq!(is_live().await, Ok(true));
        runs.source.mode.store(DOWN, Ordering::SeqCst);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(is_live().await.is_err());
        runs.source.mode.store(LIVE, Ordering::SeqCst);
        assert_eq!(is_live().await, Ok(true));
    }
}
