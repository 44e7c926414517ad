//! PagerDuty's V3 webhooks: HMAC-SHA256 of the raw body, one event a body.
//!
//! <https://developer.pagerduty.com/docs/webhooks/v3-overview/>. A subscription whose deliveries
//! are refused with most 4xx codes is switched off after three of them, so whatever is authentic is
//! kept and answered with 2xx, understood or not.

use chrono::{DateTime, Utc};
use nightshift_domain::alert::{AlertStatus, Severity, Signal};
use secrecy::SecretString;
use serde_json::{Map, Value};

use super::{
    Content, Delivery, Reading, Source, bounded_key, mac,
    text::{bounded, line_at, link_at, one_line},
};

/// A PagerDuty subscription.
pub(super) struct PagerDuty;

impl Source for PagerDuty {
    fn verify(&self, delivery: &Delivery<'_>, secrets: &[SecretString]) -> bool {
        // During a rotation one header holds several signatures. Only version 1 exists; a later
        // one must not be mistaken for it.
        let signatures = delivery
            .headers
            .get_all("x-pagerduty-signature")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|signature| signature.trim().strip_prefix("v1="));
        mac::any_match(secrets, &[delivery.body], signatures)
    }

    fn read(&self, delivery: &Delivery<'_>, _mapping: Option<&Value>) -> Reading {
        let body = serde_json::from_slice(delivery.body).unwrap_or(Value::Null);
        let event = &body["event"];
        Reading {
            delivery_key: delivery_key(delivery, event),
            content: read_event(event, delivery.now),
        }
    }
}

/// The event's own id and what it is about. `X-Webhook-Id` names an attempt's delivery as well, but nobody
/// signed it: with it, whoever saw one delivery could present the same body as a new one. The
/// incident's id stands beside it so that a sender who re-uses event ids never hides an incident.
fn delivery_key(delivery: &Delivery<'_>, event: &Value) -> String {
    let text = |pointer| {
        event
            .pointer(pointer)
            .and_then(Value::as_str)
            .filter(|id| !id.is_empty())
    };
    let signed = text("/id").map(|id| match text("/data/id") {
        Some(about) => format!("{id}:{about}"),
        None => id.to_owned(),
    });
    let unsigned = || {
        delivery
            .header("x-webhook-id")
            .filter(|id| !id.is_empty())
            .map(str::to_owned)
    };
    signed
        .or_else(unsigned)
        .map_or_else(|| delivery.digest_key(), |key| bounded_key(&key))
}

fn read_event(event: &Value, now: DateTime<Utc>) -> Content {
    let Some(event_type) = event["event_type"].as_str() else {
        let why = "not a V3 event: the body has no text at /event/event_type".to_owned();
        return Content::Malformed { why };
    };
    let data = &event["data"];
    // `resource_type` says "incident" for notes as well; only `data.type` tells what `data` is.
    match (event_type, data["type"].as_str()) {
        ("pagey.ping", _) => ignored(event_type, None),
        (_, Some("incident")) => read_incident(event, event_type, data, now),
        // Notes, status updates, responders, field values: about an incident, but no news on
        // whether it still holds. A note on a resolved incident must not open it again.
        (_, Some(_)) => ignored(
            event_type,
            data.pointer("/incident/id").and_then(Value::as_str),
        ),
        (_, None) => {
            let why = format!(
                "{} has no text at /event/data/type",
                one_line(event_type, 80)
            );
            Content::Malformed { why }
        }
    }
}

fn ignored(event_type: &str, incident: Option<&str>) -> Content {
    let event = match incident {
        None => one_line(event_type, 100),
        Some(id) => format!("{} of {}", one_line(event_type, 100), one_line(id, 100)),
    };
    Content::Ignored { event }
}

fn read_incident(event: &Value, event_type: &str, data: &Value, now: DateTime<Utc>) -> Content {
    let Some(id) = data["id"].as_str().filter(|id| !id.is_empty()) else {
        return Content::Malformed {
            why: "the incident has no text at /event/data/id".to_owned(),
        };
    };
    let resolved = event_type == "incident.resolved" || data["status"] == "resolved";
    let status = if resolved {
        AlertStatus::Resolved
    } else {
        AlertStatus::Firing
    };
    let title = line_at(data, &["/title", "/summary"], 300)
        .unwrap_or_else(|| format!("PagerDuty incident {}", one_line(id, 100)));
    Content::Signal(Box::new(Signal {
        source_key: bounded_key(id),
        status,
        title,
        service: line_at(data, &["/service/summary"], 200),
        severity: severity(data),
        fired_at: fired_at(event, event_type, data).unwrap_or(now),
        link: link_at(data, &["/html_url"]),
        details: details(event_type, data),
    }))
}

/// When the incident began; where it was reopened, when that was.
fn fired_at(event: &Value, event_type: &str, data: &Value) -> Option<DateTime<Utc>> {
    let (occurred, created) = (&event["occurred_at"], &data["created_at"]);
    let order = if event_type == "incident.reopened" {
        [&data["reopened_at"], occurred, created]
    } else {
        [created, occurred, &Value::Null]
    };
    order
        .into_iter()
        .find_map(|time| time.as_str()?.parse().ok())
}

/// The account's own priority where it has one, else the urgency.
fn severity(data: &Value) -> Severity {
    let priority = data
        .pointer("/priority/summary")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let level = priority.trim().to_ascii_lowercase();
    let level = level.trim_start_matches(|c: char| c.is_ascii_alphabetic() || c == '-' || c == ' ');
    let number = level
        .split(|c: char| !c.is_ascii_digit())
        .next()
        .unwrap_or_default();
    match number {
        "0" | "1" => Severity::Critical,
        "2" => Severity::High,
        "3" => Severity::Warning,
        "4" | "5" => Severity::Info,
        _ if data["urgency"] == "low" => Severity::Warning,
        _ => Severity::High,
    }
}

fn details(event_type: &str, data: &Value) -> Value {
    let mut fields = Map::new();
    fields.insert("event".to_owned(), one_line(event_type, 100).into());
    for (name, pointer) in [
        ("number", "/number"),
        ("status", "/status"),
        ("urgency", "/urgency"),
        ("priority", "/priority/summary"),
        ("incident_key", "/incident_key"),
        ("incident_type", "/incident_type/name"),
        ("escalation_policy", "/escalation_policy/summary"),
        ("resolve_reason", "/resolve_reason"),
        ("custom_details", "/custom_details"),
        ("body", "/body"),
        ("custom_fields", "/custom_fields"),
    ] {
        if let Some(value) = data.pointer(pointer) {
            fields.insert(name.to_owned(), value.clone());
        }
    }
    let teams: Vec<&Value> = data["teams"]
        .as_array()
        .map(|teams| {
            teams
                .iter()
                .filter_map(|team| team.get("summary"))
                .collect()
        })
        .unwrap_or_default();
    if !teams.is_empty() {
        fields.insert("teams".to_owned(), teams.into_iter().cloned().collect());
    }
    bounded(fields)
}

#[cfg(test)]
#[path = "pagerduty_tests.rs"]
mod tests;
