//! What a run's tenant has connected to a server, and nothing else.

use nightshift_protocol::run::RunStatus;
use nightshift_secrets::CredentialName;
use serde::Deserialize;

/// A tenant's connection to one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connected {
    /// A store of recordings that the operator gave the server, by name.
    Recordings {
        /// Its name.
        store: String,
    },
}

/// Why a run has nothing to ask. `what` is the server's name, as runs spell it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoConnection {
    /// The tenant connected nothing.
    #[error("this tenant has connected no {what}; work without it and say so in the report")]
    NotConnected {
        /// To which server.
        what: &'static str,
    },
    /// The connection is not of a shape that we know.
    #[error("this tenant's {what} connection is not usable: {why}")]
    Unusable {
        /// To which server.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The connection names a kind of backend that we do not have.
    #[error("this tenant's {what} is in `{backend}`, which this server cannot read")]
    UnknownBackend {
        /// To which server.
        what: &'static str,
        /// The backend it names.
        backend: String,
    },
    /// The connection names a store that the operator did not give us.
    #[error("this tenant's {what} store `{store}` is not available on this server")]
    UnknownStore {
        /// To which server.
        what: &'static str,
        /// The store it names.
        store: String,
    },
}

#[derive(Deserialize)]
struct Spelled {
    backend: String,
    store: Option<String>,
    credential: Option<CredentialName>,
}

/// The credential that a run's tenant named in its connection to the server `what`, if it named one.
pub fn credential_of(
    run: &RunStatus,
    what: &'static str,
) -> Result<Option<CredentialName>, NoConnection> {
    Ok(spelled(run, what)?.credential)
}

fn spelled(run: &RunStatus, what: &'static str) -> Result<Spelled, NoConnection> {
    let value = run
        .connections
        .get(what)
        .ok_or(NoConnection::NotConnected { what })?;
    Spelled::deserialize(value).map_err(|error| NoConnection::Unusable {
        what,
        why: error.to_string(),
    })
}

impl Connected {
    /// What the tenant of `run` has connected to the server `what`.
    pub fn of_run(run: &RunStatus, what: &'static str) -> Result<Self, NoConnection> {
        let spelled = spelled(run, what)?;
        if spelled.backend != "recording" {
            return Err(NoConnection::UnknownBackend {
                what,
                backend: spelled.backend,
            });
        }
        let store = spelled.store.ok_or_else(|| NoConnection::Unusable {
            what,
            why: "it names no `store`".to_owned(),
        })?;
        Ok(Self::Recordings { store })
    }
}
