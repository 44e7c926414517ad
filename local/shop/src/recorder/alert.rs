//! What is sent when the rule fires: the symptom, and nothing about its cause.

use chrono::{DateTime, Utc};

use super::{rule::Watch, scenario::Scenario};
use crate::recording::Alert;

/// The alert of a story.
pub(super) fn fired(scenario: &Scenario, now: DateTime<Utc>, observed: f64) -> Alert {
    let rule = scenario.rule;
    let (metric, seen, limit) = match rule.watch {
        Watch::P95 => (
            "http_request_duration_seconds p95",
            format!("p95 of {} {} is {observed:.2} s", rule.service, rule.route),
            format!("{} s", rule.threshold),
        ),
        Watch::ErrorShare => (
            "http_requests_total share of status 5xx",
            format!(
                "{:.0} % of {} {} fail",
                observed * 100.0,
                rule.service,
                rule.route
            ),
            format!("{:.0} %", rule.threshold * 100.0),
        ),
    };
    let title = match rule.watch {
        Watch::P95 => format!("{} {}: p95 latency above {limit}", rule.service, rule.route),
        Watch::ErrorShare => format!("{} {}: errors above {limit}", rule.service, rule.route),
    };
    Alert {
        title,
        service: rule.service.to_owned(),
        severity: "critical".to_owned(),
        fired_at: now,
        monitor: rule.monitor.to_owned(),
        metric: metric.to_owned(),
        threshold: rule.threshold,
        observed: (observed * 1000.0).round() / 1000.0,
        summary: format!(
            "{}: {seen} over the last minute, limit {limit}, for 60 s.",
            scenario.title
        ),
    }
}
