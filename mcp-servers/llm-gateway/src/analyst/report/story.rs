//! The story in sentences: what happens where, through which change, and how that leads to the alert.

use nightshift_domain::report::Change;

use crate::analyst::{
    notes::Notes,
    number::{millis, percent, plain},
    signature::{Diagnosis, Signature},
    verdict::{Cause, Verdict},
};

/// The whole story in two or three sentences.
pub(crate) fn summary(notes: &Notes, verdict: &Verdict) -> String {
    let diagnosis = &verdict.diagnosis;
    let alerted = diagnosis
        .walk
        .path
        .first()
        .map_or("the service", String::as_str);
    let began = verdict
        .began
        .map(|at| format!(" since {} UTC", at.format("%H:%M:%S")))
        .unwrap_or_default();
    let Some(cause) = &verdict.cause else {
        let unseen = if notes.deploys.is_none() {
            " I could not see what was deployed."
        } else {
            ""
        };
        return format!(
            "{}{began}, which reaches {alerted}. No change that was deployed before can produce this, \
             and the evidence names no outside trigger either, so the cause stays open.{unseen}",
            sentence(diagnosis)
        );
    };
    match &cause.change {
        Change::Commit {
            commit,
            service,
            deployed_at,
        } => {
            let hash: String = commit.chars().take(8).collect();
            let at = deployed_at
                .map(|at| format!(" at {} UTC", at.format("%H:%M:%S")))
                .unwrap_or_default();
            format!(
                "{}{began}. Commit {hash}, deployed to {service}{at}, causes it: it {}.",
                sentence(diagnosis),
                cause.how
            )
        }
        Change::Flag { flag, .. } => {
            format!(
                "{}{began}. The flag `{flag}` causes it: someone {}.",
                sentence(diagnosis),
                cause.how
            )
        }
        Change::NoChange { trigger } => format!(
            "{}{began}. No change explains it: the trigger is {trigger}.",
            sentence(diagnosis)
        ),
    }
}

/// How the cause leads to the alert.
pub(crate) fn statement(verdict: &Verdict) -> String {
    let diagnosis = &verdict.diagnosis;
    let what = verdict
        .cause
        .as_ref()
        .map(|cause| cause_words(diagnosis, cause));
    let way = way(diagnosis);
    match what {
        Some(what) => format!("{what} {}.{way}", sentence(diagnosis)),
        None => format!("{}.{way}", sentence(diagnosis)),
    }
}

fn cause_words(diagnosis: &Diagnosis, cause: &Cause) -> String {
    match &cause.change {
        Change::Commit {
            commit, service, ..
        } => {
            let hash: String = commit.chars().take(8).collect();
            format!("Commit {hash} of {service} {}.", cause.how)
        }
        Change::Flag { flag, .. } => format!("The switch of `{flag}` {}.", cause.how),
        Change::NoChange { trigger } => {
            format!(
                "No change explains what {} shows; the trigger is {trigger}.",
                diagnosis.component
            )
        }
    }
}

/// The steps from the component to the alert.
fn way(diagnosis: &Diagnosis) -> String {
    let mut path: Vec<&str> = diagnosis.walk.path.iter().map(String::as_str).collect();
    path.reverse();
    if path.len() < 2 {
        return String::new();
    }
    format!(" From there it reaches the alert: {}.", path.join(" → "))
}

/// What is seen where the trouble starts, as one sentence without a full stop.
pub(crate) fn sentence(diagnosis: &Diagnosis) -> String {
    let component = &diagnosis.component;
    match &diagnosis.signature {
        Signature::FanOut {
            callee,
            before,
            after,
        } => format!(
            "One request to {component} calls {callee} {} times instead of {}",
            plain(*after),
            plain(*before)
        ),
        Signature::Exhaustion {
            what,
            gradual,
            from,
            to,
            limit_fell,
            ..
        } => filling(component, what, *gradual, (*from, *to), *limit_fell),
        Signature::Outside {
            caller,
            errors_before,
            errors_after,
            p95_before,
            p95_after,
        } => {
            let from = if caller.is_empty() {
                "us"
            } else {
                caller.as_str()
            };
            format!(
                "Of the calls from {from} to the outside system {component}, {} fail instead of {}, \
                 and the slowest 5 % take {} instead of {}",
                percent(*errors_after),
                percent(*errors_before),
                millis(*p95_after),
                millis(*p95_before)
            )
        }
        Signature::Surge {
            before,
            after,
            times,
            ..
        } => format!(
            "{component} receives {} times the requests ({} instead of {}), each of which costs what it \
             did before",
            plain(*times),
            plain(*after),
            plain(*before)
        ),
        Signature::CacheMisses {
            metric,
            before,
            after,
        } => format!(
            "`{metric}` of {component} went from {} to {}: the cache answers less often",
            plain(*before),
            plain(*after)
        ),
        Signature::Errors {
            says,
            operation,
            share,
            ..
        } => failing(component, says.as_deref(), operation.as_deref(), *share),
        Signature::SlowStore {
            caller,
            before_ms,
            after_ms,
        } => format!(
            "{component} answers {caller} slowly without being asked more often: {} instead of {} (p95)",
            millis(*after_ms),
            millis(*before_ms)
        ),
        Signature::Network { from, gap_ms } => format!(
            "Between {from} and {component}, {} of each call are lost outside both",
            millis(*gap_ms)
        ),
        Signature::SelfTime {
            operation,
            before_ms,
            after_ms,
        } => format!(
            "`{operation}` of {component} works {} itself instead of {} (p95)",
            millis(*after_ms),
            millis(*before_ms)
        ),
        Signature::Unclear => {
            format!("The trouble shows at {component}, without a clear symptom below it")
        }
    }
}

fn failing(component: &str, says: Option<&str>, operation: Option<&str>, share: f64) -> String {
    let on = operation
        .map(|name| format!(" in `{name}`"))
        .unwrap_or_default();
    let words = says
        .map(|says| format!(" and says “{says}”"))
        .unwrap_or_default();
    if share >= 0.02 {
        format!(
            "{component} fails {} more of its requests{on}{words}",
            percent(share)
        )
    } else {
        format!("{component} fails{on}{words}")
    }
}

fn filling(component: &str, what: &str, gradual: bool, level: (f64, f64), fell: bool) -> String {
    let pace = if gradual {
        "fills little by little"
    } else {
        "runs out"
    };
    let fell = if fell { "; its limit fell" } else { "" };
    format!(
        "`{what}` of {component} {pace}, from {} to {}{fell}",
        plain(level.0),
        plain(level.1)
    )
}
