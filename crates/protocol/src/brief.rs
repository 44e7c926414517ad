//! What an agent is told: the task, never a secret.

use chrono::{DateTime, Utc};
use nightshift_domain::{InvestigationId, alert::Severity};
use serde::{Deserialize, Serialize};

/// What an agent is told when it starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Brief {
    /// The investigation.
    pub investigation: InvestigationId,
    /// The alert in one line.
    pub title: String,
    /// The service the alert is about, where the sender names one.
    pub service: Option<String>,
    /// How bad the sender says it is.
    pub severity: Severity,
    /// When it fired.
    pub fired_at: DateTime<Utc>,
    /// What the agent is asked to do, in plain words: the system prompt.
    pub instructions: String,
    /// The model to ask for.
    pub model: String,
    /// Where the servers are.
    pub endpoints: Endpoints,
    /// What the agent may use.
    pub limits: Limits,
}

/// Where the servers are, as seen from the sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// The telemetry MCP server, e.g. `http://telemetry.nightshift.internal/mcp`.
    pub telemetry: String,
    /// The codebase MCP server.
    pub codebase: String,
    /// The casebook MCP server.
    pub casebook: String,
    /// The LLM gateway's base; `/v1/messages` is below it.
    pub llm: String,
}

/// What one run may use before the harness ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Model requests.
    pub model_requests: u32,
    /// Characters of transcript before older tool results are compacted.
    pub context_chars: usize,
    /// Tokens that one answer of the model may have.
    pub max_tokens: u32,
    /// Wall-clock seconds for one turn of work.
    pub wall_seconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            model_requests: 80,
            context_chars: 400_000,
            max_tokens: 8_192,
            wall_seconds: 1_200,
        }
    }
}
