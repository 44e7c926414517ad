//! The casebook's internal API: what servers without a database must know of a run, and where
//! they put what it saw. Served on a listener that no sandbox can reach; every call carries the
//! calling server's own credential.
//!
//! | call | answers |
//! | --- | --- |
//! | `GET /internal/v1/runs/{investigation}?epoch=N` | [`RunStatus`]; `404` where it is not live at that epoch |
//! | `POST /internal/v1/runs/{investigation}/evidence` with [`RecordEvidence`] | [`EvidenceRecorded`] |
//! | `POST /internal/v1/runs/{investigation}/calls` with [`RecordCall`] | `204` |
//! | `POST /internal/v1/runs/{investigation}/model` with [`RecordModelUse`] | `204` |

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use nightshift_domain::{Epoch, EvidenceId, EvidenceKind, InvestigationId, SandboxId, TenantId};
use serde::{Deserialize, Serialize};

/// How long a server may believe a [`RunStatus`], in milliseconds.
pub const STATUS_TTL_MS: u64 = 2_000;

/// A run that is live at the asked epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunStatus {
    /// Which investigation.
    pub investigation: InvestigationId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The sandbox that it holds. Epochs count the starts of one sandbox, so the lost sandbox of an
    /// investigation that was given another one may hold the same epoch: both must match.
    pub sandbox: SandboxId,
    /// The live start of it.
    pub epoch: Epoch,
    /// When the alert fired; tools centre their default time range on it.
    pub fired_at: DateTime<Utc>,
    /// Which backends this tenant has connected, by server name (`telemetry`, `codebase`). The
    /// value names a backend and where it is, never a credential:
    /// `{"backend": "recording", "store": "NAME"}`, and `"credential": "NAME"` where one is needed.
    pub connections: BTreeMap<String, serde_json::Value>,
}

/// A tool result to keep. It is stored before the agent sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordEvidence {
    /// The start that asked.
    pub epoch: Epoch,
    /// What sort of observation it is.
    pub kind: EvidenceKind,
    /// `server.tool`.
    pub tool: String,
    /// The arguments of the call.
    pub arguments: serde_json::Value,
    /// The answer, as the agent will see it.
    pub content: serde_json::Value,
    /// Whether the answer was cut to fit.
    pub truncated: bool,
    /// How long the tool took, in milliseconds.
    pub took_ms: u64,
}

/// The kept result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceRecorded {
    /// What the agent may cite.
    pub evidence: EvidenceId,
}

/// A tool call that left no evidence: refused, failed, or not an observation. For the audit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordCall {
    /// The start that asked.
    pub epoch: Epoch,
    /// `server.tool`.
    pub tool: String,
    /// The arguments of the call.
    pub arguments: serde_json::Value,
    /// `refused`, `failed` or `answered`.
    pub outcome: String,
    /// Why, where it was refused or failed.
    pub detail: Option<String>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// One request to the model. The first one of an investigation is what we call "working".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordModelUse {
    /// The start that asked.
    pub epoch: Epoch,
    /// When the request arrived at the gateway.
    pub at: DateTime<Utc>,
    /// Who answered: `analyst`, `anthropic`.
    pub provider: String,
    /// The model that answered.
    pub model: String,
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
}
