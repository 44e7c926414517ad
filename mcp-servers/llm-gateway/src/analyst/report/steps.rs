//! What to do now: undo the cause, ease the pain, and keep it from coming back.

use nightshift_domain::report::{CauseKind, Change, NextStep};

use crate::analyst::{
    notes::Notes,
    signature::Signature,
    verdict::{Cause, Verdict},
};

/// The next steps, the most urgent first.
pub(crate) fn steps(notes: &Notes, verdict: &Verdict) -> Vec<NextStep> {
    let Some(cause) = &verdict.cause else {
        return open_steps(notes, verdict);
    };
    let mut steps = Vec::new();
    match &cause.change {
        Change::Commit {
            commit, service, ..
        } => by_commit(notes, commit, service, cause, &mut steps),
        Change::Flag { flag, .. } => steps.push(step(
            format!("Switch `{flag}` back."),
            "It ends the cause without a deploy.",
        )),
        Change::NoChange { .. } => by_kind(cause, &mut steps),
    }
    if let Signature::Exhaustion { what, .. } = &verdict.diagnosis.signature {
        steps.push(step(
            format!("Restart {} if a roll-back takes long.", cause.component),
            "A restart gives back what is held and buys time until it fills again.",
        ));
        steps.push(step(
            format!("Alert on `{what}` long before it is full."),
            "It rises well before users feel it.",
        ));
    }
    steps
}

fn by_commit(notes: &Notes, commit: &str, service: &str, cause: &Cause, steps: &mut Vec<NextStep>) {
    let hash: String = commit.chars().take(8).collect();
    let back = notes
        .deploys
        .iter()
        .flat_map(|seen| &seen.got.deploys)
        .find(|deploy| deploy.service == service && deploy.commit == commit)
        .and_then(|deploy| deploy.previous.as_deref())
        .map(|previous| format!(" to {}", previous.chars().take(8).collect::<String>()))
        .unwrap_or_default();
    steps.push(step(
        format!("Roll {service} back{back}: undo commit {hash}."),
        "It is the change that produces what is seen.",
    ));
    if let Some(reading) = notes.reading(commit) {
        steps.push(step(
            format!(
                "Ask {} to correct {}.",
                reading.author,
                reading.paths.first().map_or("it", String::as_str)
            ),
            "The change did something useful too; its author knows what must be kept.",
        ));
    }
    if cause.kind == CauseKind::Configuration {
        steps.push(step(
            "Check the value against the load it must carry before it is set again.".to_owned(),
            "The number alone decides here.",
        ));
    }
}

fn by_kind(cause: &Cause, steps: &mut Vec<NextStep>) {
    let component = &cause.component;
    match cause.kind {
        CauseKind::ExternalDependency => {
            steps.push(step(
                format!("Look at the status page of {component} and contact its support."),
                "The failures start there; only its operator can end them.",
            ));
            steps.push(step(
                format!("Fail fast or degrade where {component} is called: shorter timeout, circuit breaker, queue for later."),
                "Requests then stop waiting for an answer that does not come.",
            ));
            steps.push(step(
                "Do not roll back the recent deploys for this.".to_owned(),
                "Their diffs cannot produce it, and a roll-back adds risk.",
            ));
        }
        CauseKind::TrafficSurge => {
            steps.push(step(
                format!("Add capacity to {component}, or limit and shed load where users come in."),
                "Each request costs what it always did; there are more of them.",
            ));
            steps.push(step(
                "Find out who sends the requests (a campaign, a crawler, a retrying client).".to_owned(),
                "It tells how long it lasts and whether to block it.",
            ));
        }
        CauseKind::ExpiredCredential => steps.push(step(
            format!("Renew the credential that {component} uses, and alert before it runs out."),
            "Nothing else ends the failures.",
        )),
        CauseKind::Infrastructure => steps.push(step(
            format!("Check the machines and the network of {component} with whoever runs them, and move work away."),
            "No change of ours explains it.",
        )),
        CauseKind::BadData => steps.push(step(
            format!("Find the input that {component} stumbles over and put it aside."),
            "The code did not change; what it reads did.",
        )),
        CauseKind::CodeRegression
        | CauseKind::ResourceLeak
        | CauseKind::Configuration
        | CauseKind::Unknown => steps.push(step(
            format!("Restart {component} and watch whether it comes back."),
            "It eases the pain while the cause is looked for.",
        )),
    }
}

fn open_steps(notes: &Notes, verdict: &Verdict) -> Vec<NextStep> {
    let component = &verdict.diagnosis.component;
    let mut steps = vec![step(
        format!("Have someone who knows {component} look at it."),
        "The symptoms lead there, but the evidence does not tell why.",
    )];
    if notes
        .deploys
        .as_ref()
        .is_some_and(|seen| !seen.got.deploys.is_empty())
    {
        steps.push(step(
            "Do not roll back by nearness in time alone.".to_owned(),
            "None of the diffs that were read can produce the symptoms.",
        ));
    }
    steps
}

fn step(action: String, why: &str) -> NextStep {
    NextStep {
        action,
        why: why.to_owned(),
    }
}
