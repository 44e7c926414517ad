//! What was observed, each with its evidence: the start of the trouble, the way, the diff, the logs.

use nightshift_domain::report::{Change, Finding};

use super::story::sentence;
use crate::analyst::{
    graph::Graph,
    notes::Notes,
    number::{millis, plain},
    report::tidy,
    shape::Shape,
    verdict::Verdict,
    words::short,
};

/// The findings, most telling first.
pub(crate) fn findings(notes: &Notes, verdict: &Verdict) -> Vec<Finding> {
    let diagnosis = &verdict.diagnosis;
    let mut found = vec![Finding {
        claim: format!("{}.", sentence(diagnosis)),
        evidence: tidy(diagnosis.evidence.clone()),
    }];
    if let Some(cause) = &verdict.cause
        && let Change::Commit { commit, .. } = &cause.change
        && let Some(reading) = notes.reading(commit)
    {
        found.push(Finding {
            claim: format!(
                "The diff of {} by {} (“{}”) {}.",
                commit.chars().take(8).collect::<String>(),
                reading.author,
                reading.message,
                cause.how
            ),
            evidence: vec![reading.ev],
        });
    }
    if let Some(traces) = &notes.traces {
        for why in &diagnosis.walk.why {
            found.push(Finding {
                claim: capital(why),
                evidence: vec![traces.ev],
            });
        }
    }
    for series in &notes.series {
        if series.service == diagnosis.component
            && let Shape::Ramp {
                start,
                full,
                from,
                to,
            } = series.shape
        {
            found.push(Finding {
                claim: format!(
                    "`{}` of {} climbs from {} to {} between {} and {} UTC.",
                    series.metric,
                    series.service,
                    plain(from),
                    plain(to),
                    start.format("%H:%M:%S"),
                    full.format("%H:%M:%S")
                ),
                evidence: vec![series.ev],
            });
        }
    }
    complaints(notes, verdict, &mut found);
    for request in notes.requests.iter().take(1) {
        found.push(Finding {
            claim: format!(
                "Request {} took {}: {}.",
                request.trace_id,
                millis(request.duration_ms),
                request.shows
            ),
            evidence: vec![request.ev],
        });
    }
    for line in notes.lines.iter().take(1) {
        found.push(Finding {
            claim: format!(
                "{} warnings and errors of {} since the onset; the latest, at {}: “{}”.",
                line.matched,
                line.service,
                line.at.format("%H:%M:%S"),
                line.message
            ),
            evidence: vec![line.ev],
        });
    }
    found.truncate(14);
    found
}

fn complaints(notes: &Notes, verdict: &Verdict, found: &mut Vec<Finding>) {
    let Some(logs) = &notes.logs else { return };
    let graph = Graph::new(notes);
    let path = &verdict.diagnosis.walk.path;
    let near = |service: &String| path.contains(service) || *service == verdict.diagnosis.component;
    for line in graph
        .complaints()
        .filter(|line| near(&line.service))
        .take(3)
    {
        let usual = if line.before_per_minute < 0.05 {
            "new".to_owned()
        } else {
            format!("{} a minute before", plain(line.before_per_minute))
        };
        found.push(Finding {
            claim: format!(
                "{} logs “{}” {} times a minute ({usual}), first at {} UTC.",
                line.service,
                short(&line.template, 110),
                plain(line.after_per_minute),
                line.first_seen.format("%H:%M:%S")
            ),
            evidence: vec![logs.ev],
        });
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first: String = letters
        .next()
        .map(|letter| letter.to_uppercase().collect())
        .unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}
