//! Everything a use case needs from outside.

use std::{collections::BTreeMap, sync::Arc};

use nightshift_domain::bucket::Limits;
use nightshift_protocol::Trace;
use nightshift_store::{CHANNEL_EVENTS, CHANNEL_OUTBOX, Store};

use crate::{Clock, courier::Courier, provider::Provider};

/// Everything a use case needs from outside.
#[derive(Clone)]
pub struct Platform {
    /// The database.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where sandboxes are made.
    pub provider: Arc<dyn Provider>,
    /// Who carries reports to those who want to be told.
    pub courier: Arc<dyn Courier>,
    /// What the operator chose.
    pub settings: Arc<Settings>,
}

/// What the operator chose.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Grants written in one transaction, at most.
    pub grant_batch: i64,
    /// How fast a region's provider is asked.
    pub limits: Limits,
    /// The size of a sandbox's volume in GB.
    pub volume_gb: u64,
    /// The environment of every machine: public addresses, never a secret.
    pub machine_env: BTreeMap<String, String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            grant_batch: 64,
            limits: Limits::default(),
            volume_gb: 1,
            machine_env: BTreeMap::new(),
        }
    }
}

impl Platform {
    /// The same platform for work that belongs to `trace`: the steps it writes go on with it.
    #[must_use]
    pub fn following(&self, trace: Option<Trace>) -> Self {
        Self {
            store: self.store.following(trace),
            ..self.clone()
        }
    }

    /// Tells whoever waits that steps and events were written. Call it after the commit.
    pub(crate) fn announce(&self) {
        announce(&self.store);
    }
}

impl std::fmt::Debug for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Platform")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// Tells whoever waits that steps and events were written. Call it after the commit.
pub(crate) fn announce(store: &Store) {
    store.signals().send(CHANNEL_OUTBOX);
    store.signals().send(CHANNEL_EVENTS);
}
