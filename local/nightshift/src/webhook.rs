//! Signed webhooks as their senders would post them.

use anyhow::{Context, Result, bail};
use chrono::{DateTime, Utc};
use hmac::{Hmac, Mac};
use nightshift_domain::InvestigationId;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::stack_file::EndpointAddress;

/// The alert of a recording (`alert.json`), as far as a webhook can say it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct RecordedAlert {
    /// One line.
    pub title: String,
    /// The service it is about.
    pub service: String,
    /// `critical`, `high`, `warning` or `info`.
    pub severity: String,
    /// When it fired.
    pub fired_at: DateTime<Utc>,
}

/// What intake made of a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Accepted {
    /// What became of it.
    pub disposition: String,
    /// The investigation that it opened or belongs to.
    pub investigation: Option<InvestigationId>,
}

/// A PagerDuty V3 `incident.triggered` event about `alert`, in the documented shape. `event` and
/// `incident` are the sender's own identities: an incident that was seen before opens nothing.
#[must_use]
pub fn pagerduty_body(alert: &RecordedAlert, event: &str, incident: &str) -> Value {
    let urgency = match alert.severity.as_str() {
        "critical" | "high" => "high",
        _ => "low",
    };
    let page = |kind: &str, id: &str| format!("https://shop.pagerduty.example/{kind}/{id}");
    let fired_at = alert
        .fired_at
        .to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    json!({"event": {
        "id": event,
        "event_type": "incident.triggered",
        "resource_type": "incident",
        "occurred_at": fired_at,
        "agent": null,
        "client": {"name": "shop monitors"},
        "data": {
            "id": incident,
            "type": "incident",
            "self": format!("https://api.pagerduty.example/incidents/{incident}"),
            "html_url": page("incidents", incident),
            "number": 1,
            "status": "triggered",
            "incident_key": incident,
            "created_at": fired_at,
            "title": alert.title,
            "service": {
                "id": alert.service,
                "type": "service_reference",
                "summary": alert.service,
                "html_url": page("services", &alert.service),
            },
            "assignees": [],
            "escalation_policy": null,
            "teams": [],
            "priority": null,
            "urgency": urgency,
            "conference_bridge": null,
            "resolve_reason": null,
        }
    }})
}

/// PagerDuty's signature header: HMAC-SHA256 of the raw body.
#[must_use]
pub fn pagerduty_signature(secret: &str, body: &[u8]) -> String {
    format!("v1={}", mac(secret, &[body]))
}

/// The generic source's signature header: HMAC-SHA256 of the time and the raw body.
#[must_use]
pub fn generic_signature(secret: &str, body: &[u8], now: DateTime<Utc>) -> String {
    let time = now.timestamp().to_string();
    let mac = mac(secret, &[time.as_bytes(), b".", body]);
    format!("t={time},v1={mac}")
}

/// Signs `body` as `endpoint`'s sender would, and posts it.
pub async fn post(
    http: &reqwest::Client,
    endpoint: &EndpointAddress,
    body: Vec<u8>,
    now: DateTime<Utc>,
) -> Result<Accepted> {
    let (name, signature) = match endpoint.source.as_str() {
        "pagerduty" => (
            "X-PagerDuty-Signature",
            pagerduty_signature(&endpoint.secret, &body),
        ),
        _ => (
            "X-Nightshift-Signature",
            generic_signature(&endpoint.secret, &body, now),
        ),
    };
    let answer = http
        .post(&endpoint.url)
        .header("Content-Type", "application/json")
        .header(name, signature)
        .body(body)
        .send()
        .await
        .context("alert intake did not answer; nothing was sent twice, so post it again")?;
    let status = answer.status();
    let text = answer.text().await.unwrap_or_default();
    if !status.is_success() {
        bail!("alert intake refused the webhook with {status}: {text}");
    }
    serde_json::from_str(&text).with_context(|| format!("intake answered {text}"))
}

fn mac(secret: &str, parts: &[&[u8]]) -> String {
    // RFC 2104 takes keys of any length, so this arm is never reached.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        return String::new();
    };
    for part in parts {
        mac.update(part);
    }
    hex::encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert() -> RecordedAlert {
        serde_json::from_value(json!({
            "title": "Checkout is slow",
            "service": "checkout",
            "severity": "critical",
            "fired_at": "2026-11-20T03:00:00Z",
            "monitor": "p99", "metric": "latency", "threshold": 1.0, "observed": 4.2, "summary": ""
        }))
        .unwrap()
    }

    #[test]
    fn the_body_has_the_documented_shape_and_the_recorded_time() {
        let body = pagerduty_body(&alert(), "EV1", "INC1");
        let event = &body["event"];
        assert_eq!(event["id"], "EV1");
        assert_eq!(event["event_type"], "incident.triggered");
        assert_eq!(event["occurred_at"], "2026-11-20T03:00:00.000Z");
        assert_eq!(event["data"]["type"], "incident");
        assert_eq!(event["data"]["id"], "INC1");
        assert_eq!(event["data"]["urgency"], "high");
        assert_eq!(event["data"]["service"]["summary"], "checkout");
    }

    #[test]
    fn signatures_are_those_that_openssl_computes() {
        let body = br#"{"a":1}"#;
        // printf '{"a":1}' | openssl dgst -sha256 -hmac s3cret
        assert_eq!(
            pagerduty_signature("s3cret", body),
            "v1=5910e62016ef5034272c926c27071992a465c2335cecf41851bda071577f4f6d"
        );
        // printf '1763694000.{"a":1}' | openssl dgst -sha256 -hmac s3cret
        let now = DateTime::from_timestamp(1_763_694_000, 0).unwrap();
        assert_eq!(
            generic_signature("s3cret", body, now),
            "t=1763694000,v1=e25a703c7ddba73b2a161f86e2348ed420a8e4b32b82a040ba671d0e55ad5ec0"
        );
    }
}
