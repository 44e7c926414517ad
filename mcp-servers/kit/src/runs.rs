//! Whether a run is live, asked of whoever knows and believed for at most two seconds.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

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
