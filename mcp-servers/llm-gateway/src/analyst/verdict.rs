//! Decides: which change explains the trouble, or that none does, and what was cleared on the way.

use chrono::{DateTime, TimeDelta, Utc};
use nightshift_domain::{
    EvidenceId,
    report::{CauseKind, Change},
};
use nightshift_protocol::tools::telemetry::ServiceKind;
use serde::{Deserialize, Serialize};

use super::{
    changes::{self, Candidate, SLACK},
    explain::{Explained, explain, needed},
    flags,
    graph::Graph,
    measure::Complaint,
    notes::Notes,
    signature::{Diagnosis, Signature, diagnose},
};

/// What was decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    /// Where the trouble starts and what it looks like.
    pub(crate) diagnosis: Diagnosis,
    /// When it began.
    pub(crate) began: Option<DateTime<Utc>>,
    /// The cause, where the evidence decides.
    pub(crate) cause: Option<Cause>,
    /// What it is not.
    pub(crate) cleared: Vec<Cleared>,
}

/// A cause that the evidence shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cause {
    /// Where it starts.
    pub(crate) component: String,
    /// What sort it is.
    pub(crate) kind: CauseKind,
    /// Which change, or none.
    pub(crate) change: Change,
    /// What the change does, in words that continue "the commit …".
    pub(crate) how: String,
    /// From 0 to 1.
    pub(crate) confidence: f64,
    /// What shows it.
    pub(crate) evidence: Vec<EvidenceId>,
}

/// Something that it is not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cleared {
    /// What it could have been.
    pub(crate) hypothesis: String,
    /// Why it is not.
    pub(crate) why: String,
    /// What shows that.
    pub(crate) evidence: Vec<EvidenceId>,
}

/// Decides by what is known.
pub(crate) fn decide(notes: &Notes) -> Option<Verdict> {
    let diagnosis = diagnose(notes)?;
    let began = changes::began(notes, &diagnosis);
    let mut cleared = Vec::new();
    let mut guilty: Vec<(Candidate, Explained)> = Vec::new();
    let mut unread = 0_u32;
    for candidate in changes::candidates(notes) {
        match judge(notes, &diagnosis, began, &candidate) {
            Judged::Explains(explained) => guilty.push((candidate, explained)),
            Judged::Cleared(why, evidence) => {
                let hypothesis = named(notes, &candidate);
                cleared.push((
                    candidate,
                    Cleared {
                        hypothesis,
                        why,
                        evidence,
                    },
                ));
            }
            Judged::Unread => unread += 1,
        }
    }
    guilty.sort_by(|a, b| b.1.score.total_cmp(&a.1.score).then(b.0.at.cmp(&a.0.at)));
    let rival = guilty.get(1).map(|(_, explained)| explained.score);
    let cause = guilty
        .first()
        .and_then(|(candidate, explained)| {
            let close = rival.is_some_and(|rival| explained.score - rival < 0.05);
            convict(notes, &diagnosis, candidate, explained, close)
        })
        .or_else(|| flags::convict(notes, &diagnosis, began))
        .or_else(|| acquit(notes, &diagnosis, unread));
    for (candidate, explained) in guilty.iter().skip(1) {
        let cleared_too = Cleared {
            hypothesis: named(notes, candidate),
            why: format!(
                "it {}, which explains less than the change named above",
                explained.how
            ),
            evidence: evidence_of(notes, candidate),
        };
        cleared.push((candidate.clone(), cleared_too));
    }
    let mut cleared = told_once(cleared, cause.as_ref());
    cleared.extend(flags::cleared(notes, cause.as_ref(), began));
    // The beginning is read from samples some seconds apart, the deploy's time is exact.
    let began = match cause.as_ref().map(|cause| &cause.change) {
        Some(Change::Commit { deployed_at, .. }) => began.max(*deployed_at),
        Some(Change::Flag { changed_at, .. }) => began.max(*changed_at),
        Some(Change::NoChange { .. }) | None => began,
    };
    Some(Verdict {
        diagnosis,
        began,
        cause,
        cleared,
    })
}

/// Each commit once, where it was deployed nearest to the beginning; the guilty one is not cleared
/// because other services carry it too.
fn told_once(cleared: Vec<(Candidate, Cleared)>, cause: Option<&Cause>) -> Vec<Cleared> {
    let guilty = cause.and_then(|cause| match &cause.change {
        Change::Commit { commit, .. } => Some(commit.as_str()),
        Change::Flag { .. } | Change::NoChange { .. } => None,
    });
    let mut told: Vec<String> = Vec::new();
    let mut once = Vec::new();
    for (candidate, cleared) in cleared {
        if Some(candidate.commit.as_str()) == guilty || told.contains(&candidate.commit) {
            continue;
        }
        told.push(candidate.commit);
        once.push(cleared);
    }
    once
}

enum Judged {
    Explains(Explained),
    Cleared(String, Vec<EvidenceId>),
    Unread,
}

fn judge(
    notes: &Notes,
    diagnosis: &Diagnosis,
    began: Option<DateTime<Utc>>,
    candidate: &Candidate,
) -> Judged {
    let listed = || notes.deploys.iter().map(|seen| seen.ev).collect();
    if let Some(began) = began
        && candidate.at > began + SLACK
    {
        let why = format!(
            "deployed at {}, after the trouble began at {}",
            candidate.at.format("%H:%M:%S"),
            began.format("%H:%M:%S")
        );
        return Judged::Cleared(why, listed());
    }
    let suspects = changes::suspects(notes, diagnosis);
    let suspect = changes::is_suspect(&suspects, &candidate.service);
    let Some(reading) = notes.reading(&candidate.commit) else {
        if suspect {
            return Judged::Unread;
        }
        let why = format!("{} is not where the trouble starts", candidate.service);
        return Judged::Cleared(why, listed());
    };
    let evidence = evidence_of(notes, candidate);
    if let Some(inert) = &reading.inert {
        return Judged::Cleared(format!("its diff {inert}"), evidence);
    }
    let everyday = changes::everyday(notes);
    let concerns =
        |ability: &super::diff::Ability| changes::concerns(notes, ability, &candidate.service);
    let explained = explain(diagnosis, reading, &everyday, &concerns);
    let does = reading
        .abilities
        .first()
        .map_or_else(|| "does nothing".to_owned(), super::diff::Ability::told);
    let cannot = needed(diagnosis);
    match explained {
        Some(mut explained) if suspect => {
            explained.score -= staleness(diagnosis, began, candidate);
            if explained.score >= super::explain::ENOUGH {
                Judged::Explains(explained)
            } else {
                let why = format!("it {does}, but long before the trouble began");
                Judged::Cleared(why, evidence)
            }
        }
        Some(_) | None if !suspect => {
            let why = format!(
                "{} is not where the trouble starts, and the diff ({does}) cannot {cannot}",
                candidate.service
            );
            Judged::Cleared(why, evidence)
        }
        Some(_) | None => Judged::Cleared(format!("it {does}, which cannot {cannot}"), evidence),
    }
}

/// What works at once and was long there is not the cause; what fills slowly may be old.
fn staleness(diagnosis: &Diagnosis, began: Option<DateTime<Utc>>, candidate: &Candidate) -> f64 {
    let Some(began) = began else { return 0.0 };
    let age = began - candidate.at;
    let slow = matches!(
        diagnosis.signature,
        Signature::Exhaustion { .. } | Signature::CacheMisses { .. }
    );
    if age > TimeDelta::hours(6) {
        0.2
    } else if age > TimeDelta::minutes(20) && !slow {
        0.25
    } else {
        0.0
    }
}

fn convict(
    notes: &Notes,
    diagnosis: &Diagnosis,
    candidate: &Candidate,
    explained: &Explained,
    close: bool,
) -> Option<Cause> {
    let reading = notes.reading(&candidate.commit)?;
    let mut evidence = diagnosis.evidence.clone();
    evidence.push(reading.ev);
    evidence.extend(notes.deploys.iter().map(|seen| seen.ev));
    let kinds = telemetry_kinds(notes, &diagnosis.evidence);
    let rival = if close { 0.1 } else { 0.0 };
    let confidence = (explained.score - rival).min(cap(kinds));
    let component = if Graph::new(notes).kind(&diagnosis.component) == ServiceKind::Service {
        diagnosis.component.clone()
    } else {
        candidate.service.clone()
    };
    Some(Cause {
        component,
        kind: kind_of(diagnosis, &explained.how),
        change: Change::Commit {
            commit: reading.commit.clone(),
            service: candidate.service.clone(),
            deployed_at: Some(candidate.at),
        },
        how: explained.how.clone(),
        confidence,
        evidence,
    })
}

/// What sort of cause a convicted change is.
pub(crate) fn kind_of(diagnosis: &Diagnosis, how: &str) -> CauseKind {
    if how.starts_with("sets `") {
        return CauseKind::Configuration;
    }
    match diagnosis.signature {
        Signature::Exhaustion { .. } => CauseKind::ResourceLeak,
        Signature::FanOut { .. }
        | Signature::Outside { .. }
        | Signature::Surge { .. }
        | Signature::CacheMisses { .. }
        | Signature::Errors { .. }
        | Signature::SlowStore { .. }
        | Signature::Network { .. }
        | Signature::SelfTime { .. }
        | Signature::Unclear => CauseKind::CodeRegression,
    }
}

/// No change explains it: names the outside trigger, where the evidence shows one.
fn acquit(notes: &Notes, diagnosis: &Diagnosis, unread: u32) -> Option<Cause> {
    let component = diagnosis.component.clone();
    let (kind, trigger, sure): (CauseKind, String, f64) = match &diagnosis.signature {
        Signature::Outside { .. } => (
            CauseKind::ExternalDependency,
            format!("an outage or slowdown of the outside system {component}"),
            0.85,
        ),
        Signature::Surge { times, .. } => (
            CauseKind::TrafficSurge,
            format!("{} times the usual demand", super::number::plain(*times)),
            0.85,
        ),
        Signature::Network { from, .. } => (
            CauseKind::Infrastructure,
            format!("the network between {from} and {component}"),
            0.6,
        ),
        Signature::Errors {
            complaint: Some(Complaint::Credential),
            ..
        } => (
            CauseKind::ExpiredCredential,
            format!("a credential that {component} uses ran out"),
            0.8,
        ),
        Signature::Errors {
            complaint: Some(Complaint::Infrastructure),
            ..
        } => (
            CauseKind::Infrastructure,
            format!("machines or network below {component}"),
            0.6,
        ),
        Signature::Errors {
            complaint: Some(Complaint::Data),
            ..
        } => (
            CauseKind::BadData,
            format!("data that {component} was not made for"),
            0.45,
        ),
        Signature::SlowStore { .. } => (
            CauseKind::Infrastructure,
            format!("{component} itself became slow"),
            0.4,
        ),
        Signature::Exhaustion { gradual: true, .. } => (
            CauseKind::ResourceLeak,
            "something that was there before every change in the window".to_owned(),
            0.4,
        ),
        Signature::Errors { .. }
        | Signature::Exhaustion { .. }
        | Signature::FanOut { .. }
        | Signature::CacheMisses { .. }
        | Signature::SelfTime { .. }
        | Signature::Unclear => return None,
    };
    // Nobody may say "no change explains it" who could not see the changes.
    let blind = notes.deploys.is_none() || unread > 0;
    let sure = if blind { sure - 0.25 } else { sure };
    let mut evidence = diagnosis.evidence.clone();
    evidence.extend(notes.services.iter().map(|seen| seen.ev));
    evidence.extend(notes.deploys.iter().map(|seen| seen.ev));
    let kinds = telemetry_kinds(notes, &diagnosis.evidence);
    // The demand comes in at the entry, but what gives way is at the end of the walk.
    let component = if matches!(diagnosis.signature, Signature::Surge { .. }) {
        bottleneck(notes, diagnosis)
    } else {
        component
    };
    Some(Cause {
        component,
        kind,
        change: Change::NoChange { trigger },
        how: String::new(),
        confidence: sure.min(cap(kinds)),
        evidence,
    })
}

fn bottleneck(notes: &Notes, diagnosis: &Diagnosis) -> String {
    let graph = Graph::new(notes);
    diagnosis
        .walk
        .path
        .iter()
        .rev()
        .find(|name| graph.kind(name) == ServiceKind::Service)
        .cloned()
        .unwrap_or_else(|| diagnosis.component.clone())
}

/// How many kinds of telemetry the cited observations are of.
pub(crate) fn telemetry_kinds(notes: &Notes, cited: &[EvidenceId]) -> usize {
    let has = |id: &EvidenceId| cited.contains(id);
    let metrics = notes.metrics.iter().any(|seen| has(&seen.ev))
        || notes.series.iter().any(|seen| has(&seen.ev));
    let logs =
        notes.logs.iter().any(|seen| has(&seen.ev)) || notes.lines.iter().any(|seen| has(&seen.ev));
    let traces = notes.traces.iter().any(|seen| has(&seen.ev))
        || notes.requests.iter().any(|seen| has(&seen.ev));
    usize::from(metrics) + usize::from(logs) + usize::from(traces)
}

/// The most that this many kinds of telemetry allow.
pub(crate) const fn cap(kinds: usize) -> f64 {
    match kinds {
        0 => 0.2,
        1 => 0.5,
        2 => 0.8,
        _ => 0.95,
    }
}

fn named(notes: &Notes, candidate: &Candidate) -> String {
    let hash: String = candidate.commit.chars().take(8).collect();
    let message = notes
        .reading(&candidate.commit)
        .map(|reading| format!(" “{}”", reading.message))
        .unwrap_or_default();
    format!(
        "commit {hash}{message}, deployed to {} at {}",
        candidate.service,
        candidate.at.format("%H:%M:%S")
    )
}

fn evidence_of(notes: &Notes, candidate: &Candidate) -> Vec<EvidenceId> {
    notes
        .reading(&candidate.commit)
        .map(|reading| reading.ev)
        .into_iter()
        .chain(notes.deploys.iter().map(|seen| seen.ev))
        .collect()
}
