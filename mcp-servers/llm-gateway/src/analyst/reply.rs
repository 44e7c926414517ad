//! Answers a person's question after the report, from the notes and with what to cite.

use std::fmt::Write as _;

use nightshift_domain::EvidenceId;

use super::{
    notes::Notes,
    number::percent,
    report,
    verdict::{Cleared, Verdict},
    words::{telling, words},
};

/// The answer.
pub(crate) fn reply(notes: &Notes, question: &str) -> String {
    let Some(verdict) = &notes.verdict else {
        return "I have no findings that could answer this: the tools gave too little.".to_owned();
    };
    let asks = |wanted: &[&str]| {
        words(question)
            .iter()
            .any(|word| wanted.contains(&word.as_str()))
    };
    if let Some(cleared) = named(verdict, question) {
        return format!(
            "{}: ruled out, because {}.{}",
            cleared.hypothesis,
            cleared.why,
            cite(&cleared.evidence)
        );
    }
    if asks(&[
        "impact",
        "users",
        "customers",
        "affected",
        "hurt",
        "hurts",
        "bad",
        "severity",
        "many",
    ]) {
        let impact = report::draft(notes).impact;
        return format!("{}{}", impact.summary, cite(&impact.evidence));
    }
    if asks(&[
        "else",
        "ruled",
        "rule",
        "alternatives",
        "other",
        "others",
        "exclude",
        "excluded",
        "instead",
        "not",
    ]) {
        return ruled_out(verdict);
    }
    if asks(&[
        "next",
        "do",
        "fix",
        "mitigate",
        "mitigation",
        "roll",
        "rollback",
        "revert",
        "action",
        "should",
    ]) {
        return steps(notes);
    }
    if asks(&["when", "timeline", "began", "start", "started", "since"]) {
        return timeline(notes);
    }
    if asks(&[
        "sure",
        "certain",
        "confidence",
        "confident",
        "proof",
        "evidence",
        "know",
    ]) {
        return certainty(notes, verdict);
    }
    if asks(&[
        "why", "how", "cause", "caused", "reason", "what", "who", "which", "commit", "change",
    ]) {
        return why(verdict);
    }
    format!(
        "I can only answer from what was recorded. What I know: {}",
        why(verdict)
    )
}

/// The cleared suspect that the question names: a hash, a flag, or two telling words of it.
fn named<'a>(verdict: &'a Verdict, question: &str) -> Option<&'a Cleared> {
    let said = telling(question);
    let low = question.to_lowercase();
    verdict.cleared.iter().find(|cleared| {
        let hash = cleared
            .hypothesis
            .split(|letter: char| !letter.is_ascii_hexdigit())
            .any(|part| part.len() >= 7 && low.contains(part));
        let flag = cleared
            .hypothesis
            .split('`')
            .nth(1)
            .is_some_and(|flag| low.contains(flag));
        let text = cleared
            .hypothesis
            .split(['“', '”'])
            .nth(1)
            .unwrap_or_default();
        hash || flag || telling(text).intersection(&said).count() >= 2
    })
}

fn why(verdict: &Verdict) -> String {
    let evidence = verdict
        .cause
        .as_ref()
        .map_or(&verdict.diagnosis.evidence, |cause| &cause.evidence);
    format!("{}{}", report::statement(verdict), cite(evidence))
}

fn ruled_out(verdict: &Verdict) -> String {
    if verdict.cleared.is_empty() {
        return "No other change was in the window, so there was none to rule out.".to_owned();
    }
    let mut text = "Ruled out:".to_owned();
    for cleared in verdict.cleared.iter().take(6) {
        let _ = write!(
            text,
            "\n- {}: {}{}",
            cleared.hypothesis,
            cleared.why,
            cite(&cleared.evidence)
        );
    }
    text
}

fn steps(notes: &Notes) -> String {
    let mut text = "Next:".to_owned();
    for step in report::draft(notes).next_steps {
        let _ = write!(text, "\n- {} {}", step.action, step.why);
    }
    text
}

fn timeline(notes: &Notes) -> String {
    let mut entries = report::draft(notes).timeline;
    entries.sort_by_key(|entry| entry.at);
    let mut text = "In order (UTC):".to_owned();
    for entry in entries {
        let _ = write!(
            text,
            "\n- {} {}{}",
            entry.at.format("%H:%M:%S"),
            entry.what,
            cite(&entry.evidence)
        );
    }
    text
}

fn certainty(notes: &Notes, verdict: &Verdict) -> String {
    let settled = notes
        .accepted
        .as_ref()
        .and_then(|accepted| accepted.confidence);
    match (&verdict.cause, settled) {
        (Some(cause), settled) => format!(
            "Confidence {}: {} observation(s) support it.{}",
            percent(settled.unwrap_or(cause.confidence)),
            cause.evidence.len(),
            cite(&cause.evidence)
        ),
        (None, _) => format!(
            "I am not sure of any cause, and said so.{}",
            cite(&verdict.diagnosis.evidence)
        ),
    }
}

fn cite(evidence: &[EvidenceId]) -> String {
    if evidence.is_empty() {
        return String::new();
    }
    let ids: Vec<String> = evidence.iter().take(5).map(ToString::to_string).collect();
    format!(" [{}]", ids.join(", "))
}
