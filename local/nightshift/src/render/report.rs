//! A report for a person who was just woken up: the answer first, the proof behind it.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use nightshift_domain::{
    EvidenceId, Report,
    report::{Change, CitedEvidence, Impact, Outcome, RootCause},
};
use serde_json::Value;

use super::{Paint, Style, page::Page};

/// Blocks of the bar that shows the confidence.
const BAR: usize = 20;
/// Characters of a tool call's arguments that are shown.
const ARGUMENTS: usize = 220;

/// The whole report as text of at most 80 columns.
#[must_use]
pub fn report(report: &Report, paint: Paint) -> String {
    let cites = Citations::of(report);
    let mut page = Page::new(paint);
    page.heading("REPORT");
    let (style, outcome) = match report.outcome {
        Outcome::RootCauseFound => (Style::Good, "Root cause found."),
        Outcome::Inconclusive => (Style::Bad, "Inconclusive: the evidence does not decide."),
    };
    page.styled(style, outcome, 2);
    page.paragraph(&report.summary, 2);

    page.heading("ROOT CAUSE");
    match &report.root_cause {
        Some(cause) => root_cause(&mut page, cause, &cites),
        None => page.paragraph("none named", 2),
    }
    page.heading("IMPACT");
    impact(&mut page, &report.impact, &cites);
    history(&mut page, report, &cites);
    proof(&mut page, report, &cites);
    consequences(&mut page, report);
    page.finish()
}

fn root_cause(page: &mut Page, cause: &RootCause, cites: &Citations) {
    page.field("component", &cause.component);
    page.field("kind", &words(cause.kind.as_str()));
    page.field("change", &change(&cause.change));
    page.field("confidence", &bar(cause.confidence));
    page.paragraph(&cites.after(&cause.statement, &cause.evidence), 2);
}

fn impact(page: &mut Page, impact: &Impact, cites: &Citations) {
    page.paragraph(&cites.after(&impact.summary, &impact.evidence), 2);
    if let Some(share) = impact.failed_share {
        page.field("failed", &format!("{:.1} % of requests", share * 100.0));
    }
    if !impact.affected.is_empty() {
        page.field("affected", &impact.affected.join(", "));
    }
}

fn history(page: &mut Page, report: &Report, cites: &Citations) {
    if !report.timeline.is_empty() {
        page.heading("TIMELINE (UTC)");
    }
    for entry in &report.timeline {
        let text = cites.after(&entry.what, &entry.evidence);
        page.item(&entry.at.format("%H:%M:%S").to_string(), &text, 2);
    }
    if !report.findings.is_empty() {
        page.heading("FINDINGS");
    }
    for finding in &report.findings {
        page.item("-", &cites.after(&finding.claim, &finding.evidence), 2);
    }
}

fn proof(page: &mut Page, report: &Report, cites: &Citations) {
    page.heading("EVIDENCE");
    if report.evidence.is_empty() {
        page.paragraph("none cited", 2);
    }
    for item in &report.evidence {
        evidence(page, item, cites);
    }
    if !report.ruled_out.is_empty() {
        page.heading("RULED OUT");
    }
    for out in &report.ruled_out {
        let why = cites.after(&out.why, &out.evidence);
        page.item("-", &format!("{}: {why}", out.hypothesis), 2);
    }
}

fn evidence(page: &mut Page, item: &CitedEvidence, cites: &Citations) {
    let cut = if item.truncated { ", cut" } else { "" };
    let kind = item.kind.as_str();
    let mark = format!("{:<4}", cites.mark(item.id));
    page.item(&mark, &format!("{} ({kind}{cut})", item.tool), 2);
    let arguments = spelled(&item.arguments);
    if !arguments.is_empty() {
        page.paragraph(&shortened(&arguments, ARGUMENTS), 7);
    }
    let digest: String = item.digest.chars().take(12).collect();
    let at = item.recorded_at.format("%H:%M:%SZ");
    page.styled(
        Style::Dim,
        &format!("{}, {at}, sha256 {digest}", item.id),
        7,
    );
}

fn consequences(page: &mut Page, report: &Report) {
    if !report.related_alerts.is_empty() {
        page.heading("RELATED ALERTS");
    }
    for related in &report.related_alerts {
        page.item("-", &format!("{}: {}", related.alert, related.why), 2);
    }
    if !report.next_steps.is_empty() {
        page.heading("NEXT STEPS");
    }
    for (place, step) in report.next_steps.iter().enumerate() {
        let text = format!("{} ({})", step.action, step.why);
        page.item(&format!("{}.", place + 1), &text, 2);
    }
    if !report.dropped.is_empty() {
        page.heading("NOT ACCEPTED");
    }
    for dropped in &report.dropped {
        let text = format!("{}: {}", dropped.claim, dropped.reason);
        page.item("-", &text, 2);
    }
}

/// Short marks for evidence, in the order of the report's list: `E1`, `E2`, …
struct Citations {
    marks: HashMap<EvidenceId, usize>,
}

impl Citations {
    fn of(report: &Report) -> Self {
        let marks = report.evidence.iter().zip(1..);
        Self {
            marks: marks.map(|(item, place)| (item.id, place)).collect(),
        }
    }

    fn mark(&self, id: EvidenceId) -> String {
        let place = self.marks.get(&id);
        place.map_or_else(|| id.to_string(), |place| format!("E{place}"))
    }

    fn after(&self, text: &str, evidence: &[EvidenceId]) -> String {
        let marks: Vec<String> = evidence.iter().map(|id| self.mark(*id)).collect();
        if marks.is_empty() {
            text.to_owned()
        } else {
            format!("{text} [{}]", marks.join(", "))
        }
    }
}

fn change(change: &Change) -> String {
    let since = |at: &Option<DateTime<Utc>>, verb: &str| {
        at.map_or_else(String::new, |at| format!(", {verb} {}", clock(at)))
    };
    match change {
        Change::Commit {
            commit,
            service,
            deployed_at,
        } => {
            let short: String = commit.chars().take(12).collect();
            let deployed = since(deployed_at, "deployed");
            format!("commit {short} of {service}{deployed}")
        }
        Change::Flag { flag, changed_at } => {
            format!("flag {flag}{}", since(changed_at, "switched"))
        }
        Change::NoChange { trigger } => format!("no change of ours: {trigger}"),
    }
}

fn bar(confidence: f64) -> String {
    let share = confidence.clamp(0.0, 1.0);
    let filled = (0..BAR)
        .filter(|block| f64::from(u32::try_from(*block).unwrap_or(0)) + 0.5 < share * 20.0)
        .count();
    let (full, empty) = ("#".repeat(filled), ".".repeat(BAR - filled));
    format!("[{full}{empty}] {share:.2}")
}

fn clock(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// The arguments that were given, `name=value`.
fn spelled(arguments: &Value) -> String {
    let given = arguments.as_object().into_iter().flatten();
    let given = given.filter(|(_, value)| !value.is_null());
    let spelled = given.map(|(name, value)| match value.as_str() {
        Some(text) => format!("{name}={text}"),
        None => format!("{name}={value}"),
    });
    spelled.collect::<Vec<_>>().join(" ")
}

fn words(name: &str) -> String {
    name.replace('_', " ")
}

fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
