//! The report that the harness writes when the agent wrote none: honest, and with everything that
//! was recorded.

use std::collections::BTreeMap;

use nightshift_domain::report::{Finding, Impact, NextStep, ReportDraft};
use nightshift_protocol::messages::Block;

use crate::session::Session;

/// An inconclusive report that says why there is no better one and what was looked at.
#[must_use]
pub fn report(session: &Session, why: &str) -> ReportDraft {
    let mut calls: BTreeMap<&str, usize> = BTreeMap::new();
    for block in session.messages.iter().flat_map(|message| &message.content) {
        match block {
            Block::ToolUse { name, .. } => *calls.entry(name).or_default() += 1,
            Block::Text { .. } | Block::ToolResult { .. } => {}
        }
    }
    let looked_at = if calls.is_empty() {
        "No tool was called.".to_owned()
    } else {
        let list: Vec<_> = calls
            .iter()
            .map(|(name, n)| format!("{name} ({n})"))
            .collect();
        format!("Tools called: {}.", list.join(", "))
    };
    let evidence: Vec<_> = session.evidence.values().copied().collect();
    let mut findings = Vec::new();
    if !evidence.is_empty() {
        let claim = format!("{looked_at} Their answers are recorded; nobody drew a conclusion.");
        findings.push(Finding { claim, evidence });
    }
    ReportDraft {
        summary: format!("The agent ended without a report: {why}. {looked_at}"),
        root_cause: None,
        impact: Impact {
            summary: "Not assessed.".to_owned(),
            failed_share: None,
            affected: Vec::new(),
            evidence: Vec::new(),
        },
        timeline: Vec::new(),
        findings,
        ruled_out: Vec::new(),
        related_alerts: Vec::new(),
        next_steps: vec![NextStep {
            action: "Have a person look at the alert".to_owned(),
            why: "No cause was found, which does not mean that there is none".to_owned(),
        }],
    }
}
