//! Which log templates are new or changed most between before and after.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use chrono::{DateTime, TimeDelta, Utc};
use nightshift_protocol::tools::telemetry::{LogTemplate, Windows};

use crate::{
    analysis::before_and_after,
    model::{Interval, Level, LogRecord},
    stats::{number_u64, rounded},
    templates::{Miner, TemplateId},
};

/// Characters of a sample line that are shown.
const SAMPLE_CHARS: usize = 400;

/// Traces that are named for a template.
const TRACES: usize = 3;

/// A template has changed when its counts differ by this many standard deviations of chance.
const SIGNIFICANT: f64 = 3.0;

#[derive(Debug)]
struct Tally<'a> {
    before: u64,
    after: u64,
    first_seen: DateTime<Utc>,
    sample: &'a LogRecord,
    traces: Vec<&'a str>,
}

/// Compares templates; `covered` are the stretches that there are logs for. Returns how many lines
/// were read, and the templates that are new or changed: failures first, most changed first.
#[must_use]
pub fn compare<'a>(
    lines: impl Iterator<Item = &'a LogRecord>,
    windows: &Windows,
    covered: &[Interval],
) -> (u64, Vec<LogTemplate>) {
    let mut read = 0;
    let mut miners: HashMap<(Arc<str>, Level), Miner> = HashMap::new();
    let mut tallies: BTreeMap<(Arc<str>, Level, TemplateId), Tally<'a>> = BTreeMap::new();
    let (before, after) = before_and_after(windows);
    for line in lines.filter(|line| before.from <= line.at && line.at <= after.to) {
        read += 1;
        let miner = miners
            .entry((Arc::clone(&line.service), line.level))
            .or_default();
        let template = miner.learn(&line.message);
        let late = line.at >= windows.onset;
        let tally = tallies
            .entry((Arc::clone(&line.service), line.level, template))
            .or_insert(Tally {
                before: 0,
                after: 0,
                first_seen: line.at,
                sample: line,
                traces: Vec::new(),
            });
        tally.count(line, late);
    }
    let minutes = |window: Interval| {
        let length: TimeDelta = covered
            .iter()
            .filter_map(|one| one.overlap(&window))
            .map(|both| both.length())
            .sum();
        (length.as_seconds_f64() / 60.0).max(1.0 / 60.0)
    };
    let minutes = (minutes(before), minutes(after));
    let mut changed: Vec<(Rank, LogTemplate)> = tallies
        .into_iter()
        .filter_map(|((service, level, template), tally)| {
            let rank = rank(level, &tally, minutes)?;
            let text = miners.get(&(Arc::clone(&service), level))?.text(template);
            Some((rank, tally.shown(&service, level, &text, minutes)))
        })
        .collect();
    changed.sort_by(|(a, left), (b, right)| {
        (a.group.cmp(&b.group))
            .then(b.change.total_cmp(&a.change))
            .then_with(|| (&left.service, &left.template).cmp(&(&right.service, &right.template)))
    });
    (
        read,
        changed.into_iter().map(|(_, template)| template).collect(),
    )
}

impl<'a> Tally<'a> {
    fn count(&mut self, line: &'a LogRecord, late: bool) {
        if late {
            if self.after == 0 {
                // From after the onset the sample and the traces say more.
                self.sample = line;
                self.traces.clear();
            }
            self.after += 1;
        } else {
            self.before += 1;
        }
        if let Some(trace) = line.trace_id.as_deref()
            && (late || self.after == 0)
            && self.traces.len() < TRACES
            && !self.traces.contains(&trace)
        {
            self.traces.push(trace);
        }
    }

    fn shown(
        &self,
        service: &str,
        level: Level,
        template: &str,
        minutes: (f64, f64),
    ) -> LogTemplate {
        LogTemplate {
            service: service.to_owned(),
            level: level.as_str().to_owned(),
            template: template.chars().take(SAMPLE_CHARS).collect(),
            before_per_minute: rounded(number_u64(self.before) / minutes.0),
            after_per_minute: rounded(number_u64(self.after) / minutes.1),
            first_seen: self.first_seen,
            sample: self.sample.message.chars().take(SAMPLE_CHARS).collect(),
            trace_ids: self.traces.iter().map(|&trace| trace.to_owned()).collect(),
        }
    }
}

struct Rank {
    group: u8,
    change: f64,
}

/// `None` where nothing changed beyond chance.
fn rank(level: Level, tally: &Tally<'_>, minutes: (f64, f64)) -> Option<Rank> {
    let (before, after) = (number_u64(tally.before), number_u64(tally.after));
    // What the other window leads us to expect in this one, with half a line of doubt. Traffic
    // swings by more than chance: some 7 % of a large count are usual.
    let expected = (before + 0.5) * minutes.1 / minutes.0;
    let change = (after - expected) / (expected + 0.005 * expected.powi(2)).sqrt();
    let new = tally.before == 0;
    let grown = change >= SIGNIFICANT && after >= 1.5 * expected;
    let gone = {
        let expected = (after + 0.5) * minutes.0 / minutes.1;
        (before - expected) / expected.sqrt() >= SIGNIFICANT && before >= 1.5 * expected
    };
    let group = match (level, new || grown, gone) {
        (Level::Error, true, _) => 0,
        (Level::Warn, true, _) => 1,
        (Level::Info | Level::Debug, true, _) if new => 2,
        (Level::Info | Level::Debug, true, _) | (_, false, true) => 3,
        (_, false, false) => return None,
    };
    Some(Rank {
        group,
        change: change.abs(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(seconds: i64, level: Level, message: &str, trace: Option<&str>) -> LogRecord {
        LogRecord {
            at: DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds),
            service: "svc".into(),
            level,
            message: message.into(),
            trace_id: trace.map(Into::into),
            span_id: None,
            fields: serde_json::Map::new(),
        }
    }

    /// Ten minutes before, five after.
    fn diff(lines: &[LogRecord]) -> (u64, Vec<LogTemplate>) {
        let at = |seconds| DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds);
        let windows = Windows {
            before_from: at(0),
            onset: at(600),
            after_to: at(900),
            onset_estimated: false,
        };
        let covered = [Interval {
            from: at(0),
            to: at(900),
        }];
        compare(lines.iter(), &windows, &covered)
    }

    #[test]
    fn new_failures_come_first_then_new_warnings_then_news_then_the_rest() {
        let mut lines = Vec::new();
        for second in 0..900 {
            lines.push(line(
                second,
                Level::Info,
                &format!("served page {second}"),
                None,
            ));
            if second >= 600 {
                lines.push(line(
                    second,
                    Level::Info,
                    "rebuilding index from scratch",
                    None,
                ));
            }
        }
        for second in [610, 620] {
            lines.push(line(
                second,
                Level::Warn,
                &format!("retrying in {second}ms"),
                None,
            ));
            let trace = format!("t{second}");
            let text = format!("query 'q{second}' timed out");
            lines.push(line(second, Level::Error, &text, Some(&trace)));
        }
        lines.sort_by_key(|line| line.at);

        let (read, templates) = diff(&lines);

        assert_eq!(read, 900 + 300 + 4);
        let texts: Vec<&str> = templates.iter().map(|one| one.template.as_str()).collect();
        assert_eq!(
            texts,
            [
                "query <*> timed out",
                "retrying in <*>ms",
                "rebuilding index from scratch"
            ],
            "steady traffic is no difference"
        );
        assert_eq!(templates[0].sample, "query 'q610' timed out");
        assert_eq!(templates[0].trace_ids, ["t610", "t620"]);
        assert!((templates[0].after_per_minute - 0.4).abs() < 1e-9);
        assert!(templates[0].before_per_minute.abs() < 1e-9);
        assert_eq!(
            templates[0].first_seen,
            DateTime::UNIX_EPOCH + TimeDelta::seconds(610)
        );
    }

    #[test]
    fn a_failure_as_frequent_as_ever_is_no_difference() {
        let lines: Vec<_> = (0..90)
            .map(|n| line(n * 10, Level::Error, "known flake", None))
            .collect();
        assert_eq!(diff(&lines).1, []);
    }

    #[test]
    fn a_failure_that_became_frequent_is_shown_with_both_rates() {
        let mut lines: Vec<_> = (0..10)
            .map(|n| line(n * 60, Level::Error, "flake", None))
            .collect();
        lines.extend((600..900).map(|second| line(second, Level::Error, "flake", Some("late"))));
        let (_, templates) = diff(&lines);

        assert_eq!(templates.len(), 1);
        assert!((templates[0].before_per_minute - 1.0).abs() < 1e-9);
        assert!((templates[0].after_per_minute - 60.0).abs() < 1e-9);
        assert_eq!(templates[0].trace_ids, ["late"]);
    }

    #[test]
    fn a_line_that_stopped_is_a_difference() {
        let lines: Vec<_> = (0..600)
            .map(|n| line(n, Level::Info, "heartbeat sent", None))
            .collect();
        let (_, templates) = diff(&lines);
        assert_eq!(templates.len(), 1);
        assert!(templates[0].after_per_minute.abs() < 1e-9);
    }

    #[test]
    fn the_same_lines_give_the_same_answer() {
        let lines: Vec<_> = (0..500)
            .map(|n| {
                line(
                    n * 2 - n % 7,
                    Level::Error,
                    &format!("job {} of {n}", n % 5),
                    None,
                )
            })
            .collect();
        assert_eq!(diff(&lines), diff(&lines));
    }
}
