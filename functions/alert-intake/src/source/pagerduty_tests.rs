//! What we take from PagerDuty's deliveries. Fixtures are our own, in the documented shape.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;

use super::*;

const NOW: &str = "2026-11-20T03:00:00Z";

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|&(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            )
        })
        .collect()
}

fn read_with(headers: &HeaderMap, body: &Value) -> Reading {
    let body = serde_json::to_vec(body).unwrap();
    PagerDuty.read(
        &Delivery {
            headers,
            body: &body,
            now: NOW.parse().unwrap(),
        },
        None,
    )
}

fn read(body: &Value) -> Reading {
    read_with(&HeaderMap::new(), body)
}

fn incident(event_type: &str, status: &str) -> Value {
    json!({"event": {
        "id": "01NIGHT0EVENT", "event_type": event_type, "resource_type": "incident",
        "occurred_at": "2026-11-20T02:59:58.120Z",
        "data": {
            "id": "QNIGHT1", "type": "incident", "number": 4711, "status": status,
            "html_url": "https://bakery.pagerduty.com/incidents/QNIGHT1",
            "created_at": "2026-11-20T02:41:00Z", "title": "Oven door errors above 5 %",
            "service": {"id": "PSHOP", "type": "service_reference", "summary": "checkout"},
            "teams": [{"id": "PT1", "type": "team_reference", "summary": "Bakers"}],
            "priority": {"id": "PP1", "type": "priority_reference", "summary": "P1"},
            "urgency": "high", "incident_key": "oven-door",
        },
    }})
}

fn signal(body: &Value) -> Signal {
    match read(body).content {
        Content::Signal(signal) => *signal,
        other @ (Content::Ignored { .. } | Content::Malformed { .. }) => panic!("{other:?}"),
    }
}

#[test]
fn a_triggered_incident_becomes_a_firing_signal_with_everything_it_says() {
    let Reading {
        delivery_key,
        content,
    } = read(&incident("incident.triggered", "triggered"));

    assert!(delivery_key.starts_with("01NIGHT0EVENT:"), "{delivery_key}");
    let Content::Signal(signal) = content else {
        panic!("{content:?}")
    };
    assert_eq!(signal.source_key, "QNIGHT1");
    assert_eq!(signal.status, AlertStatus::Firing);
    assert_eq!(signal.title, "Oven door errors above 5 %");
    assert_eq!(signal.service.as_deref(), Some("checkout"));
    assert_eq!(signal.severity, Severity::Critical);
    assert_eq!(
        signal.fired_at,
        "2026-11-20T02:41:00Z".parse::<DateTime<Utc>>().unwrap()
    );
    assert_eq!(
        signal.link.as_deref(),
        Some("https://bakery.pagerduty.com/incidents/QNIGHT1")
    );
    assert_eq!(signal.details["event"], "incident.triggered");
    assert_eq!(signal.details["teams"], json!(["Bakers"]));
}

#[test]
fn every_event_that_carries_the_incident_says_whether_it_holds() {
    for event in [
        "triggered",
        "acknowledged",
        "unacknowledged",
        "delegated",
        "escalated",
        "reassigned",
        "reopened",
        "priority_updated",
        "service_updated",
        "incident_type.changed",
    ] {
        let signal = signal(&incident(&format!("incident.{event}"), "triggered"));
        assert_eq!(signal.status, AlertStatus::Firing, "{event}");
        assert_eq!(signal.source_key, "QNIGHT1", "{event}");
    }
    assert_eq!(
        signal(&incident("incident.resolved", "resolved")).status,
        AlertStatus::Resolved
    );
    // A late escalation of what is resolved by now does not make it fire again.
    assert_eq!(
        signal(&incident("incident.escalated", "resolved")).status,
        AlertStatus::Resolved
    );
}

#[test]
fn a_reopened_incident_fires_when_it_was_reopened_and_one_without_times_fires_now() {
    let reopened = signal(&incident("incident.reopened", "triggered"));
    assert_eq!(
        reopened.fired_at.to_rfc3339(),
        "2026-11-20T02:59:58.120+00:00"
    );

    let mut timeless = incident("incident.triggered", "triggered");
    timeless["event"]["data"]["created_at"] = Value::Null;
    timeless["event"]["occurred_at"] = json!("yesterday");
    assert_eq!(
        signal(&timeless).fired_at,
        NOW.parse::<DateTime<Utc>>().unwrap()
    );
}

#[test]
fn events_about_an_incident_that_do_not_carry_it_are_ignored_and_name_it() {
    for (event_type, kind) in [
        ("incident.annotated", "incident_note"),
        ("incident.status_update_published", "incident_status_update"),
        ("incident.responder.added", "incident_responder"),
        ("incident.responder.replied", "incident_responder"),
        (
            "incident.conference_bridge.updated",
            "incident_conference_bridge",
        ),
        (
            "incident.custom_field_values.updated",
            "incident_field_values",
        ),
        ("incident.role.assigned", "incident_role_assignment"),
        ("incident.workflow.started", "incident_workflow_instance"),
        ("incident.workflow.completed", "incident_workflow_instance"),
    ] {
        let body = json!({"event": {
            "id": "01NOTE", "event_type": event_type, "resource_type": "incident",
            "data": {"type": kind, "incident": {"id": "QNIGHT1", "type": "incident_reference"}},
        }});
        let event = format!("{event_type} of QNIGHT1");
        assert_eq!(read(&body).content, Content::Ignored { event });
    }
}

#[test]
fn pings_services_and_events_of_the_future_are_ignored() {
    for (event_type, data) in [
        ("pagey.ping", json!({"type": "ping", "message": "Hello"})),
        ("pagey.ping", Value::Null),
        ("service.created", json!({"type": "service", "id": "PSHOP"})),
        (
            "service.custom_field_values.updated",
            json!({"type": "service_field_values"}),
        ),
        ("incident.dreamt_of", json!({"type": "incident_dream"})),
    ] {
        let body = json!({"event": {"id": "01PING", "event_type": event_type, "data": data}});
        assert_eq!(
            read(&body).content,
            Content::Ignored {
                event: event_type.to_owned()
            }
        );
    }
}

#[test]
fn what_is_not_a_v3_event_is_malformed_and_still_has_a_key() {
    let legacy = json!({"messages": [{"event": "incident.trigger"}]});
    let no_id = {
        let mut body = incident("incident.triggered", "triggered");
        body["event"]["data"]["id"] = Value::Null;
        body
    };
    let no_type = json!({"event": {"id": "1", "event_type": "incident.triggered", "data": {}}});
    for body in [legacy, json!([]), json!({"event": 7}), no_id, no_type] {
        let reading = read(&body);
        assert!(
            matches!(reading.content, Content::Malformed { .. }),
            "{reading:?}"
        );
        assert!(!reading.delivery_key.is_empty());
    }
    let headers = HeaderMap::new();
    let broken = Delivery {
        headers: &headers,
        body: b"{\"event\":",
        now: NOW.parse().unwrap(),
    };
    let reading = PagerDuty.read(&broken, None);
    assert!(
        matches!(reading.content, Content::Malformed { .. }),
        "{reading:?}"
    );
    assert!(reading.delivery_key.starts_with("sha256:"));
}

#[test]
fn a_captured_body_under_a_new_webhook_id_is_the_same_delivery() {
    let body = incident("incident.triggered", "triggered");
    let first = read_with(&headers(&[("x-webhook-id", "one")]), &body);
    let replayed = read_with(&headers(&[("x-webhook-id", "two")]), &body);
    assert_eq!(first.delivery_key, replayed.delivery_key);

    let mut another = body.clone();
    another["event"]["data"]["id"] = json!("PANOTHER");
    assert_ne!(
        read(&another).delivery_key,
        first.delivery_key,
        "another incident is another delivery"
    );

    let mut nameless = body;
    nameless["event"]["id"] = Value::Null;
    assert_eq!(
        read_with(&headers(&[("x-webhook-id", "one")]), &nameless).delivery_key,
        "one"
    );
}

#[test]
fn severity_is_the_priority_where_there_is_one_and_the_urgency_otherwise() {
    for (priority, urgency, severity) in [
        (json!({"summary": "P1"}), "low", Severity::Critical),
        (json!({"summary": "SEV-2"}), "low", Severity::High),
        (json!({"summary": "p3"}), "high", Severity::Warning),
        (json!({"summary": "P5"}), "high", Severity::Info),
        (json!({"summary": "Vips only"}), "low", Severity::Warning),
        (Value::Null, "high", Severity::High),
        (Value::Null, "low", Severity::Warning),
        (Value::Null, "?", Severity::High),
    ] {
        let mut body = incident("incident.triggered", "triggered");
        body["event"]["data"]["priority"] = priority.clone();
        body["event"]["data"]["urgency"] = json!(urgency);
        assert_eq!(signal(&body).severity, severity, "{priority} {urgency}");
    }
}

mod signatures {
    use super::*;

    // printf '{"event":{"id":"01NIGHT"}}' | openssl dgst -sha256 -hmac 'rotate-me-1' (and -2)
    const BODY: &[u8] = br#"{"event":{"id":"01NIGHT"}}"#;
    const FIRST: &str = "7482e34d90355d3210d5f130096f7f3787b0d2c61c72e1456882dc3f508cf7d3";
    const SECOND: &str = "c2c70ddf86b9d1ed6c49f8eb5ddbdec886b70ae298eb596cc9bd81e9cdbda57d";

    fn verify(signature: &str, secrets: &[&str]) -> bool {
        let headers = headers(&[("x-pagerduty-signature", signature)]);
        let secrets: Vec<SecretString> = secrets.iter().map(|&secret| secret.into()).collect();
        let delivery = Delivery {
            headers: &headers,
            body: BODY,
            now: NOW.parse().unwrap(),
        };
        PagerDuty.verify(&delivery, &secrets)
    }

    #[test]
    fn one_valid_signature_among_several_is_enough() {
        assert!(verify(&format!("v1={FIRST}"), &["rotate-me-1"]));
        assert!(verify(&format!("v1={FIRST},v1={SECOND}"), &["rotate-me-2"]));
        assert!(verify(
            &format!("v1={SECOND}, v1={FIRST}"),
            &["rotate-me-1", "another"]
        ));
    }

    #[test]
    fn other_versions_and_bare_digits_do_not_count() {
        assert!(!verify(&format!("v2={FIRST}"), &["rotate-me-1"]));
        assert!(!verify(FIRST, &["rotate-me-1"]));
        assert!(!verify(&format!("v2=v1={FIRST}"), &["rotate-me-1"]));
        assert!(!verify("", &["rotate-me-1"]));
        assert!(verify(&format!("v2=00,v1={FIRST}"), &["rotate-me-1"]));
    }

    #[test]
    fn a_signature_under_another_secret_or_no_header_at_all_does_not_count() {
        assert!(!verify(&format!("v1={SECOND}"), &["rotate-me-1"]));
        let headers = HeaderMap::new();
        let delivery = Delivery {
            headers: &headers,
            body: BODY,
            now: NOW.parse().unwrap(),
        };
        assert!(!PagerDuty.verify(&delivery, &["rotate-me-1".into()]));
    }
}
