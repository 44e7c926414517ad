//! What an investigation found: the draft that an agent submits and the report that we settle.
//!
//! Code, not the model, settles the outcome: see [`settle`](mod@settle).

pub mod settle;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AlertId, EvidenceId, EvidenceKind};

/// What sort of cause it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CauseKind {
    /// A change made the code wrong or slow: an error on a path, work inside a loop.
    CodeRegression,
    /// Something limited runs out over time: connections, memory, file handles, disk.
    ResourceLeak,
    /// A change of settings, flags or limits.
    Configuration,
    /// A system outside our control fails or slows down.
    ExternalDependency,
    /// More, or other, demand than the system was made for.
    TrafficSurge,
    /// Machines, network, cloud.
    Infrastructure,
    /// Input or stored data that the code was not made for.
    BadData,
    /// A certificate, key or licence ran out.
    ExpiredCredential,
    /// The evidence does not say.
    Unknown,
}

impl CauseKind {
    /// How JSON spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CodeRegression => "code_regression",
            Self::ResourceLeak => "resource_leak",
            Self::Configuration => "configuration",
            Self::ExternalDependency => "external_dependency",
            Self::TrafficSurge => "traffic_surge",
            Self::Infrastructure => "infrastructure",
            Self::BadData => "bad_data",
            Self::ExpiredCredential => "expired_credential",
            Self::Unknown => "unknown",
        }
    }
}

/// Which change caused it, if one did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Change {
    /// A commit whose diff can produce what was observed.
    Commit {
        /// The commit's full hash.
        commit: String,
        /// The service whose deploy brought it to production.
        service: String,
        /// When it reached production.
        deployed_at: Option<DateTime<Utc>>,
    },
    /// A feature flag that was switched.
    Flag {
        /// The flag's name.
        flag: String,
        /// When it was switched.
        changed_at: Option<DateTime<Utc>>,
    },
    /// No change explains it.
    NoChange {
        /// What set it off instead.
        trigger: String,
    },
}

/// The claimed or settled root cause.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RootCause {
    /// The service or outside system where it starts, by its name in the telemetry.
    pub component: String,
    /// What sort of cause it is.
    pub kind: CauseKind,
    /// Which change caused it, or that none did.
    pub change: Change,
    /// How the cause leads to the alert, in one to three sentences.
    pub statement: String,
    /// How sure, from 0 to 1. Settling can only lower it.
    pub confidence: f64,
    /// What shows it.
    pub evidence: Vec<EvidenceId>,
}

/// Whom it hurts, and how much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Impact {
    /// In one or two sentences, for a person who decides whether to wake others.
    pub summary: String,
    /// Share of user requests that failed, 0 to 1, where it was measured.
    pub failed_share: Option<f64>,
    /// Services dragged down, by name.
    pub affected: Vec<String>,
    /// What shows it.
    pub evidence: Vec<EvidenceId>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TimelineEntry {
    /// When.
    pub at: DateTime<Utc>,
    /// What.
    pub what: String,
    /// What shows it.
    pub evidence: Vec<EvidenceId>,
}

/// One thing that was observed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The observation.
    pub claim: String,
    /// What shows it.
    pub evidence: Vec<EvidenceId>,
}

/// A cause that was considered and is not it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RuledOut {
    /// What it could have been.
    pub hypothesis: String,
    /// Why it is not.
    pub why: String,
    /// What shows that.
    pub evidence: Vec<EvidenceId>,
}

/// Another alert about the same trouble.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RelatedAlert {
    /// Which.
    pub alert: AlertId,
    /// Why it belongs here.
    pub why: String,
}

/// Something a person or a coding agent should do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NextStep {
    /// What to do.
    pub action: String,
    /// What it is good for.
    pub why: String,
}

/// What an agent submits. Everything in it is a claim until it is settled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReportDraft {
    /// The whole story in two or three sentences.
    pub summary: String,
    /// The cause, or `null` where the evidence does not decide: that is an honest answer.
    pub root_cause: Option<RootCause>,
    /// Whom it hurts.
    pub impact: Impact,
    /// What happened, in any order.
    #[serde(default)]
    pub timeline: Vec<TimelineEntry>,
    /// What was observed.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// What it is not, and why.
    #[serde(default)]
    pub ruled_out: Vec<RuledOut>,
    /// Other alerts about the same trouble.
    #[serde(default)]
    pub related_alerts: Vec<RelatedAlert>,
    /// What to do now.
    #[serde(default)]
    pub next_steps: Vec<NextStep>,
}

/// Whether the evidence decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The evidence names a cause.
    RootCauseFound,
    /// The evidence does not decide, and we say so.
    Inconclusive,
}

/// A piece of evidence as a report lists it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CitedEvidence {
    /// Its identity.
    pub id: EvidenceId,
    /// What sort of observation it is.
    pub kind: EvidenceKind,
    /// The tool call behind it, `server.tool`.
    pub tool: String,
    /// The arguments of the call.
    pub arguments: serde_json::Value,
    /// SHA-256 of the recorded answer, in lower-case hex.
    pub digest: String,
    /// Whether the answer was cut.
    pub truncated: bool,
    /// When it was recorded.
    pub recorded_at: DateTime<Utc>,
}

/// A claim that did not survive settling.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Dropped {
    /// The claim, shortened.
    pub claim: String,
    /// Why it was dropped or lowered.
    pub reason: String,
}

/// A settled report: every claim in it cites evidence that we recorded ourselves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// Whether the evidence decided.
    pub outcome: Outcome,
    /// The whole story in two or three sentences.
    pub summary: String,
    /// The cause, where the evidence decided.
    pub root_cause: Option<RootCause>,
    /// Whom it hurts.
    pub impact: Impact,
    /// What happened, earliest first.
    pub timeline: Vec<TimelineEntry>,
    /// What was observed.
    pub findings: Vec<Finding>,
    /// What it is not, and why.
    pub ruled_out: Vec<RuledOut>,
    /// Other alerts about the same trouble.
    pub related_alerts: Vec<RelatedAlert>,
    /// What to do now.
    pub next_steps: Vec<NextStep>,
    /// Everything that is cited above.
    pub evidence: Vec<CitedEvidence>,
    /// What the agent claimed and we did not accept.
    pub dropped: Vec<Dropped>,
}
