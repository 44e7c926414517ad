//! Which commits reached production before the trouble began, and where they could matter.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use nightshift_protocol::tools::{codebase::Deploy, telemetry::ServiceKind};

use super::{
    diff::Ability,
    graph::Graph,
    notes::Notes,
    signature::{Diagnosis, Signature},
    words::{same_name, telling, words},
};

/// A commit that a deploy brought to production.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// The full hash.
    pub(crate) commit: String,
    /// The service that was deployed.
    pub(crate) service: String,
    /// When.
    pub(crate) at: DateTime<Utc>,
    /// What people call the release.
    pub(crate) version: String,
}

/// Most commits that one deploy is taken apart into.
const COMMITS_A_DEPLOY: usize = 8;

/// How much an estimated beginning may be too early.
pub(crate) const SLACK: TimeDelta = TimeDelta::seconds(45);

/// Every commit that a deploy delivered, the deploys nearest to the beginning first.
pub(crate) fn candidates(notes: &Notes) -> Vec<Candidate> {
    let Some(deploys) = &notes.deploys else {
        return Vec::new();
    };
    let mut ordered: Vec<&Deploy> = deploys.got.deploys.iter().collect();
    let reference = notes.onset().or_else(|| notes.fired_at());
    if let Some(reference) = reference {
        ordered
            .sort_by_key(|deploy| (deploy.at > reference + SLACK, (deploy.at - reference).abs()));
    }
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for deploy in ordered {
        for commit in delivered(notes, deploy, &deploys.got.deploys) {
            if seen.insert((commit.clone(), deploy.service.clone())) {
                found.push(Candidate {
                    commit,
                    service: deploy.service.clone(),
                    at: deploy.at,
                    version: deploy.version.clone(),
                });
            }
        }
    }
    found
}

/// The commits between what ran before and what runs after a deploy.
fn delivered(notes: &Notes, deploy: &Deploy, all: &[Deploy]) -> Vec<String> {
    let previous = deploy.previous.as_deref().or_else(|| {
        all.iter()
            .filter(|other| other.service == deploy.service && other.at < deploy.at)
            .max_by_key(|other| other.at)
            .map(|other| other.commit.as_str())
    });
    let alone = || vec![deploy.commit.clone()];
    let Some(commits) = &notes.commits else {
        return alone();
    };
    let list = &commits.got.commits;
    let place = |commit: &str| list.iter().position(|known| known.commit == commit);
    let Some(previous) = previous else {
        // What ran before is unknown, so the service's own recent commits may have come along.
        let older = place(&deploy.commit).map_or(&[][..], |at| &list[at + 1..]);
        let own = older.iter().filter(|commit| {
            commit
                .paths
                .iter()
                .any(|path| names_service(path, &deploy.service))
        });
        let own = own.take(3).map(|commit| commit.commit.clone());
        return alone().into_iter().chain(own).collect();
    };
    let (Some(new), Some(old)) = (place(&deploy.commit), place(previous)) else {
        return alone();
    };
    if new >= old {
        // A roll-back, or the same commit again.
        return alone();
    }
    list[new..old]
        .iter()
        .take(COMMITS_A_DEPLOY)
        .map(|commit| commit.commit.clone())
        .collect()
}

/// When the trouble began, as far back as its signature shows.
pub(crate) fn began(notes: &Notes, diagnosis: &Diagnosis) -> Option<DateTime<Utc>> {
    let onset = notes.onset().or_else(|| notes.fired_at());
    let since = match &diagnosis.signature {
        Signature::Exhaustion { since, .. } | Signature::Surge { since, .. } => *since,
        Signature::FanOut { .. }
        | Signature::Outside { .. }
        | Signature::CacheMisses { .. }
        | Signature::Errors { .. }
        | Signature::SlowStore { .. }
        | Signature::Network { .. }
        | Signature::SelfTime { .. }
        | Signature::Unclear => None,
    };
    match (since, onset) {
        (Some(since), Some(onset)) => Some(since.min(onset)),
        (Some(since), None) => Some(since),
        // The onset is estimated for the system as a whole: nothing begins at a component before
        // the component shows anything.
        (None, Some(onset)) => Some(onset.max(first_sign(notes, diagnosis).unwrap_or(onset))),
        (None, None) => None,
    }
}

/// When the component first showed anything out of the ordinary.
fn first_sign(notes: &Notes, diagnosis: &Diagnosis) -> Option<DateTime<Utc>> {
    let graph = Graph::new(notes);
    let component = diagnosis.component.as_str();
    let measured = graph
        .anomalies(component)
        .filter(|(_, anomaly)| anomaly.score.abs() >= 4.0)
        .filter_map(|(_, anomaly)| anomaly.first_breach_at);
    let said = graph
        .complaints()
        .filter(|line| line.service == component && line.before_per_minute < 0.05)
        .map(|line| line.first_seen);
    measured.chain(said).min()
}

/// The services whose changes could produce the signature.
pub(crate) fn suspects(notes: &Notes, diagnosis: &Diagnosis) -> BTreeSet<String> {
    let graph = Graph::new(notes);
    let component = diagnosis.component.as_str();
    let mut suspects: BTreeSet<String> = BTreeSet::from([component.to_owned()]);
    let callers = graph.callers(component).into_iter().map(str::to_owned);
    match &diagnosis.signature {
        Signature::Outside { caller, .. } => {
            suspects.insert(caller.clone());
        }
        Signature::SlowStore { .. } | Signature::Network { .. } => suspects.extend(callers),
        Signature::Errors { .. } => {
            // A caller may send what the failing service does not understand.
            suspects.extend(callers);
        }
        Signature::FanOut { .. }
        | Signature::Exhaustion { .. }
        | Signature::Surge { .. }
        | Signature::CacheMisses { .. }
        | Signature::SelfTime { .. } => {
            if graph.kind(component) != ServiceKind::Service {
                suspects.extend(callers);
            }
        }
        Signature::Unclear => suspects.extend(diagnosis.walk.path.iter().cloned()),
    }
    suspects
}

/// Whether one of the suspects is this service.
pub(crate) fn is_suspect(suspects: &BTreeSet<String>, service: &str) -> bool {
    suspects.iter().any(|suspect| same_name(suspect, service))
}

/// Whether a file can matter to a service: not where its path names another service and not this.
pub(crate) fn concerns(notes: &Notes, ability: &Ability, service: &str) -> bool {
    let names = |name: &str| names_service(ability.path(), name);
    if names(service) {
        return true;
    }
    let graph = Graph::new(notes);
    !graph.names().into_iter().any(|other| {
        graph.kind(other) == ServiceKind::Service && !same_name(other, service) && names(other)
    })
}

/// Whether a folder or a file of the path is called like the service.
fn names_service(path: &str, service: &str) -> bool {
    path.split('/')
        .any(|part| same_name(part.split('.').next().unwrap_or(part), service))
}

/// Telling words that every part of this system shares, and so link nothing: its services' names.
pub(crate) fn everyday(notes: &Notes) -> BTreeSet<String> {
    Graph::new(notes)
        .names()
        .into_iter()
        .flat_map(|name| telling(name).into_iter().chain(words(name)))
        .collect()
}
