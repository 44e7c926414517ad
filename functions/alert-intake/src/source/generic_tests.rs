//! What we take from senders without a source of their own.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;

use super::*;

// 2026-11-20T03:00:00Z
const NOW: i64 = 1_795_143_600;
const BODY: &[u8] = br#"{"id":"oven-7","title":"Oven 7 is cold"}"#;
// printf '1795143600.%s' "$BODY" | openssl dgst -sha256 -hmac 'bakers-dozen'
const TIMED_SIGNATURE: &str = "ea833956bfd2594a3e0b5809d85eae61c115c8a1b2751433fccc3fa08d284331";
// printf '%s' "$BODY" | openssl dgst -sha256 -hmac 'bakers-dozen'
const PLAIN_SIGNATURE: &str = "9e4b0ca9c90ca68d457592c557b75049962966db571c198d328987fd47b4921e";

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for &(name, value) in pairs {
        headers.append(
            HeaderName::from_static(name),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    headers
}

fn verify_at(now: i64, pairs: &[(&'static str, &str)], body: &[u8]) -> bool {
    let headers = headers(pairs);
    let now = DateTime::from_timestamp(now, 0).unwrap();
    Generic.verify(
        &Delivery {
            headers: &headers,
            body,
            now,
        },
        &["other".into(), "bakers-dozen".into()],
    )
}

fn verify(pairs: &[(&'static str, &str)], body: &[u8]) -> bool {
    verify_at(NOW, pairs, body)
}

fn read_with(pairs: &[(&'static str, &str)], body: &[u8], mapping: Option<&Value>) -> Reading {
    let headers = headers(pairs);
    let now = DateTime::from_timestamp(NOW, 0).unwrap();
    Generic.read(
        &Delivery {
            headers: &headers,
            body,
            now,
        },
        mapping,
    )
}

fn signal(body: &Value, mapping: Option<&Value>) -> Signal {
    match read_with(&[], &serde_json::to_vec(body).unwrap(), mapping).content {
        Content::Signal(signal) => *signal,
        other @ (Content::Ignored { .. } | Content::Malformed { .. }) => panic!("{other:?}"),
    }
}

#[test]
fn a_timed_signature_holds_for_five_minutes_either_way() {
    let value = format!("t={NOW},v1={TIMED_SIGNATURE}");
    let pairs = [(TIMED, value.as_str())];
    for (offset, valid) in [
        (0, true),
        (300, true),
        (-300, true),
        (301, false),
        (-301, false),
    ] {
        assert_eq!(verify_at(NOW + offset, &pairs, BODY), valid, "{offset} s");
    }
}

#[test]
fn a_timed_signature_covers_the_time_and_the_body() {
    let moved = format!("t={},v1={TIMED_SIGNATURE}", NOW + 1);
    assert!(!verify(&[(TIMED, &moved)], BODY));
    let right = format!("t={NOW},v1={TIMED_SIGNATURE}");
    assert!(!verify(
        &[(TIMED, &right)],
        br#"{"id":"oven-8","title":"Oven 7 is cold"}"#
    ));
    assert!(!verify(&[(TIMED, &format!("v1={TIMED_SIGNATURE}"))], BODY));
    assert!(!verify(
        &[(TIMED, &format!("t={NOW},v1={PLAIN_SIGNATURE}"))],
        BODY
    ));
    assert!(!verify(
        &[(
            TIMED,
            &format!("t=99999999999999999999,v1={TIMED_SIGNATURE}")
        )],
        BODY
    ));
}

#[test]
fn a_signature_over_the_body_alone_is_accepted_under_both_names() {
    let value = format!("sha256={PLAIN_SIGNATURE}");
    for name in UNTIMED {
        assert!(verify(&[(name, &value)], BODY), "{name}");
        assert!(!verify(&[(name, &value)], &BODY[1..]), "{name}");
        assert!(!verify(&[(name, PLAIN_SIGNATURE)], BODY), "{name}");
        assert!(
            !verify(&[(name, &value), (name, &value)], BODY),
            "{name} twice"
        );
    }
    assert!(!verify(&[], BODY));
}

#[test]
fn a_wrong_timed_signature_is_not_saved_by_a_right_one_without_time() {
    let timed = format!("t={},v1={TIMED_SIGNATURE}", NOW - 1_000);
    let plain = format!("sha256={PLAIN_SIGNATURE}");
    assert!(!verify(&[(TIMED, &timed), (UNTIMED[0], &plain)], BODY));
}

#[test]
fn the_default_pointers_find_everything() {
    let body = json!({
        "id": 17, "title": " Oven\t7 is cold ", "service": "ovens", "severity": "CRITICAL",
        "status": "firing", "fired_at": "2026-11-20T02:58:00+01:00",
        "link": "https://bakery.example/ovens/7", "temperature": 21.5,
    });
    let signal = signal(&body, None);
    assert_eq!(signal.source_key, "17");
    assert_eq!(signal.title, "Oven 7 is cold");
    assert_eq!(signal.service.as_deref(), Some("ovens"));
    assert_eq!(signal.severity, Severity::Critical);
    assert_eq!(signal.status, AlertStatus::Firing);
    assert_eq!(signal.fired_at.to_rfc3339(), "2026-11-20T01:58:00+00:00");
    assert_eq!(
        signal.link.as_deref(),
        Some("https://bakery.example/ovens/7")
    );
    assert_eq!(signal.details["temperature"], 21.5);
}

#[test]
fn an_endpoint_can_say_where_its_bodies_keep_things() {
    let mapping = json!({"id": "/check/uid", "title": "/check/name", "fired_at": "/since"});
    let body = json!({"check": {"uid": "c-9", "name": "Dough temperature"}, "since": 1_795_143_000,
        "status": "Recovered", "title": "not this one"});
    let signal = signal(&body, Some(&mapping));
    assert_eq!(signal.source_key, "c-9");
    assert_eq!(signal.title, "Dough temperature");
    assert_eq!(signal.status, AlertStatus::Resolved);
    assert_eq!(signal.fired_at.timestamp(), 1_795_143_000);
}

#[test]
fn without_an_id_the_title_and_the_service_are_the_identity() {
    let key = |title: &str, service: &str| {
        signal(&json!({"title": title, "service": service}), None).source_key
    };
    assert_eq!(key("Cold", "oven"), key(" Cold ", "oven"));
    assert_ne!(key("Cold", "oven"), key("Cold", "fridge"));
    assert_ne!(key("Cold", "oven"), key("Coldo", "ven"));
}

#[test]
fn a_body_without_a_title_or_without_json_is_malformed() {
    for body in [
        &b"{}"[..],
        b"[1,2]",
        b"not json",
        b"",
        br#"{"title":{"text":"x"}}"#,
    ] {
        let reading = read_with(&[], body, None);
        assert!(
            matches!(reading.content, Content::Malformed { .. }),
            "{reading:?}"
        );
    }
}

#[test]
fn times_are_read_in_three_spellings_and_nonsense_is_now() {
    for (value, seconds) in [
        (json!(1_795_143_001), 1_795_143_001),
        (json!(1_795_143_001_500_i64), 1_795_143_001),
        (json!("2026-11-20T03:00:01Z"), 1_795_143_601),
        (json!(i64::MAX), NOW),
        (json!("soon"), NOW),
        (Value::Null, NOW),
    ] {
        let fired_at = signal(&json!({"title": "t", "fired_at": value}), None).fired_at;
        assert_eq!(fired_at.timestamp(), seconds, "{value}");
    }
}

#[test]
fn a_delivery_id_counts_only_where_the_signature_holds_a_time() {
    let timed = [(TIMED, "t=1,v1=00"), ("x-delivery-id", "d-1")];
    assert_eq!(read_with(&timed, BODY, None).delivery_key, "d-1");
    let untimed = [(UNTIMED[0], "sha256=00"), ("x-delivery-id", "d-1")];
    let again = [(UNTIMED[0], "sha256=00"), ("x-delivery-id", "d-2")];
    let key = read_with(&untimed, BODY, None).delivery_key;
    assert!(key.starts_with("sha256:"));
    assert_eq!(read_with(&again, BODY, None).delivery_key, key);
}
