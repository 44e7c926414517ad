//! What a run may do: permissions, and the servers they are for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! spelled {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(Serialize, Deserialize, JsonSchema)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $text)] $variant,)*
        }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// How tokens spell it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            /// Reads a spelling; unknown ones are `None`.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == text)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

spelled!(
    /// A permission that a run token can carry.
    Scope {
        /// Query logs and their templates.
        LogsRead = "logs:read",
        /// Query metrics and their anomalies.
        MetricsRead = "metrics:read",
        /// Query traces, edges and the topology.
        TracesRead = "traces:read",
        /// Read commits, diffs, files, deploys and flags.
        CodeRead = "code:read",
        /// Read the alert, its neighbours, the runbook, evidence and the inbox.
        CaseRead = "case:read",
        /// Submit a report, answer a message, send heartbeats.
        CaseWrite = "case:write",
        /// Ask the language model.
        ModelUse = "model:use",
    }
);

spelled!(
    /// A server that accepts run tokens. A token is for exactly one.
    Audience {
        /// Logs, metrics and traces.
        Telemetry = "urn:nightshift:telemetry",
        /// Repositories and changes.
        Codebase = "urn:nightshift:codebase",
        /// The case itself.
        Casebook = "urn:nightshift:casebook",
        /// The language model.
        Llm = "urn:nightshift:llm",
    }
);

impl Audience {
    /// The scopes that a token for this server may carry at most.
    #[must_use]
    pub const fn scopes(self) -> &'static [Scope] {
        match self {
            Self::Telemetry => &[Scope::LogsRead, Scope::MetricsRead, Scope::TracesRead],
            Self::Codebase => &[Scope::CodeRead],
            Self::Casebook => &[Scope::CaseRead, Scope::CaseWrite],
            Self::Llm => &[Scope::ModelUse],
        }
    }

    /// The short name of the server, as used in tool names and host names.
    #[must_use]
    pub const fn server(self) -> &'static str {
        match self {
            Self::Telemetry => "telemetry",
            Self::Codebase => "codebase",
            Self::Casebook => "casebook",
            Self::Llm => "llm",
        }
    }
}
