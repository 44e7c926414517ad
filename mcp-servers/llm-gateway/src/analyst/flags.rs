//! Flags: a switch is judged like a diff, by what it can do, never by when it was switched alone.

use chrono::{DateTime, TimeDelta, Utc};
use nightshift_domain::report::{CauseKind, Change};
use nightshift_protocol::tools::codebase::FlagChange;

use super::{
    changes::{self, SLACK},
    diff::{self, Reading},
    explain::explain,
    notes::Notes,
    signature::Diagnosis,
    verdict::{Cause, Cleared, cap, kind_of, telemetry_kinds},
};

/// A switch is suspected only if the trouble follows it this soon.
const SOON: TimeDelta = TimeDelta::minutes(4);

/// How a reading of the code behind a flag is named.
pub(crate) fn reading_name(flag: &str) -> String {
    format!("flag:{flag}")
}

/// Flags that were switched just before the trouble began, on a service that could matter.
pub(crate) fn suspected<'a>(
    notes: &'a Notes,
    diagnosis: &Diagnosis,
    began: Option<DateTime<Utc>>,
) -> Vec<&'a FlagChange> {
    let (Some(flags), Some(began)) = (&notes.flags, began) else {
        return Vec::new();
    };
    let suspects = changes::suspects(notes, diagnosis);
    flags
        .got
        .changes
        .iter()
        .filter(|change| change.at <= began + SLACK && began - change.at <= SOON)
        .filter(|change| {
            change
                .service
                .as_deref()
                .is_none_or(|service| changes::is_suspect(&suspects, service))
        })
        .collect()
}

/// The flag whose code or value can produce the signature.
pub(crate) fn convict(
    notes: &Notes,
    diagnosis: &Diagnosis,
    began: Option<DateTime<Utc>>,
) -> Option<Cause> {
    let everyday = changes::everyday(notes);
    let listed = notes.flags.as_ref()?.ev;
    suspected(notes, diagnosis, began)
        .into_iter()
        .filter_map(|change| {
            let by_value = as_value(notes, change);
            let by_code = notes
                .diffs
                .iter()
                .find(|seen| seen.commit == reading_name(&change.flag));
            let explained = by_value
                .iter()
                .chain(by_code)
                .find_map(|reading| explain(diagnosis, reading, &everyday, &|_| true))?;
            Some((change, explained, by_code.map(|reading| reading.ev)))
        })
        .max_by(|a, b| a.1.score.total_cmp(&b.1.score))
        .map(|(change, explained, code)| {
            let mut evidence = diagnosis.evidence.clone();
            evidence.push(listed);
            evidence.extend(code);
            let kinds = telemetry_kinds(notes, &diagnosis.evidence);
            let how = format!(
                "switches it from {} to {}: it {}",
                change.from, change.to, explained.how
            );
            Cause {
                component: diagnosis.component.clone(),
                kind: if kind_of(diagnosis, &explained.how) == CauseKind::ResourceLeak {
                    CauseKind::ResourceLeak
                } else {
                    CauseKind::Configuration
                },
                change: Change::Flag {
                    flag: change.flag.clone(),
                    changed_at: Some(change.at),
                },
                how,
                confidence: (explained.score - 0.05).min(cap(kinds)),
                evidence,
            }
        })
}

/// A flag that carries a number is a changed value.
fn as_value(notes: &Notes, change: &FlagChange) -> Option<Reading> {
    let seen = notes.flags.as_ref()?;
    let number = |text: &str| text.trim().parse::<f64>().is_ok();
    if !number(&change.from) || !number(&change.to) {
        return None;
    }
    let patch = format!(
        "-{0}: {1}\n+{0}: {2}\n",
        change.flag, change.from, change.to
    );
    Some(diff::read_text(
        seen.ev,
        &reading_name(&change.flag),
        "flags.yaml",
        &patch,
        change.at,
    ))
}

/// The other switches, and why they are not it.
pub(crate) fn cleared(
    notes: &Notes,
    cause: Option<&Cause>,
    began: Option<DateTime<Utc>>,
) -> Vec<Cleared> {
    let Some(flags) = &notes.flags else {
        return Vec::new();
    };
    let blamed = cause.and_then(|cause| match &cause.change {
        Change::Flag { flag, .. } => Some(flag.as_str()),
        Change::Commit { .. } | Change::NoChange { .. } => None,
    });
    flags
        .got
        .changes
        .iter()
        .filter(|change| Some(change.flag.as_str()) != blamed)
        .take(4)
        .map(|change| {
            let why = match began {
                Some(began) if change.at > began + SLACK => "switched after the trouble began",
                Some(began) if began - change.at > SOON => {
                    "switched long before the trouble began, without any effect then"
                }
                _ => "nothing that was read shows that the code behind it can produce the symptoms",
            };
            Cleared {
                hypothesis: format!(
                    "flag `{}` switched from {} to {} at {}",
                    change.flag,
                    change.from,
                    change.to,
                    change.at.format("%H:%M:%S")
                ),
                why: why.to_owned(),
                evidence: vec![flags.ev],
            }
        })
        .collect()
}
