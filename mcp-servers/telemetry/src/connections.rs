//! Which backend a run may ask: its tenant's connection, and nothing else.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use nightshift_protocol::run::RunStatus;
use serde::Deserialize;

use crate::{
    backend::Backend,
    recording::{RecordingBackend, RecordingStore, StoreError},
};

/// How runs spell their connection to this server.
const SERVER: &str = "telemetry";

/// Every store that the operator gave this server, by name.
#[derive(Debug, Clone, Default)]
pub struct Connections {
    stores: BTreeMap<String, Arc<RecordingStore>>,
}

/// Why a run has nothing to ask.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoConnection {
    /// The tenant connected no telemetry.
    #[error("this tenant has connected no telemetry; work without it and say so in the report")]
    NotConnected,
    /// The connection is not of a shape that we know.
    #[error("this tenant's telemetry connection is not usable: {0}")]
    Unusable(String),
    /// The connection names a kind of backend that we do not have.
    #[error("this tenant's telemetry is in `{0}`, which this server cannot read")]
    UnknownBackend(String),
    /// The connection names a store that the operator did not give us.
    #[error("this tenant's telemetry store `{0}` is not available on this server")]
    UnknownStore(String),
}

#[derive(Deserialize)]
struct Connection {
    backend: String,
    store: Option<String>,
}

impl Connections {
    /// Indexes the directories, by the name of each store.
    pub fn index(directories: &[(String, String)]) -> Result<Self, StoreError> {
        let mut stores = BTreeMap::new();
        for (name, directory) in directories {
            stores.insert(
                name.clone(),
                Arc::new(RecordingStore::index(Path::new(directory))?),
            );
        }
        Ok(Self { stores })
    }

    /// Loads what fits in memory, so that the first question of a run need not wait.
    pub async fn preload(&self) {
        for store in self.stores.values() {
            store.preload().await;
        }
    }

    /// The backend that a run's tenant has connected.
    pub fn of_run(&self, run: &RunStatus) -> Result<Arc<dyn Backend>, NoConnection> {
        let value = run
            .connections
            .get(SERVER)
            .ok_or(NoConnection::NotConnected)?;
        let connection = Connection::deserialize(value)
            .map_err(|error| NoConnection::Unusable(error.to_string()))?;
        if connection.backend != "recording" {
            return Err(NoConnection::UnknownBackend(connection.backend));
        }
        let store = connection
            .store
            .ok_or_else(|| NoConnection::Unusable("it names no `store`".to_owned()))?;
        match self.stores.get(&store) {
            Some(found) => Ok(Arc::new(RecordingBackend::new(
                Arc::clone(found),
                run.fired_at,
            ))),
            None => Err(NoConnection::UnknownStore(store)),
        }
    }
}
