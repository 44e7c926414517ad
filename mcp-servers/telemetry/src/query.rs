//! The questions that agents ask, answered from a backend: raw queries and comparisons.

pub mod compare;
pub mod fold;
pub mod logs;
pub mod metrics;
pub mod services;
pub mod traces;

use std::collections::BTreeSet;

use crate::{
    model::Topology,
    question::{Unanswerable, closest},
};

/// Refuses a service that is neither in the topology nor among those seen.
fn known_service<'a>(
    asked: Option<&str>,
    topology: &'a Topology,
    seen: impl IntoIterator<Item = &'a str>,
) -> Result<(), Unanswerable> {
    let Some(asked) = asked else { return Ok(()) };
    let mut names: BTreeSet<&str> = topology.services.keys().map(String::as_str).collect();
    if names.contains(asked) {
        return Ok(());
    }
    names.extend(seen);
    if names.contains(asked) {
        return Ok(());
    }
    Err(Unanswerable::Unknown {
        what: "service",
        asked: asked.to_owned(),
        close: closest(asked, names),
    })
}

/// At most `most`, `usual` where nobody said how many, never none.
fn limit(asked: Option<usize>, usual: usize, most: usize) -> usize {
    asked.unwrap_or(usual).clamp(1, most)
}
