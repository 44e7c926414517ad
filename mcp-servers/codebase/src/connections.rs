//! Which backend a run may ask: its tenant's connection, and nothing else.

use nightshift_controls::{Control, holds};
use std::{collections::BTreeMap, path::Path, sync::Arc};

use nightshift_observer::{Connected, NoConnection};
use nightshift_protocol::run::RunStatus;

use crate::{
    backend::Backend,
    recording::{RecordingBackend, RecordingStore, StoreError},
};

/// How runs spell their connection to this server.
const SERVER: &str = "codebase";

/// Every store that the operator gave this server, by name.
#[derive(Debug, Clone, Default)]
pub struct Connections {
    stores: BTreeMap<String, Arc<RecordingStore>>,
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

    /// Reads every history, so that the first question of a run need not wait.
    pub async fn preload(&self) {
        for store in self.stores.values() {
            store.preload().await;
        }
    }

    /// The backend that a run's tenant has connected.
    pub fn of_run(&self, run: &RunStatus) -> Result<Arc<dyn Backend>, NoConnection> {
        let Connected::Recordings { store } = Connected::of_run(run, SERVER)?;
        let found = if holds(Control::TenantConnection) {
            self.stores.get(&store)
        } else {
            self.stores.values().next()
        };
        match found {
            Some(found) => Ok(Arc::new(RecordingBackend::new(Arc::clone(found)))),
            None => Err(NoConnection::UnknownStore {
                what: SERVER,
                store,
            }),
        }
    }
}
