//! The report as a person sees it.

use nightshift_domain::report::{
    CauseKind, Dropped, Finding, NextStep, RelatedAlert, RuledOut, TimelineEntry,
};
use nightshift_domain::{AlertId, EvidenceKind};

use super::*;
use crate::render::WIDTH;

const PAGE: &str = "
REPORT
  Root cause found.
  Bread runs out since the new oven planner asks the store once a loaf.

ROOT CAUSE
  component   bakery
  kind        code regression
  change      commit 0123456789ab of bakery, deployed 2026-11-20 02:50:00Z
  confidence  [##################..] 0.90
  Each order asks the store once a loaf instead of once an order, which is why a
  full basket takes seconds and the counter gives up. [E1, E2]

IMPACT
  Every third customer leaves without bread. [E1]
  failed      33.4 % of requests
  affected    counter, delivery

TIMELINE (UTC)
  02:50:00 bakery 0123456789ab goes live [E2]

FINDINGS
  - Orders take 40 times longer. [E1]

EVIDENCE
  E1   telemetry.query_metrics (metrics, cut)
       service=bakery
       evd_00000000000000000000000000000001, 03:00:00Z, sha256 abababababab
  E2   codebase.read_commit (code)
       evd_00000000000000000000000000000002, 03:00:00Z, sha256 abababababab

RULED OUT
  - More customers: orders per minute did not change [E1]

RELATED ALERTS
  - alt_00000000000000000000000000000007: The counter waits for the same oven.

NEXT STEPS
  1. Roll bakery back. (It stops the loop.)

NOT ACCEPTED
  - The flour is bad: it cites nothing
";

fn id(last: u8) -> EvidenceId {
    format!("evd_{last:032x}").parse().unwrap()
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn cited(last: u8, kind: EvidenceKind, tool: &str) -> CitedEvidence {
    CitedEvidence {
        id: id(last),
        kind,
        tool: tool.to_owned(),
        arguments: if last == 1 {
            serde_json::json!({"service": "bakery", "to": null})
        } else {
            serde_json::json!({})
        },
        digest: "ab".repeat(32),
        truncated: last == 1,
        recorded_at: at("2026-11-20T03:00:00Z"),
    }
}

fn sample() -> Report {
    let related: AlertId = "alt_00000000000000000000000000000007".parse().unwrap();
    Report {
        outcome: Outcome::RootCauseFound,
        summary: "Bread runs out since the new oven planner asks the store once a loaf.".into(),
        root_cause: Some(RootCause {
            component: "bakery".into(),
            kind: CauseKind::CodeRegression,
            change: Change::Commit {
                commit: "0123456789abcdef0123456789abcdef01234567".into(),
                service: "bakery".into(),
                deployed_at: Some(at("2026-11-20T02:50:00Z")),
            },
            statement: "Each order asks the store once a loaf instead of once an order, which \
                        is why a full basket takes seconds and the counter gives up."
                .into(),
            confidence: 0.9,
            evidence: vec![id(1), id(2)],
        }),
        impact: Impact {
            summary: "Every third customer leaves without bread.".into(),
            failed_share: Some(0.334),
            affected: vec!["counter".into(), "delivery".into()],
            evidence: vec![id(1)],
        },
        timeline: vec![TimelineEntry {
            at: at("2026-11-20T02:50:00Z"),
            what: "bakery 0123456789ab goes live".into(),
            evidence: vec![id(2)],
        }],
        findings: vec![Finding {
            claim: "Orders take 40 times longer.".into(),
            evidence: vec![id(1)],
        }],
        ruled_out: vec![RuledOut {
            hypothesis: "More customers".into(),
            why: "orders per minute did not change".into(),
            evidence: vec![id(1)],
        }],
        related_alerts: vec![RelatedAlert {
            alert: related,
            why: "The counter waits for the same oven.".into(),
        }],
        next_steps: vec![NextStep {
            action: "Roll bakery back.".into(),
            why: "It stops the loop.".into(),
        }],
        evidence: vec![
            cited(1, EvidenceKind::Metrics, "telemetry.query_metrics"),
            cited(2, EvidenceKind::Code, "codebase.read_commit"),
        ],
        dropped: vec![Dropped {
            claim: "The flour is bad".into(),
            reason: "it cites nothing".into(),
        }],
    }
}

#[test]
fn the_page_reads_as_agreed() {
    let shown = report(&sample(), Paint::Plain);
    assert_eq!(shown, PAGE, "\n{shown}");
}

#[test]
fn whatever_a_report_says_no_line_leaves_the_page_and_no_escape_reaches_the_terminal() {
    let mut wild = sample();
    let nasty = format!("{}\x1b[31m {}\r\n\x07", "word ".repeat(90), "x".repeat(300));
    wild.summary.clone_from(&nasty);
    wild.impact.affected = vec![nasty.clone(); 3];
    wild.timeline[0].what.clone_from(&nasty);
    wild.evidence[0].tool.clone_from(&nasty);
    wild.evidence[1].arguments = serde_json::json!({ "q": nasty });
    wild.next_steps[0].why.clone_from(&nasty);
    wild.root_cause
        .as_mut()
        .unwrap()
        .component
        .clone_from(&nasty);
    let shown = report(&wild, Paint::Plain);
    assert!(!shown.contains('\x1b') && !shown.contains('\x07'));
    for line in shown.lines() {
        assert!(line.chars().count() <= WIDTH, "{line}");
    }
}

#[test]
fn colours_change_nothing_but_the_look() {
    let coloured = report(&sample(), Paint::Ansi);
    assert!(coloured.contains("\x1b[1mREPORT\x1b[0m"));
    let mut plain = coloured;
    for code in ["\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m"] {
        plain = plain.replace(code, "");
    }
    assert_eq!(plain, report(&sample(), Paint::Plain));
}

#[test]
fn the_bar_is_as_long_as_the_confidence() {
    assert!(bar(0.0).starts_with("[....................]"));
    assert!(bar(1.0).starts_with("[####################]"));
    assert!(bar(0.5).starts_with("[##########..........]"));
}
