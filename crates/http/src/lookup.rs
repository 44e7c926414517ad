//! What a name resolves to, asked once for each connection.

use std::{net::IpAddr, pin::Pin};

/// The answer to a lookup that is still under way.
pub type Looking<'a> = Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, LookupFailed>> + Send + 'a>>;

/// The name cannot be resolved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the name cannot be resolved: {0}")]
pub struct LookupFailed(pub String);

/// Resolves names.
pub trait Lookup: Send + Sync + 'static {
    /// Every address of the name.
    fn addresses<'a>(&'a self, name: &'a str) -> Looking<'a>;
}

/// The resolver of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemLookup;

impl Lookup for SystemLookup {
    fn addresses<'a>(&'a self, name: &'a str) -> Looking<'a> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0))
                .await
                .map_err(|error| LookupFailed(error.to_string()))?;
            Ok(found.map(|at| at.ip()).collect())
        })
    }
}
