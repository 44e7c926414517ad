//! Signals that fired, as their sender describes them, and the incidents they belong to.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AlertId, IncidentId, TenantId};

/// How bad the sender says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Users are hurt now.
    Critical,
    /// It needs a person soon.
    High,
    /// It may need a person.
    Warning,
    /// For the record.
    Info,
}

impl Severity {
    /// How the store and the API spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// Whether the condition behind an alert still holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlertStatus {
    /// It holds.
    Firing,
    /// The sender says it is over.
    Resolved,
}

impl AlertStatus {
    /// How the store and the API spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

/// What one authentic delivery says, whoever sent it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Signal {
    /// The sender's own identity of the thing that fired; deliveries that share it are about the
    /// same incident. Never re-hashed.
    pub source_key: String,
    /// Whether it fired or recovered.
    pub status: AlertStatus,
    /// One line a person can read.
    pub title: String,
    /// The service it is about, where the sender names one.
    pub service: Option<String>,
    /// How bad the sender says it is.
    pub severity: Severity,
    /// When the sender says it fired.
    pub fired_at: DateTime<Utc>,
    /// A page about it at the sender.
    pub link: Option<String>,
    /// What else the sender said, as bounded JSON.
    pub details: serde_json::Value,
}

/// A stored signal. Alerts are linked to incidents, never merged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Its identity.
    pub id: AlertId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The incident it belongs to.
    pub incident: IncidentId,
    /// Which kind of sender: `pagerduty`, `generic`, …
    pub source: String,
    /// What the sender said.
    pub signal: Signal,
    /// When we accepted it.
    pub received_at: DateTime<Utc>,
}
