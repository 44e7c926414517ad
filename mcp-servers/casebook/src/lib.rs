//! The casebook: the case itself, the evidence log, and what other servers must know of a run.
//!
//! Two doors lead in. Agents reach the MCP tools with a run token; servers without a database reach
//! the internal API with a credential of their own. Both use the same [`Cases`].

mod cases;
mod config;
mod credentials;
mod internal;
mod runbook;
mod tools;

pub use cases::{CaseError, Cases, InternalRuns, RunKey, ToolRuns};
pub use config::Config;
pub use credentials::{Credentials, Service, UnknownService};
pub use internal::routes as internal_routes;
pub use tools::CasebookServer;
