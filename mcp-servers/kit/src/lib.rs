//! What every server that accepts run tokens shares: who is calling, whether it holds the key of its
//! token, whether the run is live, what a tool may answer, and where the answer is recorded before the agent sees it.

pub mod casebook;
pub mod clean;
pub mod config;
pub mod fit;
pub mod hosts;
pub mod limits;
pub mod logging;
pub mod secrets;
pub mod serve;
#[cfg(feature = "testing")]
pub mod testing;

mod caller;
mod clock;
mod error;
mod evidence;
mod gate;
mod keys;
mod metadata;
mod one_line;
mod proof;
mod runs;
mod scope;
mod scoped;
mod token;

pub use caller::{Caller, Grant, Refusal};
pub use casebook::CasebookClient;
pub use clock::{Clock, SystemClock};
pub use config::{CasebookLink, Environment, InvalidEnvironment, ServerConfig};
pub use error::ToolError;
pub use evidence::{EvidenceLog, LogRefusal, ModelLog};
pub use gate::{Gate, protect};
pub use jsonwebtoken::jwk::JwkSet;
pub use keys::{JwksUrl, KeySource, Keyring, KeysUnavailable};
pub use runs::{CachedRuns, Runs, RunsUnavailable};
pub use scope::{
    CaseRead, CaseWrite, CodeRead, LogsRead, MetricsRead, ModelUse, Permission, TracesRead,
};
pub use scoped::{ScopedRouter, ScopesIncomplete, ToolServer, Tools};
pub use token::{TokenRules, TokenVerifier};

/// A future behind a pointer, so that traits with asynchronous methods can be held as objects.
pub type Pending<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;
