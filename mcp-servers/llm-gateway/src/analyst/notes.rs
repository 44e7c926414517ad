//! What the analyst knows so far. It writes this into its own turns and reads the latest back, so an
//! investigation survives the loss of the raw results.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use nightshift_domain::EvidenceId;
use nightshift_protocol::tools::{
    Observed,
    casebook::{AlertView, RelatedAlerts, ReportAccepted, Runbook},
    codebase::{Commits, Deploys, FlagChanges},
    telemetry::{LogTemplateDiff, MetricAnomalies, Services, TraceEdgeDiff},
};
use serde::{Deserialize, Serialize};

use super::{diff::Reading, shape::Shape, verdict::Verdict};

/// How a text block with notes begins.
pub(crate) const MARK: &str = "notes:";

/// An answer and what to cite for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Seen<T> {
    /// Cite this.
    pub(crate) ev: EvidenceId,
    /// The part of the answer that matters.
    pub(crate) got: T,
}

impl<T> Seen<T> {
    /// Keeps an observed answer.
    pub(crate) fn new(observed: Observed<T>) -> Self {
        Self {
            ev: observed.evidence,
            got: observed.answer,
        }
    }
}

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Asked {
    /// It was answered.
    Answered,
    /// It failed once.
    FailedOnce,
    /// It failed twice, or was refused.
    Unavailable,
}

/// The shape of one series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SeriesSeen {
    /// Cite this.
    pub(crate) ev: EvidenceId,
    /// Which service.
    pub(crate) service: String,
    /// Which metric.
    pub(crate) metric: String,
    /// How it runs.
    #[serde(flatten)]
    pub(crate) shape: Shape,
    /// Its largest value.
    pub(crate) most: f64,
}

/// A log line that shows the trouble.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LineSeen {
    /// Cite this.
    pub(crate) ev: EvidenceId,
    /// Which service.
    pub(crate) service: String,
    /// When.
    pub(crate) at: DateTime<Utc>,
    /// What it says.
    pub(crate) message: String,
    /// How many lines matched.
    pub(crate) matched: u64,
}

/// One slow or failed request that shows the trouble.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TraceSeen {
    /// Cite this.
    pub(crate) ev: EvidenceId,
    /// Its identity.
    pub(crate) trace_id: String,
    /// How long it took, in milliseconds.
    pub(crate) duration_ms: f64,
    /// Its most telling span, in words.
    pub(crate) shows: String,
}

/// Code that reads a flag.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct GuardSeen {
    /// Cite this.
    pub(crate) ev: EvidenceId,
    /// The flag.
    pub(crate) flag: String,
    /// Files and lines that name it.
    pub(crate) places: Vec<(String, u32)>,
}

/// Everything the analyst knows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Notes {
    /// Turns taken so far.
    pub(crate) turn: u32,
    /// Whether nothing explained the trouble nearby, so that it was looked for further back.
    pub(crate) back: bool,
    /// What was asked, by tool and arguments.
    pub(crate) asked: BTreeMap<String, Asked>,
    /// The alert.
    pub(crate) alert: Option<Seen<AlertView>>,
    /// Its neighbours.
    pub(crate) related: Option<Seen<RelatedAlerts>>,
    /// The runbook.
    pub(crate) runbook: Option<Seen<Runbook>>,
    /// Who calls whom.
    pub(crate) services: Option<Seen<Services>>,
    /// Series that changed.
    pub(crate) metrics: Option<Seen<MetricAnomalies>>,
    /// Log templates that changed.
    pub(crate) logs: Option<Seen<LogTemplateDiff>>,
    /// Edges and operations that changed.
    pub(crate) traces: Option<Seen<TraceEdgeDiff>>,
    /// Deploys, newest first.
    pub(crate) deploys: Option<Seen<Deploys>>,
    /// Flags that were switched, newest first.
    pub(crate) flags: Option<Seen<FlagChanges>>,
    /// Commits, newest first.
    pub(crate) commits: Option<Seen<Commits>>,
    /// Diffs that were read.
    pub(crate) diffs: Vec<Reading>,
    /// Series that were looked at over time.
    pub(crate) series: Vec<SeriesSeen>,
    /// Log lines that show the trouble.
    pub(crate) lines: Vec<LineSeen>,
    /// Requests that show the trouble.
    pub(crate) requests: Vec<TraceSeen>,
    /// Code that reads flags.
    pub(crate) guards: Vec<GuardSeen>,
    /// What the analyst decided.
    pub(crate) verdict: Option<Verdict>,
    /// What became of the report.
    pub(crate) accepted: Option<ReportAccepted>,
}

impl Notes {
    /// Reads notes back from a text block that holds them.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text.trim_start().strip_prefix(MARK)?.trim()).ok()
    }

    /// The text block that holds these notes.
    pub(crate) fn write(&self) -> String {
        let json = serde_json::to_string(self).unwrap_or_default();
        format!("{MARK} {json}")
    }

    /// When the alert fired, where that is known.
    pub(crate) fn fired_at(&self) -> Option<DateTime<Utc>> {
        self.alert.as_ref().map(|alert| alert.got.fired_at)
    }

    /// When the trouble began, as the comparing tools see it.
    pub(crate) fn onset(&self) -> Option<DateTime<Utc>> {
        self.metrics
            .as_ref()
            .map(|seen| seen.got.windows.onset)
            .or_else(|| self.traces.as_ref().map(|seen| seen.got.windows.onset))
            .or_else(|| self.logs.as_ref().map(|seen| seen.got.windows.onset))
    }

    /// What was read of a commit.
    pub(crate) fn reading(&self, commit: &str) -> Option<&Reading> {
        self.diffs.iter().find(|reading| {
            reading.commit.starts_with(commit) || commit.starts_with(&reading.commit)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_come_back_as_they_were_written() {
        let mut notes = Notes {
            turn: 3,
            ..Notes::default()
        };
        notes.asked.insert("a {}".to_owned(), Asked::Answered);
        assert_eq!(Notes::parse(&notes.write()), Some(notes));
    }

    #[test]
    fn other_text_is_no_notes() {
        assert_eq!(Notes::parse("I will look at the logs."), None);
        assert_eq!(Notes::parse("notes: not json"), None);
    }
}
