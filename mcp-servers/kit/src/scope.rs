//! Permissions as types, so that a tool names the one it needs in its signature.

use nightshift_domain::Scope;

/// A permission at compile time.
pub trait Permission: Send + Sync + 'static {
    /// The same permission at run time.
    const SCOPE: Scope;
}

macro_rules! permission {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy)]
            pub struct $name;

            impl Permission for $name {
                const SCOPE: Scope = Scope::$name;
            }
        )*
    };
}

permission! {
    /// May query logs and their templates.
    LogsRead,
    /// May query metrics and their anomalies.
    MetricsRead,
    /// May query traces, edges and the topology.
    TracesRead,
    /// May read commits, diffs, files, deploys and flags.
    CodeRead,
    /// May read the alert, its neighbours, the runbook, evidence and the inbox.
    CaseRead,
    /// May submit a report, answer a message and send heartbeats.
    CaseWrite,
    /// May ask the language model.
    ModelUse,
}
