//! The tools that agents call: arguments and answers, shared by the servers that serve them and by
//! whoever reads the answers. The docs are what the model sees.
//!
//! Every answer of an observing tool travels inside [`Observed`], which names the recorded evidence.

pub mod casebook;
pub mod codebase;
pub mod telemetry;

use chrono::{DateTime, Utc};
use nightshift_domain::EvidenceId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An answer that was recorded as evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Observed<T> {
    /// Cite this for anything that you conclude from the answer.
    pub evidence: EvidenceId,
    /// Whether the answer was cut to fit; narrow the question to see the rest.
    pub truncated: bool,
    /// How many secrets were taken out of the answer; each left a note such as `[redacted:jwt]` in its place.
    #[serde(default, skip_serializing_if = "is_none")]
    pub redacted: u32,
    /// The answer.
    pub answer: T,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "it is what serde gives")]
const fn is_none(count: &u32) -> bool {
    *count == 0
}

/// The time range of a question, in UTC. Without one, a tool looks from 30 minutes before the alert fired to
/// 5 minutes after.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TimeRange {
    /// From this time on.
    pub from: Option<DateTime<Utc>>,
    /// Up to this time.
    pub to: Option<DateTime<Utc>>,
}
