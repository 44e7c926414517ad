//! Writes the report from the verdict: concrete, with units, each claim with what shows it.

mod findings;
mod impact;
mod steps;
mod story;
mod timeline;

use nightshift_domain::{
    EvidenceId,
    report::{Impact, Outcome, RelatedAlert, ReportDraft, RootCause, RuledOut},
};

pub(crate) use self::story::{statement, summary};
use super::{graph::Graph, notes::Notes, number::percent, verdict::Verdict, words::same_name};

/// The report as far as the notes carry.
pub(crate) fn draft(notes: &Notes) -> ReportDraft {
    let Some(verdict) = &notes.verdict else {
        return unknown(notes);
    };
    ReportDraft {
        summary: summary(notes, verdict),
        root_cause: verdict.cause.as_ref().map(|cause| RootCause {
            component: cause.component.clone(),
            kind: cause.kind,
            change: cause.change.clone(),
            statement: statement(verdict),
            confidence: (cause.confidence * 100.0).round() / 100.0,
            evidence: tidy(cause.evidence.clone()),
        }),
        impact: impact::impact(notes, verdict),
        timeline: timeline::timeline(notes, verdict),
        findings: findings::findings(notes, verdict),
        ruled_out: ruled_out(notes, verdict),
        related_alerts: related(notes, verdict),
        next_steps: steps::steps(notes, verdict),
    }
}

/// What is said last.
pub(crate) fn closing(notes: &Notes) -> String {
    let story = notes.verdict.as_ref().map_or_else(
        || "The tools that I was offered gave no answers, so nothing can be said.".to_owned(),
        |verdict| summary(notes, verdict),
    );
    match &notes.accepted {
        Some(accepted) => {
            let outcome = match accepted.outcome {
                Outcome::RootCauseFound => "The report is in and names a cause",
                Outcome::Inconclusive => "The report is in; the evidence does not decide",
            };
            let sure = accepted
                .confidence
                .map(|confidence| format!(" (confidence {})", percent(confidence)))
                .unwrap_or_default();
            format!("{outcome}{sure}. {story}")
        }
        None => format!("The report could not be submitted. {story}"),
    }
}

/// Each citation once.
pub(crate) fn tidy(mut evidence: Vec<EvidenceId>) -> Vec<EvidenceId> {
    evidence.sort();
    evidence.dedup();
    evidence
}

fn unknown(notes: &Notes) -> ReportDraft {
    let evidence: Vec<EvidenceId> = notes
        .alert
        .iter()
        .map(|seen| seen.ev)
        .chain(notes.metrics.iter().map(|seen| seen.ev))
        .collect();
    ReportDraft {
        summary: "The tools gave too little to say where the trouble starts.".to_owned(),
        root_cause: None,
        impact: Impact {
            summary: "not established".to_owned(),
            failed_share: None,
            affected: Vec::new(),
            evidence,
        },
        timeline: Vec::new(),
        findings: Vec::new(),
        ruled_out: Vec::new(),
        related_alerts: Vec::new(),
        next_steps: Vec::new(),
    }
}

/// Changes that were cleared, victims on the way, and demand.
fn ruled_out(notes: &Notes, verdict: &Verdict) -> Vec<RuledOut> {
    let mut out: Vec<RuledOut> = verdict
        .cleared
        .iter()
        .take(12)
        .map(|cleared| RuledOut {
            hypothesis: cleared.hypothesis.clone(),
            why: cleared.why.clone(),
            evidence: tidy(cleared.evidence.clone()),
        })
        .collect();
    let walk = &verdict.diagnosis.walk;
    let cause = verdict
        .cause
        .as_ref()
        .map_or(verdict.diagnosis.component.as_str(), |cause| {
            cause.component.as_str()
        });
    if let Some(traces) = notes
        .traces
        .as_ref()
        .map(|seen| seen.ev)
        .or(notes.metrics.as_ref().map(|seen| seen.ev))
    {
        for (at, name) in walk.path.iter().enumerate() {
            if same_name(name, cause) {
                continue;
            }
            let why = match walk.why.get(at) {
                Some(why) => format!("it is a victim: {why}"),
                None => format!("the trouble shows there, but starts in {cause}"),
            };
            out.push(RuledOut {
                hypothesis: format!("{name} itself"),
                why,
                evidence: vec![traces],
            });
        }
    }
    if let Some(calm) = calm_demand(notes, verdict) {
        out.push(calm);
    }
    out
}

/// Demand that did not grow, where that was measured.
fn calm_demand(notes: &Notes, verdict: &Verdict) -> Option<RuledOut> {
    use super::signature::Signature;
    if matches!(verdict.diagnosis.signature, Signature::Surge { .. }) {
        return None;
    }
    let graph = Graph::new(notes);
    let traces = notes.traces.as_ref()?.ev;
    let (entry, before, after) = graph.entries().into_iter().find_map(|entry| {
        graph
            .demand(entry)
            .map(|(before, after)| (entry, before, after))
    })?;
    (after < 1.4 * before).then(|| RuledOut {
        hypothesis: "more traffic than usual".to_owned(),
        why: format!(
            "requests to {entry} went from {} to {} a minute",
            super::number::plain(before),
            super::number::plain(after)
        ),
        evidence: vec![traces],
    })
}

fn related(notes: &Notes, verdict: &Verdict) -> Vec<RelatedAlert> {
    let Some(seen) = &notes.related else {
        return Vec::new();
    };
    let own = notes.alert.as_ref().map(|seen| seen.got.alert);
    let graph = Graph::new(notes);
    let path = &verdict.diagnosis.walk.path;
    let component = &verdict.diagnosis.component;
    seen.got
        .alerts
        .iter()
        .filter(|alert| Some(alert.alert) != own)
        .filter_map(|alert| {
            let service = alert.service.as_deref()?;
            let name = graph.known(service).unwrap_or(service);
            let why = if name == component {
                format!("{name} is where the trouble starts")
            } else if path.iter().any(|step| step == name) {
                format!("{name} is on the way from {component} to the alert")
            } else if graph.callees(name).contains(component.as_str()) {
                format!("{name} calls {component}")
            } else {
                return None;
            };
            Some(RelatedAlert {
                alert: alert.alert,
                why,
            })
        })
        .collect()
}
