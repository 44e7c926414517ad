//! What happened in order: changes, the beginning, first breaches, the alert.

use nightshift_domain::report::{Change, TimelineEntry};

use crate::analyst::{
    notes::Notes, number::plain, shape::Shape, verdict::Verdict, words::same_name,
};

/// The timeline; settling sorts it.
pub(crate) fn timeline(notes: &Notes, verdict: &Verdict) -> Vec<TimelineEntry> {
    let mut entries = Vec::new();
    deploys(notes, verdict, &mut entries);
    if let (Some(began), Some(seen)) = (verdict.began, &notes.metrics) {
        let ev = notes
            .series
            .iter()
            .find(|series| matches!(series.shape, Shape::Ramp { start, .. } if start == began))
            .map_or(seen.ev, |series| series.ev);
        entries.push(TimelineEntry {
            at: began,
            what: format!("the trouble begins at {}", verdict.diagnosis.component),
            evidence: vec![ev],
        });
    }
    if let Some(seen) = &notes.metrics {
        if seen.got.windows.onset != verdict.began.unwrap_or_default() {
            entries.push(TimelineEntry {
                at: seen.got.windows.onset,
                what: "users begin to feel it".to_owned(),
                evidence: vec![seen.ev],
            });
        }
        let path = &verdict.diagnosis.walk.path;
        let mut breaches: Vec<_> = seen
            .got
            .anomalies
            .iter()
            .filter(|anomaly| {
                path.contains(&anomaly.service) || anomaly.service == verdict.diagnosis.component
            })
            .filter_map(|anomaly| anomaly.first_breach_at.map(|at| (at, anomaly)))
            .filter(|(_, anomaly)| anomaly.score.abs() >= 4.0)
            .collect();
        breaches.sort_by_key(|(at, _)| *at);
        let mut told: Vec<&str> = Vec::new();
        for (at, anomaly) in breaches {
            if told.contains(&anomaly.service.as_str()) || told.len() == 4 {
                continue;
            }
            told.push(&anomaly.service);
            entries.push(TimelineEntry {
                at,
                what: format!(
                    "`{}` of {} leaves its usual band (from {} to {})",
                    anomaly.metric,
                    anomaly.service,
                    plain(anomaly.before),
                    plain(anomaly.extreme)
                ),
                evidence: vec![seen.ev],
            });
        }
    }
    if let Some(alert) = &notes.alert {
        entries.push(TimelineEntry {
            at: alert.got.fired_at,
            what: format!("the alert fires: {}", alert.got.title),
            evidence: vec![alert.ev],
        });
    }
    entries
}

fn deploys(notes: &Notes, verdict: &Verdict, entries: &mut Vec<TimelineEntry>) {
    let Some(seen) = &notes.deploys else { return };
    let guilty = verdict
        .cause
        .as_ref()
        .and_then(|cause| match &cause.change {
            Change::Commit {
                deployed_at,
                service,
                ..
            } => Some((*deployed_at, service.as_str())),
            Change::Flag { .. } | Change::NoChange { .. } => None,
        });
    let fired = notes.fired_at();
    let mut told = 0;
    for deploy in &seen.got.deploys {
        let caused = guilty.is_some_and(|(at, service)| {
            at == Some(deploy.at) && same_name(service, &deploy.service)
        });
        let near = fired.is_some_and(|fired| {
            deploy.at <= fired && fired - deploy.at <= chrono::TimeDelta::hours(2)
        });
        if !(caused || (near && told < 6)) {
            continue;
        }
        told += 1;
        let hash: String = deploy.commit.chars().take(8).collect();
        let note = if caused {
            ": the change that causes it"
        } else {
            ""
        };
        entries.push(TimelineEntry {
            at: deploy.at,
            what: format!(
                "{} is deployed to {} ({hash}){note}",
                deploy.version, deploy.service
            ),
            evidence: vec![seen.ev],
        });
    }
    if let (
        Some(flags),
        Some(Change::Flag {
            flag,
            changed_at: Some(at),
        }),
    ) = (
        &notes.flags,
        verdict.cause.as_ref().map(|cause| &cause.change),
    ) {
        entries.push(TimelineEntry {
            at: *at,
            what: format!("the flag `{flag}` is switched"),
            evidence: vec![flags.ev],
        });
    }
}
