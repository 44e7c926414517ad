//! The event that a request becomes.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::http::{HeaderMap, header, request::Parts};
use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::DateTime;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::runtime::Owner;

/// The event of payload version 2.0 for a request on the default route.
pub(super) fn of(owner: &Owner, head: &Parts, body: &[u8]) -> Value {
    let headers = joined(&head.headers);
    let text = |name: &str| headers.get(name).cloned().unwrap_or_default();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let epoch_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let time = DateTime::from_timestamp(i64::try_from(now.as_secs()).unwrap_or_default(), 0)
        .map(|time| time.format("%d/%b/%Y:%H:%M:%S +0000").to_string());
    let mut event = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": head.uri.path(),
        "rawQueryString": head.uri.query().unwrap_or_default(),
        "headers": headers,
        "requestContext": {
            "accountId": owner.account,
            "apiId": "local",
            "domainName": text(header::HOST.as_str()),
            "domainPrefix": "local",
            "http": {
                "method": head.method.as_str(),
                "path": head.uri.path(),
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": text(header::USER_AGENT.as_str()),
            },
            "requestId": Uuid::new_v4().simple().to_string(),
            "routeKey": "$default",
            "stage": "$default",
            "time": time,
            "timeEpoch": epoch_ms,
        },
        "isBase64Encoded": false,
    });
    let Some(fields) = event.as_object_mut() else {
        return event;
    };
    optional(fields, head, body);
    event
}

/// What an event has only where there is some of it.
fn optional(fields: &mut Map<String, Value>, head: &Parts, body: &[u8]) {
    let cookies: Vec<&str> = head
        .headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split("; "))
        .collect();
    if !cookies.is_empty() {
        fields.insert("cookies".to_owned(), json!(cookies));
    }
    let query = queried(head.uri.query().unwrap_or_default());
    if !query.is_empty() {
        fields.insert("queryStringParameters".to_owned(), json!(query));
    }
    if body.is_empty() {
        return;
    }
    let plain = std::str::from_utf8(body)
        .ok()
        .filter(|_| is_text(&head.headers));
    fields.insert("isBase64Encoded".to_owned(), json!(plain.is_none()));
    let body = plain.map_or_else(|| STANDARD.encode(body), str::to_owned);
    fields.insert("body".to_owned(), json!(body));
}

/// Names in lower case; values of the same name joined by commas. Cookies stand apart.
fn joined(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut joined = BTreeMap::<String, String>::new();
    for (name, value) in headers {
        if name == header::COOKIE {
            continue;
        }
        // A value need not be UTF-8; what is not is passed on as Latin-1.
        let value: String = value.to_str().map_or_else(
            |_| {
                value
                    .as_bytes()
                    .iter()
                    .map(|byte| char::from(*byte))
                    .collect()
            },
            str::to_owned,
        );
        joined
            .entry(name.as_str().to_owned())
            .and_modify(|before| {
                before.push(',');
                before.push_str(&value);
            })
            .or_insert(value);
    }
    joined
}

/// The decoded parameters; values of the same name joined by commas.
fn queried(query: &str) -> BTreeMap<String, String> {
    let mut joined = BTreeMap::<String, String>::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decoded(value);
        joined
            .entry(decoded(name))
            .and_modify(|before| {
                before.push(',');
                before.push_str(&value);
            })
            .or_insert(value);
    }
    joined
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let hex = text
            .get(at + 1..at + 3)
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (byte, hex) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            (byte, _) => out.push(*byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Whether the gateway takes the body for text.
fn is_text(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let Some(kind) = kind else { return true };
    let kind = kind
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    kind.starts_with("text/")
        || kind.ends_with("json")
        || kind.ends_with("xml")
        || kind.ends_with("javascript")
        || kind == "application/x-www-form-urlencoded"
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn event(request: Request<Vec<u8>>) -> Value {
        let owner = Owner {
            account: "123456789012".into(),
            region: "eu-west-1".into(),
        };
        let (head, body) = request.into_parts();
        of(&owner, &head, &body)
    }

    fn post(kind: &str, body: &[u8]) -> Value {
        let request = Request::post("/v1/hooks/x").header("content-type", kind);
        event(request.body(body.to_vec()).unwrap())
    }

    #[test]
    fn text_travels_as_it_is_and_everything_else_in_base64() {
        let json = post("application/json; charset=utf-8", b"{\"a\": 1}");
        assert_eq!(
            (&json["body"], &json["isBase64Encoded"]),
            (&json!("{\"a\": 1}"), &json!(false))
        );
        let bytes = post("application/octet-stream", b"{\"a\": 1}");
        assert_eq!(
            (&bytes["body"], &bytes["isBase64Encoded"]),
            (&json!("eyJhIjogMX0="), &json!(true))
        );
        let broken = post("application/json", &[0xff, b'a']);
        assert_eq!(
            (&broken["body"], &broken["isBase64Encoded"]),
            (&json!("/2E="), &json!(true))
        );
    }

    #[test]
    fn repeated_headers_and_parameters_are_joined_and_cookies_stand_apart() {
        let request = Request::get("/a%20b?x=1&y=%C3%A9+f&x=2&flag")
            .header("X-Sign", "one")
            .header("x-sign", "two")
            .header("cookie", "a=1; b=2")
            .header("host", "api.test")
            .body(Vec::new())
            .unwrap();
        let event = event(request);
        assert_eq!(event["headers"]["x-sign"], "one,two");
        assert!(event["headers"]["cookie"].is_null());
        assert_eq!(event["cookies"], json!(["a=1", "b=2"]));
        assert_eq!(event["rawQueryString"], "x=1&y=%C3%A9+f&x=2&flag");
        assert_eq!(
            event["queryStringParameters"],
            json!({"x": "1,2", "y": "é f", "flag": ""})
        );
        assert_eq!(event["requestContext"]["domainName"], "api.test");
        assert!(event["body"].is_null());
    }

    #[test]
    fn a_lone_percent_sign_is_itself() {
        assert_eq!(decoded("100%"), "100%");
        assert_eq!(decoded("%zz%41"), "%zzA");
        assert_eq!(decoded("é%"), "é%");
    }
}
