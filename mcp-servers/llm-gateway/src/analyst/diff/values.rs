//! Finds numbers that a diff changes, and what they are for: limits, times, sizes.

use serde::{Deserialize, Serialize};

use super::{
    Ability, inert,
    patch::{Line, Mark, Patch},
};
use crate::analyst::words::{short, words};

/// What a number is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Topic {
    /// How long to wait for an answer.
    Timeout,
    /// How long something is kept.
    Lifetime,
    /// How often something happens.
    Interval,
    /// How often a failed call is made again.
    Retries,
    /// How much is done at once.
    Batch,
    /// How much of something limited there is.
    Limit,
    /// Anything else.
    Other,
}

/// Numbers that changed.
pub(crate) fn abilities(patch: &Patch) -> Vec<Ability> {
    let mut found = Vec::new();
    for hunk in &patch.hunks {
        let of = |mark: Mark| -> Vec<Valued> {
            hunk.iter()
                .filter(|line| line.mark == mark && !line.is_comment())
                .filter(|line| !inert::is_report(&line.text))
                .filter_map(valued)
                .collect()
        };
        let mut old = of(Mark::Removed);
        for new in of(Mark::Added) {
            let pair = old.iter().position(|old| old.skeleton == new.skeleton);
            let from = pair.map(|at| old.remove(at));
            if from
                .as_ref()
                .is_some_and(|from| (from.value - new.value).abs() < 1e-9)
            {
                continue;
            }
            // A number without a predecessor matters only where it names what it limits.
            if from.is_none() && (new.topic == Topic::Other || !new.assigns) {
                continue;
            }
            found.push(ability(
                patch,
                &new,
                from.map(|from| from.value),
                Some(new.value),
            ));
        }
        for gone in old {
            if gone.topic != Topic::Other && gone.assigns {
                found.push(ability(patch, &gone, Some(gone.value), None));
            }
        }
    }
    found
}

fn ability(patch: &Patch, named: &Valued, from: Option<f64>, to: Option<f64>) -> Ability {
    Ability::SetsValue {
        path: patch.path.clone(),
        key: named.key.clone(),
        topic: named.topic,
        from,
        to,
        line: short(&named.line, 90),
    }
}

struct Valued {
    skeleton: String,
    key: String,
    topic: Topic,
    value: f64,
    assigns: bool,
    line: String,
}

/// The first number of a line that is no part of a name, its place and its unit.
struct Number<'a> {
    start: usize,
    end: usize,
    value: f64,
    unit: &'a str,
}

const UNITS: &[&str] = &[
    "ms", "s", "sec", "secs", "seconds", "m", "min", "minutes", "h", "hours", "d", "mb", "gb",
    "mi", "gi", "kb", "ki",
];

fn number(text: &str) -> Option<Number<'_>> {
    let bytes = text.as_bytes();
    let name = |at: usize| bytes[at].is_ascii_alphanumeric() || bytes[at] == b'_';
    let start = (0..bytes.len()).find(|at| {
        bytes[*at].is_ascii_digit() && (*at == 0 || !(name(at - 1) || bytes[at - 1] == b'.'))
    })?;
    let digit = |at: &usize| bytes[*at].is_ascii_digit() || b"_.".contains(&bytes[*at]);
    let end = (start..bytes.len())
        .find(|at| !digit(at))
        .unwrap_or(bytes.len());
    let digits = text[start..end].trim_end_matches(['.', '_']);
    let value = digits.replace('_', "").parse().ok()?;
    let after = start + digits.len();
    let rest = text[after..].trim_start();
    let unit: &str = rest
        .split(|letter: char| !letter.is_alphanumeric())
        .next()
        .filter(|unit| UNITS.contains(&unit.to_lowercase().as_str()))
        .unwrap_or_default();
    let end = if unit.is_empty() {
        after
    } else {
        text.len() - rest.len() + unit.len()
    };
    Some(Number {
        start,
        end,
        value,
        unit,
    })
}

fn valued(line: &Line) -> Option<Valued> {
    let text = without_remark(line.text.trim());
    let found = number(text)?;
    let value = found.value * scale(found.unit, &text.to_lowercase());
    let mut skeleton = format!("{}#{}", &text[..found.start], &text[found.end..]);
    for unit in [
        "from_secs",
        "from_millis",
        "from_micros",
        "from_mins",
        "time.second",
        "time.millisecond",
        "time.minute",
        "ofseconds",
        "ofmillis",
        "ofminutes",
    ] {
        skeleton = skeleton.to_lowercase().replace(unit, "from_#");
    }
    let before = &text[..found.start];
    let key = key(before).unwrap_or_else(|| short(before, 40));
    let assigns = ['=', ':', '('].iter().any(|sign| before.contains(*sign));
    Some(Valued {
        skeleton,
        topic: topic(&key, before),
        key,
        value,
        assigns,
        line: text.to_owned(),
    })
}

/// A line without the remark at its end.
fn without_remark(text: &str) -> &str {
    [" #", " //", "\t#", "\t//"]
        .iter()
        .filter_map(|mark| text.find(mark))
        .min()
        .map_or(text, |at| text[..at].trim_end())
}

/// What one unit is in the base unit: milliseconds for times, megabytes for sizes.
fn scale(unit: &str, line: &str) -> f64 {
    let named = |needles: &[&str]| needles.iter().any(|needle| line.contains(needle));
    match unit.to_lowercase().as_str() {
        "ms" => 1.0,
        "s" | "sec" | "secs" | "seconds" => 1_000.0,
        "m" | "min" | "minutes" => 60_000.0,
        "h" | "hours" => 3_600_000.0,
        "d" => 86_400_000.0,
        "gb" | "gi" => 1_024.0,
        "kb" | "ki" => 1.0 / 1_024.0,
        _ if named(&[
            "from_secs",
            "time.second",
            "ofseconds",
            "_secs",
            "_seconds",
            "seconds=",
        ]) =>
        {
            1_000.0
        }
        _ if named(&["from_mins", "time.minute", "ofminutes"]) => 60_000.0,
        _ => 1.0,
    }
}

/// The last name before the number that is not a way to write a unit.
fn key(before: &str) -> Option<String> {
    let mut names: Vec<&str> = before
        .split(|letter: char| !(letter.is_alphanumeric() || "_-.".contains(letter)))
        .filter(|name| name.chars().next().is_some_and(char::is_alphabetic))
        .collect();
    names.retain(|name| {
        let low = name.to_lowercase();
        ![
            "duration",
            "from_secs",
            "from_millis",
            "from_micros",
            "from_mins",
            "time",
            "let",
            "const",
            "static",
            "var",
            "mut",
            "pub",
            "u8",
            "u16",
            "u32",
            "u64",
            "usize",
            "i32",
            "i64",
            "int",
            "f64",
            "some",
            "timedelta",
            "duration.ofseconds",
            "duration.ofmillis",
            "final",
            "seconds",
            "milliseconds",
            "value",
            "new",
            "std.time",
            "default",
        ]
        .contains(&low.as_str())
    });
    names.last().map(|name| (*name).to_owned())
}

fn topic(key: &str, before: &str) -> Topic {
    let of = |text: &str| {
        let found = words(text);
        let has = |wanted: &[&str]| found.iter().any(|word| wanted.contains(&word.as_str()));
        if has(&["timeout", "deadline", "timeouts"]) && !has(&["idle"]) {
            Topic::Timeout
        } else if has(&["retry", "retries", "attempts", "backoff"]) {
            Topic::Retries
        } else if has(&[
            "ttl",
            "expiry",
            "expires",
            "expire",
            "expiration",
            "lifetime",
            "age",
            "idle",
            "retention",
            "keepalive",
        ]) {
            Topic::Lifetime
        } else if has(&[
            "interval",
            "period",
            "poll",
            "every",
            "refresh",
            "tick",
            "frequency",
        ]) {
            Topic::Interval
        } else if has(&["batch", "page", "chunk", "prefetch"]) {
            Topic::Batch
        } else if has(&[
            "max",
            "limit",
            "size",
            "capacity",
            "quota",
            "concurrency",
            "permits",
            "pool",
            "workers",
            "threads",
            "replicas",
            "connections",
            "conns",
            "memory",
            "cpu",
            "burst",
            "slots",
            "rate",
        ]) {
            Topic::Limit
        } else {
            Topic::Other
        }
    };
    let named = of(key);
    if named == Topic::Other {
        of(before)
    } else {
        named
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(diff: &str) -> Vec<(Topic, Option<f64>, Option<f64>)> {
        abilities(&Patch::parse("conf/app.yaml", diff))
            .into_iter()
            .filter_map(|ability| {
                let Ability::SetsValue {
                    topic, from, to, ..
                } = ability
                else {
                    return None;
                };
                Some((topic, from, to))
            })
            .collect()
    }

    #[test]
    fn numbers_are_paired_and_named_for_what_they_limit() {
        for (diff, topic, from, to) in [
            (
                "-max_connections: 50\n+max_connections: 5\n",
                Topic::Limit,
                50.0,
                5.0,
            ),
            (
                "-cache_ttl: 300s\n+cache_ttl: 3s\n",
                Topic::Lifetime,
                300_000.0,
                3_000.0,
            ),
            (
                "-let timeout = Duration::from_secs(2);\n+let timeout = Duration::from_millis(50);\n",
                Topic::Timeout,
                2_000.0,
                50.0,
            ),
            (
                "-MaxConnIdleTime: 5\n+MaxConnIdleTime: 30\n",
                Topic::Lifetime,
                5.0,
                30.0,
            ),
            (
                "-const RETRIES: u32 = 2;\n+const RETRIES: u32 = 20;\n",
                Topic::Retries,
                2.0,
                20.0,
            ),
        ] {
            assert_eq!(found(diff), [(topic, Some(from), Some(to))], "{diff}");
        }
    }

    #[test]
    fn a_line_that_keeps_its_number_changes_no_value() {
        assert!(found("-limit: 5  # old\n+limit: 5  # new\n").is_empty());
        assert!(found("+total += 1\n").is_empty());
    }
}
