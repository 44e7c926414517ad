//! A private PostgreSQL cluster for one checkout: made, started and stopped here, never anyone
//! else's.
//!
//! It stands apart from the rest of the workspace and knows no schema, because the SQL cache has to
//! be written with a database before the code that uses the cache can be compiled.

mod binaries;
mod cluster;
mod error;
mod files;
mod owner;
mod postmaster;

pub use binaries::Binaries;
pub use cluster::{Cluster, Running};
pub use error::PostgresError;
