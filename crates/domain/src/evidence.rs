//! Recorded tool results: the only thing a report may rest on.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::EvidenceId;

/// What sort of observation a piece of evidence is. Two kinds that agree weigh more than two
/// pieces of one kind.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceKind {
    /// The alert itself, its neighbours, the runbook.
    Case,
    /// Time series.
    Metrics,
    /// Log lines and templates.
    Logs,
    /// Spans and edges.
    Traces,
    /// Who calls whom.
    Topology,
    /// Deploys, flags, lists of commits.
    Changes,
    /// The text of a commit or a file.
    Code,
}

impl EvidenceKind {
    /// Every kind, in the order of the enum.
    pub const ALL: [Self; 7] = [
        Self::Case,
        Self::Metrics,
        Self::Logs,
        Self::Traces,
        Self::Topology,
        Self::Changes,
        Self::Code,
    ];

    /// How the store and the API spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Case => "case",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
            Self::Traces => "traces",
            Self::Topology => "topology",
            Self::Changes => "changes",
            Self::Code => "code",
        }
    }

    /// Whether it shows the system's own behaviour, as opposed to what people did or said.
    #[must_use]
    pub const fn is_telemetry(self) -> bool {
        match self {
            Self::Metrics | Self::Logs | Self::Traces => true,
            Self::Case | Self::Topology | Self::Changes | Self::Code => false,
        }
    }
}

/// One recorded tool result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Its identity; the agent cites this.
    pub id: EvidenceId,
    /// What sort of observation it is.
    pub kind: EvidenceKind,
    /// `server.tool`, e.g. `telemetry.query_logs`.
    pub tool: String,
    /// The arguments of the call.
    pub arguments: serde_json::Value,
    /// The answer as the agent saw it.
    pub content: serde_json::Value,
    /// SHA-256 of the content's JSON text, in lower-case hex.
    pub digest: String,
    /// Whether the answer was cut to fit.
    pub truncated: bool,
    /// When it was recorded.
    pub recorded_at: DateTime<Utc>,
}
