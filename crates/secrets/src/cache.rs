//! Remembers credentials for a moment: control `credential-cache`.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nightshift_controls::{Control, holds};
use nightshift_domain::{InvestigationId, TenantId};
use tokio::time::{Instant, sleep_until};

use crate::{Credential, CredentialName, Pending, Reader, SecretError, Secrets};

/// How long a credential that was read once may be used without asking again.
pub const MAX_AGE: Duration = Duration::from_mins(1);

/// Remembers credentials by tenant and name, for at most [`MAX_AGE`] and no longer than a run lives that
/// asked for them. What is forgotten is gone from memory, not merely unused.
pub struct Cached<S> {
    source: Arc<S>,
    held: Arc<Mutex<Held>>,
}

#[derive(Default)]
struct Held {
    kept: HashMap<(Option<TenantId>, CredentialName), Kept>,
    /// Grows with every end of a run: what was asked for before may not be kept after.
    ends: u64,
}

struct Kept {
    credential: Credential,
    asked_at: Instant,
    runs: HashSet<InvestigationId>,
}

impl Kept {
    fn is_fresh(&self) -> bool {
        self.asked_at.elapsed() < MAX_AGE
    }
}

impl<S: Secrets> Cached<S> {
    /// Remembers what `source` gives.
    #[must_use]
    pub fn new(source: S) -> Self {
        Self {
            source: Arc::new(source),
            held: Arc::default(),
        }
    }

    /// Forgets what only this run asked for.
    pub fn end(&self, run: InvestigationId) {
        let mut held = self.held();
        held.ends += 1;
        held.kept.retain(|_, kept| {
            kept.runs.remove(&run);
            !kept.runs.is_empty()
        });
    }

    /// Whether anything is held that this run asked for.
    #[must_use]
    pub fn holds_for(&self, run: InvestigationId) -> bool {
        self.held()
            .kept
            .values()
            .any(|kept| kept.runs.contains(&run))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read_through(
        &self,
        reader: Reader,
        name: &CredentialName,
    ) -> Result<Credential, SecretError> {
        let of = holds(Control::CredentialCache).then_some(reader.tenant);
        let key = (of, name.clone());
        let ends = {
            let mut held = self.held();
            if let Some(kept) = held.kept.get_mut(&key).filter(|kept| kept.is_fresh()) {
                kept.runs.insert(reader.run);
                return Ok(kept.credential.clone());
            }
            held.ends
        };
        // Its age counts from the question: what the answer says may be as old as that.
        let asked_at = Instant::now();
        let credential = self.source.read(reader, name).await?;
        let mut held = self.held();
        // A run that ended meanwhile may have been this one; then nobody would end it again.
        if held.ends == ends {
            let runs = held
                .kept
                .remove(&key)
                .map_or_else(HashSet::new, |old| old.runs);
            let kept = Kept {
                credential: credential.clone(),
                asked_at,
                runs: runs.into_iter().chain([reader.run]).collect(),
            };
            held.kept.insert(key, kept);
            self.forget_at(asked_at + MAX_AGE);
        }
        Ok(credential)
    }

    /// Wipes what is too old by then, whether or not anybody asks again.
    fn forget_at(&self, when: Instant) {
        let held = Arc::downgrade(&self.held);
        tokio::spawn(async move {
            sleep_until(when).await;
            if let Some(held) = held.upgrade() {
                let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
                held.kept.retain(|_, kept| kept.is_fresh());
            }
        });
    }
}

impl<S: Secrets> Secrets for Cached<S> {
    fn read<'a>(
        &'a self,
        reader: Reader,
        name: &'a CredentialName,
    ) -> Pending<'a, Result<Credential, SecretError>> {
        Box::pin(self.read_through(reader, name))
    }
}

impl<S> Clone for Cached<S> {
    /// The same memory again, not a copy of it.
    fn clone(&self) -> Self {
        Self {
            source: Arc::clone(&self.source),
            held: Arc::clone(&self.held),
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for Cached<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
