//! What was tried, as a table or as JSON, and whether it ended as it must.

use std::fmt::Write;

use anyhow::Result;
use nightshift_controls::{Control, has_switches};
use serde_json::json;

use crate::{
    case::{Attack, Case, Outcome},
    run::Try,
};

/// How it all ended.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    stopped: usize,
    succeeded: usize,
    skipped: usize,
    broken: usize,
    /// Whether each ended as it must.
    pub(crate) as_it_must_be: bool,
}

impl Verdict {
    pub(crate) fn of(tries: &[Try], expect_success: bool) -> Self {
        let mut verdict = Self::default();
        let mut wrong = 0;
        for tried in tries {
            match &tried.ended {
                Ok(Outcome::Stopped(_)) => verdict.stopped += 1,
                Ok(Outcome::Succeeded(_)) => verdict.succeeded += 1,
                Ok(Outcome::Skipped(_)) => verdict.skipped += 1,
                Err(_) => verdict.broken += 1,
            }
            wrong += usize::from(!is_right(tried, expect_success));
        }
        verdict.as_it_must_be = wrong == 0;
        verdict
    }
}

/// Whether it ended as it must: with success if that is expected and nothing that stops it is left,
/// and otherwise without.
fn is_right(tried: &Try, expect_success: bool) -> bool {
    let controls = tried.case.controls;
    let bare = !controls.is_empty() && controls.iter().all(|it| tried.without.contains(it));
    match &tried.ended {
        Ok(Outcome::Skipped(_)) => true,
        Ok(Outcome::Stopped(_)) => !(expect_success && bare),
        Ok(Outcome::Succeeded(_)) => expect_success && bare,
        Err(_) => false,
    }
}

fn names(controls: &[Control]) -> String {
    let names: Vec<&str> = controls.iter().map(|control| control.name()).collect();
    names.join(" + ")
}

/// Every case and what stops it.
pub(crate) fn list(cases: &[Case]) -> String {
    let mut text = String::new();
    for case in cases {
        let stops = match case.attack {
            Attack::Tried(_) => names(case.controls),
            Attack::NotHere(_) => "-".to_owned(),
        };
        let _ = writeln!(
            text,
            "{:>2}  {:<34} {:<34} {}",
            case.row, case.name, stops, case.about
        );
    }
    text
}

/// A table of what was tried.
pub(crate) fn show(tries: &[Try], verdict: &Verdict) -> String {
    let mut text = String::new();
    for tried in tries {
        let (word, what) = match &tried.ended {
            Ok(outcome) => (outcome.word(), outcome.what().to_owned()),
            Err(error) => ("BROKEN", format!("{error:#}")),
        };
        let held = if tried.without.is_empty() {
            names(tried.case.controls)
        } else {
            format!("without {}", names(&tried.without))
        };
        let what: String = what.chars().take(160).collect();
        let _ = writeln!(
            text,
            "{:>2}  {:<34} {:<9} {held}: {}",
            tried.case.row,
            tried.case.name,
            word,
            what.replace('\n', " ")
        );
    }
    let build = if has_switches() {
        "a build with switches"
    } else {
        "a normal build, which has no switches"
    };
    let _ = write!(
        text,
        "\nattack: {} tried in {build}: {} stopped, {} succeeded, {} broken; {} skipped",
        verdict.stopped + verdict.succeeded + verdict.broken,
        verdict.stopped,
        verdict.succeeded,
        verdict.broken,
        verdict.skipped
    );
    text
}

/// The same in JSON.
pub(crate) fn json(tries: &[Try], verdict: &Verdict) -> Result<String> {
    let cases: Vec<_> = tries
        .iter()
        .map(|tried| {
            let (outcome, what) = match &tried.ended {
                Ok(outcome) => (outcome.word(), outcome.what().to_owned()),
                Err(error) => ("broken", format!("{error:#}")),
            };
            let controls: Vec<&str> = tried.case.controls.iter().map(|it| it.name()).collect();
            let without: Vec<&str> = tried.without.iter().map(|it| it.name()).collect();
            json!({
                "row": tried.case.row, "name": tried.case.name, "about": tried.case.about,
                "controls": controls, "without": without, "outcome": outcome, "what": what,
                "took_ms": tried.took.as_millis(),
            })
        })
        .collect();
    Ok(serde_json::to_string_pretty(&json!({
        "switches": has_switches(),
        "stopped": verdict.stopped, "succeeded": verdict.succeeded,
        "skipped": verdict.skipped, "broken": verdict.broken,
        "as_it_must_be": verdict.as_it_must_be,
        "cases": cases,
    }))?)
}
