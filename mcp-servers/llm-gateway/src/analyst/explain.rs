//! Whether a diff can produce a signature. A change is convicted only by this, never by its nearness.

use std::collections::BTreeSet;

use super::{
    diff::{Ability, Reading, Topic},
    measure::Complaint,
    number::{millis, plain},
    signature::{Diagnosis, Signature},
    words::{telling, words},
};

/// How well an ability explains a signature, and how it does.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Explained {
    /// From 0 to 1.
    pub(crate) score: f64,
    /// In words, continuing "the commit …".
    pub(crate) how: String,
}

/// A diff that explains less than this does not explain.
pub(crate) const ENOUGH: f64 = 0.55;

/// The best explanation among the abilities of a commit that pass the filter.
pub(crate) fn explain(
    diagnosis: &Diagnosis,
    reading: &Reading,
    everyday: &BTreeSet<String>,
    concerns: &dyn Fn(&Ability) -> bool,
) -> Option<Explained> {
    reading
        .abilities
        .iter()
        .filter(|ability| concerns(ability))
        .filter_map(|ability| {
            let score = score(diagnosis, reading, ability, everyday)?;
            Some(Explained {
                score,
                how: ability.told(),
            })
        })
        .filter(|explained| explained.score >= ENOUGH)
        .max_by(|a, b| a.score.total_cmp(&b.score))
}

fn score(
    diagnosis: &Diagnosis,
    reading: &Reading,
    ability: &Ability,
    everyday: &BTreeSet<String>,
) -> Option<f64> {
    match &diagnosis.signature {
        Signature::FanOut {
            callee,
            before,
            after,
        } => fan_out(reading, ability, callee, after / before.max(0.5)),
        Signature::Exhaustion {
            what,
            gradual,
            limit_fell,
            ..
        } => exhaustion(ability, what, *gradual, *limit_fell),
        Signature::Outside {
            p95_before,
            p95_after,
            errors_after,
            ..
        } => outside(ability, *p95_before, *p95_after, *errors_after),
        Signature::CacheMisses { .. } => cache_misses(ability),
        Signature::Errors {
            says,
            complaint,
            operation,
            ..
        } => errors(
            reading,
            ability,
            says.as_deref().unwrap_or_default(),
            *complaint,
            operation.as_deref().unwrap_or_default(),
            everyday,
        ),
        Signature::SlowStore { .. } => slow_store(ability),
        Signature::SelfTime { .. } => self_time(ability),
        Signature::Surge { .. } | Signature::Network { .. } | Signature::Unclear => None,
    }
}

fn fell(from: Option<f64>, to: Option<f64>) -> bool {
    matches!((from, to), (Some(from), Some(to)) if to < from) || (from.is_some() && to.is_none())
}

fn rose(from: Option<f64>, to: Option<f64>) -> bool {
    matches!((from, to), (Some(from), Some(to)) if to > from)
}

fn speaks_of_cache(path: &str, key: &str, line: &str) -> bool {
    [path, key, line].iter().any(|text| {
        words(text)
            .iter()
            .any(|word| word.starts_with("cache") || word == "memo" || word == "ttl")
    })
}

fn fan_out(reading: &Reading, ability: &Ability, callee: &str, times: f64) -> Option<f64> {
    let named = telling(callee)
        .iter()
        .any(|word| reading.words.contains(word));
    let bonus = if named { 0.05 } else { 0.0 };
    match ability {
        Ability::CallsInLoop { batch_removed, .. } => {
            Some(0.8 + bonus + if *batch_removed { 0.1 } else { 0.0 })
        }
        Ability::OneMoreCall { .. } if times <= 3.0 => Some(0.55 + bonus),
        Ability::SetsValue {
            topic,
            key,
            from,
            to,
            path,
            line,
        } => {
            let cached = speaks_of_cache(path, key, line);
            let (lower, higher) = (fell(*from, *to), rose(*from, *to));
            match topic {
                Topic::Lifetime | Topic::Limit if cached && lower => Some(0.8),
                Topic::Batch if lower => Some(0.75),
                Topic::Retries if higher => Some(0.65),
                Topic::Interval if lower => Some(0.6),
                Topic::Timeout
                | Topic::Lifetime
                | Topic::Interval
                | Topic::Retries
                | Topic::Batch
                | Topic::Limit
                | Topic::Other => None,
            }
        }
        Ability::Slows { line, .. } if speaks_of_cache("", "", line) => Some(0.7),
        Ability::OneMoreCall { .. }
        | Ability::KeepsResource { .. }
        | Ability::Grows { .. }
        | Ability::Fails { .. }
        | Ability::Slows { .. }
        | Ability::Dependency { .. }
        | Ability::Logic { .. } => None,
    }
}

fn exhaustion(ability: &Ability, what: &str, gradual: bool, limit_fell: bool) -> Option<f64> {
    let of = |wanted: &[&str]| {
        words(what)
            .iter()
            .any(|word| wanted.contains(&word.as_str()))
    };
    let stored = of(&["memory", "heap", "rss", "disk", "queue", "buffer", "bytes"]);
    match ability {
        Ability::KeepsResource { .. } => Some(if gradual { 0.9 } else { 0.8 }),
        Ability::Grows { .. } if stored => Some(0.8),
        Ability::SetsValue {
            topic: Topic::Limit,
            from,
            to,
            key,
            ..
        } if fell(*from, *to) => {
            let same = telling(key).intersection(&telling(what)).count() > 0;
            Some(0.75 + if limit_fell { 0.15 } else { 0.0 } + if same { 0.05 } else { 0.0 })
        }
        Ability::SetsValue {
            topic: Topic::Timeout,
            from,
            to,
            ..
        } if rose(*from, *to) => Some(0.55),
        Ability::CallsInLoop { .. } | Ability::Slows { .. } if !gradual => Some(0.55),
        Ability::SetsValue { .. }
        | Ability::Grows { .. }
        | Ability::CallsInLoop { .. }
        | Ability::OneMoreCall { .. }
        | Ability::Fails { .. }
        | Ability::Slows { .. }
        | Ability::Dependency { .. }
        | Ability::Logic { .. } => None,
    }
}

/// Only our own patience can make a healthy outside system look broken.
fn outside(ability: &Ability, p95_before: f64, p95_after: f64, errors: f64) -> Option<f64> {
    let Ability::SetsValue {
        topic: Topic::Timeout,
        from,
        to: Some(to),
        ..
    } = ability
    else {
        return None;
    };
    let impatient = *to <= 1.5 * p95_before.max(1.0) && p95_after <= 1.2 * to.max(1.0);
    (fell(*from, Some(*to)) && impatient && errors >= 0.02).then_some(0.85)
}

fn cache_misses(ability: &Ability) -> Option<f64> {
    if let Ability::SetsValue {
        topic,
        key,
        from,
        to,
        path,
        line,
    } = ability
    {
        let cached = speaks_of_cache(path, key, line);
        return match (fell(*from, *to), *topic == Topic::Lifetime, cached) {
            (true, true, true) => Some(0.9),
            (true, true, false) => Some(0.7),
            (true, false, true) if *topic == Topic::Limit => Some(0.85),
            _ => None,
        };
    }
    if let Ability::Slows { line, .. } | Ability::Logic { line, .. } = ability {
        return speaks_of_cache("", "", line).then_some(0.7);
    }
    None
}

fn errors(
    reading: &Reading,
    ability: &Ability,
    says: &str,
    complaint: Option<Complaint>,
    operation: &str,
    everyday: &BTreeSet<String>,
) -> Option<f64> {
    if let Ability::Dependency { name, .. } = ability {
        let said = words(says);
        let named = telling(name).iter().any(|word| said.contains(word));
        return named.then_some(0.9);
    }
    if let Ability::SetsValue {
        topic, from, to, ..
    } = ability
    {
        let fits = match complaint {
            Some(Complaint::Late) => *topic == Topic::Timeout && fell(*from, *to),
            Some(Complaint::Overload | Complaint::Exhausted) => {
                *topic == Topic::Limit && fell(*from, *to)
            }
            Some(Complaint::Credential | Complaint::Infrastructure | Complaint::Data) | None => {
                false
            }
        };
        if fits {
            return Some(0.85);
        }
    }
    if matches!(ability, Ability::Slows { .. } | Ability::CallsInLoop { .. })
        && complaint == Some(Complaint::Late)
    {
        return Some(0.6);
    }
    // Late answers, full queues and dead networks are not made by code that mentions the same words.
    if complaint.is_some_and(|complaint| complaint != Complaint::Data) {
        return None;
    }
    let low = says.to_lowercase();
    let quoted = reading
        .literals
        .iter()
        .any(|text| text.len() >= 10 && text.contains(' ') && low.contains(&fixed_part(text)));
    if quoted {
        return Some(0.9);
    }
    let shared: BTreeSet<String> = telling(says)
        .intersection(&reading.words)
        .filter(|word| !everyday.contains(*word))
        .cloned()
        .collect();
    let about = telling(operation)
        .iter()
        .any(|word| reading.words.contains(word) && !everyday.contains(word));
    let breaks = matches!(ability, Ability::Fails { .. });
    let changes = matches!(ability, Ability::Logic { .. } | Ability::SetsValue { .. }) || breaks;
    match shared.len() {
        0 | 1 if breaks && (about || shared.len() == 1) => Some(0.6),
        2 if changes => Some(if breaks { 0.75 } else { 0.65 }),
        3.. if changes => Some(if breaks { 0.85 } else { 0.75 }),
        _ => None,
    }
}

/// The longest part of a text in code that a running program writes as it stands.
fn fixed_part(text: &str) -> String {
    text.to_lowercase()
        .split(['{', '}', '%', '$'])
        .map(str::trim)
        .max_by_key(|part| part.len())
        .unwrap_or_default()
        .to_owned()
}

fn slow_store(ability: &Ability) -> Option<f64> {
    let asks = |line: &str| {
        let low = line.to_lowercase();
        [
            "select ", " where ", "order by", "group by", " join ", "like ", "index",
        ]
        .iter()
        .any(|part| low.contains(part))
    };
    match ability {
        Ability::Slows { line, .. } => Some(if asks(line) { 0.85 } else { 0.6 }),
        Ability::Logic { line, .. } | Ability::OneMoreCall { line, .. } => {
            asks(line).then_some(0.65)
        }
        Ability::SetsValue {
            topic, from, to, ..
        } => {
            let larger = matches!(topic, Topic::Batch | Topic::Limit) && rose(*from, *to);
            larger.then_some(0.55)
        }
        Ability::CallsInLoop { .. }
        | Ability::KeepsResource { .. }
        | Ability::Grows { .. }
        | Ability::Fails { .. }
        | Ability::Dependency { .. } => None,
    }
}

fn self_time(ability: &Ability) -> Option<f64> {
    match ability {
        Ability::Slows { .. } => Some(0.8),
        Ability::CallsInLoop { .. } => Some(0.6),
        Ability::SetsValue {
            topic, from, to, ..
        } => (*topic == Topic::Batch && rose(*from, *to)).then_some(0.55),
        Ability::OneMoreCall { .. }
        | Ability::KeepsResource { .. }
        | Ability::Grows { .. }
        | Ability::Fails { .. }
        | Ability::Dependency { .. }
        | Ability::Logic { .. } => None,
    }
}

/// What the signature would need, in words that continue "cannot …".
pub(crate) fn needed(diagnosis: &Diagnosis) -> String {
    let component = &diagnosis.component;
    match &diagnosis.signature {
        Signature::FanOut {
            callee,
            before,
            after,
        } => format!(
            "make one request of {component} call {callee} {} times instead of {}",
            plain(*after),
            plain(*before)
        ),
        Signature::Exhaustion { what, gradual, .. } => {
            let pace = if *gradual { "little by little " } else { "" };
            format!("{pace}use up what `{what}` of {component} shows")
        }
        Signature::Outside {
            caller,
            p95_before,
            p95_after,
            ..
        } => format!(
            "make {component} answer {caller} in {} instead of {}, or with failures",
            millis(*p95_after),
            millis(*p95_before)
        ),
        Signature::Surge { times, .. } => format!("bring {} times the requests", plain(*times)),
        Signature::CacheMisses { metric, .. } => format!("move `{metric}` of {component}"),
        Signature::Errors {
            says: Some(says), ..
        } => format!("make {component} say “{says}”"),
        Signature::Errors { .. } => format!("make {component} fail"),
        Signature::SlowStore {
            before_ms,
            after_ms,
            ..
        } => format!(
            "make {component} answer in {} instead of {}",
            millis(*after_ms),
            millis(*before_ms)
        ),
        Signature::Network { from, .. } => {
            format!("lose time between {from} and {component}")
        }
        Signature::SelfTime { operation, .. } => format!("slow `{operation}` of {component}"),
        Signature::Unclear => "be tied to a symptom that was seen".to_owned(),
    }
}
