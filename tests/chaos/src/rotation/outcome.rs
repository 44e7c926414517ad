//! What came of a rotation.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use super::{ends::Run, keys::Published, refusals::Refusals};
use crate::faults::Dead;

/// How often something was killed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Struck {
    /// Times that it was to be away.
    pub times: usize,
    /// Kills.
    pub kills: usize,
    /// How long it was gone in all.
    pub gone: Duration,
}

impl Struck {
    pub(crate) fn add(&mut self, dead: Dead) {
        self.times += 1;
        self.kills += dead.kills;
        self.gone += dead.gone;
    }
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct RotationOutcome {
    pub(crate) wanted: usize,
    pub(crate) live: usize,
    pub(crate) live_after: usize,
    pub(crate) worked_on: usize,
    pub(crate) runs: Vec<Run>,
    pub(crate) published: Published,
    /// What was killed.
    pub struck: BTreeMap<&'static str, Struck>,
    pub(crate) refusals: Refusals,
    pub(crate) requests: usize,
    pub(crate) asked_again: usize,
    pub(crate) took: Duration,
    pub(crate) left: Option<String>,
}

impl RotationOutcome {
    /// Requests that supervisors sent again, as nobody had looked at them.
    #[must_use]
    pub const fn repeated(&self) -> usize {
        self.refusals.repeated
    }

    /// What must not be, one line each.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        let mut found: Vec<String> = self.runs.iter().filter_map(Run::wrong).collect();
        let counts = [
            (self.runs.len(), "alerts are known"),
            (self.live, "runs were live at once before it"),
            (self.live_after, "runs were live at once after it"),
            (self.worked_on, "runs worked on once the old key was gone"),
        ];
        for (count, what) in counts {
            if count != self.wanted {
                found.push(format!("{count} of {} {what}", self.wanted));
            }
        }
        found.extend(self.published.wrong());
        let lines = |what: &str, lines: &[String]| -> Vec<String> {
            let sums = Refusals::summed(lines);
            sums.iter()
                .map(|(line, times)| format!("{what}, {times} times: {line}"))
                .collect()
        };
        found.extend(lines("refused", &self.refusals.refused));
        found.extend(lines("an agent saw", &self.refusals.surfaced));
        found.extend(
            self.left
                .as_ref()
                .map(|left| format!("something was left: {left}")),
        );
        found
    }

    fn reports(&self) -> usize {
        self.runs.iter().filter(|run| run.wrong().is_none()).count()
    }

    /// The figures for people; the last line is the verdict.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let (refusals, wanted) = (&self.refusals, self.wanted);
        let sizes: Vec<String> = self
            .published
            .0
            .iter()
            .map(|set| set.len().to_string())
            .collect();
        let row = |what: &str, value: String| format!("{what:<52} {value}");
        let mut lines = vec![
            row(
                "runs live at once, before and after",
                format!("{}, {}", self.live, self.live_after),
            ),
            row("keys published, one set after the other", sizes.join(", ")),
            row(
                "runs that worked on once the old key was gone",
                format!("{} of {wanted}", self.worked_on),
            ),
            row(
                "reports by agents at their first start",
                format!("{} of {wanted}", self.reports()),
            ),
        ];
        for (name, struck) in &self.struck {
            let gone = struck.gone.as_secs_f64();
            let value = format!(
                "{} times, {} kills, gone {gone:.1} s",
                struck.times, struck.kills
            );
            lines.push(row(&format!("{name} away"), value));
        }
        let counts = [
            ("renewals of tokens", refusals.renewals),
            (
                "attempts of these that had no answer",
                refusals.renewals_again,
            ),
            ("requests that a supervisor repeated", refusals.repeated),
            ("requests that a server put off", refusals.put_off),
            ("requests to the model", self.requests),
            (
                "answers of it that did not arrive, and were asked again",
                self.asked_again,
            ),
            (
                "attempts of harnesses that the model did not answer",
                refusals.model_again,
            ),
            ("requests refused that should pass", refusals.refused.len()),
            ("failures that an agent saw", refusals.surfaced.len()),
        ];
        lines.extend(counts.map(|(what, count)| row(what, count.to_string())));
        let violations = self.violations();
        lines.extend(
            violations
                .iter()
                .map(|violation| format!("VIOLATION {violation}")),
        );
        let took = self.took.as_secs();
        lines.push(format!(
            "{wanted} runs, {took} s, {} violations",
            violations.len()
        ));
        lines
    }

    /// The same as data.
    #[must_use]
    pub fn json(&self) -> Value {
        let refusals = &self.refusals;
        let struck = |(name, struck): (&&str, &Struck)| {
            let told = json!({
                "times": struck.times, "kills": struck.kills, "gone_s": struck.gone.as_secs_f64(),
            });
            ((*name).to_owned(), told)
        };
        let struck: serde_json::Map<String, Value> = self.struck.iter().map(struck).collect();
        let sizes: Vec<usize> = self
            .published
            .0
            .iter()
            .map(std::collections::BTreeSet::len)
            .collect();
        json!({
            "runs": self.wanted,
            "live_before": self.live,
            "live_after": self.live_after,
            "worked_on": self.worked_on,
            "reports_at_first_start": self.reports(),
            "published": sizes,
            "killed": struck,
            "renewals": refusals.renewals,
            "renewals_again": refusals.renewals_again,
            "repeated": refusals.repeated,
            "put_off": refusals.put_off,
            "model_requests": self.requests,
            "model_asked_again": self.asked_again,
            "model_no_answer": refusals.model_again,
            "refused": refusals.refused.len(),
            "surfaced": refusals.surfaced.len(),
            "took_s": self.took.as_secs(),
            "violations": self.violations(),
        })
    }
}
