//! Any sender that can sign: HMAC-SHA256 with a time, or over the body alone; JSON pointers say
//! where the body keeps what we need.
//!
//! Signature headers, the first that is there decides:
//! - `X-Nightshift-Signature: t=<unix seconds>,v1=<hex>` over `<t>.<body>`, at most 5 minutes old
//! - `X-Signature-256` or `X-Hub-Signature-256: sha256=<hex>` over the body

use chrono::{DateTime, TimeDelta, Utc};
use nightshift_controls::{Control, holds};
use nightshift_domain::alert::{AlertStatus, Severity, Signal};
use secrecy::SecretString;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{
    Content, Delivery, Reading, Source, bounded_key, mac,
    text::{bounded, line_at, link_at},
};

/// How far a signed time may be from ours, either way.
const WINDOW: TimeDelta = TimeDelta::minutes(5);

const TIMED: &str = "x-nightshift-signature";
const UNTIMED: [&str; 2] = ["x-signature-256", "x-hub-signature-256"];

/// A sender without a source of its own.
pub(super) struct Generic;

impl Source for Generic {
    fn verify(&self, delivery: &Delivery<'_>, secrets: &[SecretString]) -> bool {
        if delivery.headers.contains_key(TIMED) {
            // Never fall back: a sender that signs the time wants the time checked.
            return verify_timed(delivery, secrets);
        }
        let Some(name) = UNTIMED
            .into_iter()
            .find(|&name| delivery.headers.contains_key(name))
        else {
            mac::decoy(delivery.body);
            return false;
        };
        let signature = delivery
            .header(name)
            .and_then(|value| value.strip_prefix("sha256="));
        mac::any_match(secrets, &[delivery.body], signature.into_iter())
    }

    fn read(&self, delivery: &Delivery<'_>, mapping: Option<&Value>) -> Reading {
        // Where the signature holds no time, only the bytes can tell a replay from a new delivery.
        let delivery_key = match delivery.header("x-delivery-id") {
            Some(id) if delivery.headers.contains_key(TIMED) && !id.is_empty() => bounded_key(id),
            _ => delivery.digest_key(),
        };
        let content = match serde_json::from_slice(delivery.body) {
            Ok(body) => read_body(&body, mapping, delivery.now),
            Err(error) => Content::Malformed {
                why: format!("the body is not JSON: {error}"),
            },
        };
        Reading {
            delivery_key,
            content,
        }
    }
}

fn verify_timed(delivery: &Delivery<'_>, secrets: &[SecretString]) -> bool {
    let value = delivery.header(TIMED).unwrap_or_default();
    let fields = || {
        value
            .split(',')
            .filter_map(|field| field.trim().split_once('='))
    };
    let time = fields()
        .find_map(|(name, value)| (name == "t").then_some(value))
        .unwrap_or("0");
    let signatures = fields().filter_map(|(name, value)| (name == "v1").then_some(value));
    let signed = mac::any_match(secrets, &[time.as_bytes(), b".", delivery.body], signatures);
    let at = time
        .parse()
        .ok()
        .and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    signed
        && at.is_some_and(|at: DateTime<Utc>| {
            (delivery.now - at).abs() <= WINDOW || !holds(Control::WebhookAge)
        })
}

/// Where a body keeps each thing: the endpoint's own pointer, or the default.
struct Mapping<'a>(Option<&'a Value>);

impl<'a> Mapping<'a> {
    fn pointer(&self, field: &'static str, default: &'static str) -> &'a str {
        self.0
            .and_then(|mapping| mapping[field].as_str())
            .unwrap_or(default)
    }
}

fn read_body(body: &Value, mapping: Option<&Value>, now: DateTime<Utc>) -> Content {
    let mapping = Mapping(mapping);
    let line = |field, default, max| line_at(body, &[mapping.pointer(field, default)], max);

    let pointer = mapping.pointer("title", "/title");
    let Some(title) = line_at(body, &[pointer], 300) else {
        return Content::Malformed {
            why: format!("the body has no title at {pointer}"),
        };
    };
    let service = line("service", "/service", 200);
    let source_key = match line("id", "/id", 2_000) {
        Some(id) => bounded_key(&id),
        None => fingerprint(&title, service.as_deref()),
    };
    let status = line("status", "/status", 40);
    let severity = line("severity", "/severity", 40);
    let fired_at = body
        .pointer(mapping.pointer("fired_at", "/fired_at"))
        .and_then(time);
    Content::Signal(Box::new(Signal {
        source_key,
        status: status.map_or(AlertStatus::Firing, |word| read_status(&word)),
        title,
        service,
        severity: severity.map_or(Severity::Warning, |word| read_severity(&word)),
        fired_at: fired_at.unwrap_or(now),
        link: link_at(body, &[mapping.pointer("link", "/link")]),
        details: bounded(body.as_object().cloned().unwrap_or_else(Map::new)),
    }))
}

/// Identity of an alert whose sender gives it none: what it is called and where it is.
fn fingerprint(title: &str, service: Option<&str>) -> String {
    let mut hash = Sha256::new();
    hash.update(title);
    hash.update([0]);
    hash.update(service.unwrap_or_default());
    format!("title:{}", hex::encode(hash.finalize()))
}

fn read_status(word: &str) -> AlertStatus {
    match word.to_ascii_lowercase().as_str() {
        "resolved" | "resolve" | "recovered" | "recovery" | "ok" | "closed" | "close"
        | "normal" | "inactive" | "cleared" => AlertStatus::Resolved,
        _ => AlertStatus::Firing,
    }
}

fn read_severity(word: &str) -> Severity {
    match word.to_ascii_lowercase().as_str() {
        "critical" | "crit" | "fatal" | "emergency" | "page" | "disaster" | "p1" | "sev1" | "1" => {
            Severity::Critical
        }
        "high" | "error" | "major" | "p2" | "sev2" | "2" => Severity::High,
        "info" | "information" | "informational" | "low" | "debug" | "notice" | "p4" | "p5"
        | "sev4" | "sev5" | "4" | "5" => Severity::Info,
        _ => Severity::Warning,
    }
}

/// RFC 3339 text, or seconds or milliseconds since 1970.
fn time(value: &Value) -> Option<DateTime<Utc>> {
    if let Some(text) = value.as_str() {
        return text.parse().ok();
    }
    let number = value.as_i64()?;
    // Seconds reach eleven digits in the year 5138.
    if number.abs() < 100_000_000_000 {
        DateTime::from_timestamp(number, 0)
    } else {
        DateTime::from_timestamp_millis(number)
    }
    .filter(|time| (1970..10_000).contains(&chrono::Datelike::year(time)))
}

#[cfg(test)]
#[path = "generic_tests.rs"]
mod tests;
