//! The response that a function's answer becomes.

use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::body_of;

/// Reads an answer of payload version 2.0. One without a `statusCode` is itself the body of a 200.
pub(super) fn read(payload: &[u8]) -> Result<Response, String> {
    let answer: Value = serde_json::from_slice(payload).map_err(|error| error.to_string())?;
    let Some(status) = answer.get("statusCode") else {
        return build(
            StatusCode::OK,
            &Value::Null,
            &[],
            payload.to_vec(),
            "application/json",
        );
    };
    let status = status
        .as_u64()
        .and_then(|status| u16::try_from(status).ok());
    let status = status
        .and_then(|status| StatusCode::from_u16(status).ok())
        .ok_or("statusCode is none")?;
    let text = answer
        .get("body")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let body = if answer.get("isBase64Encoded") == Some(&Value::Bool(true)) {
        STANDARD
            .decode(text)
            .map_err(|error| format!("the body is not base64: {error}"))?
    } else {
        text.as_bytes().to_vec()
    };
    let cookies = answer
        .get("cookies")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let headers = answer.get("headers").unwrap_or(&Value::Null);
    build(status, headers, &cookies, body, "text/plain;charset=UTF-8")
}

fn build(
    status: StatusCode,
    headers: &Value,
    cookies: &[Value],
    body: Vec<u8>,
    kind: &str,
) -> Result<Response, String> {
    let mut response = Response::new(body_of(body));
    *response.status_mut() = status;
    let to = response.headers_mut();
    for (name, value) in headers.as_object().into_iter().flatten() {
        let name: HeaderName = name
            .parse()
            .map_err(|_| format!("`{name}` is not a header's name"))?;
        // The gateway writes the length itself.
        if name == header::CONTENT_LENGTH {
            continue;
        }
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        to.append(
            name,
            HeaderValue::from_str(&text).map_err(|error| error.to_string())?,
        );
    }
    for cookie in cookies.iter().filter_map(Value::as_str) {
        let cookie = HeaderValue::from_str(cookie).map_err(|error| error.to_string())?;
        to.append(header::SET_COOKIE, cookie);
    }
    if !to.contains_key(header::CONTENT_TYPE) {
        let kind = HeaderValue::from_str(kind).map_err(|error| error.to_string())?;
        to.insert(header::CONTENT_TYPE, kind);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use serde_json::json;

    use super::*;

    async fn body(response: Response) -> Vec<u8> {
        to_bytes(response.into_body(), 1024).await.unwrap().to_vec()
    }

    #[tokio::test]
    async fn status_headers_cookies_and_a_coded_body_come_back() {
        let answer = json!({
            "statusCode": 202,
            "headers": {"content-type": "image/png", "content-length": "99", "x-a": "1,2"},
            "cookies": ["a=1; Secure", "b=2"],
            "body": "/2E=", "isBase64Encoded": true,
        });
        let response = read(answer.to_string().as_bytes()).unwrap();
        assert_eq!(response.status(), 202);
        assert_eq!(response.headers()["x-a"], "1,2");
        assert_eq!(response.headers().get_all("set-cookie").iter().count(), 2);
        assert_eq!(response.headers()["content-type"], "image/png");
        assert!(!response.headers().contains_key("content-length"));
        assert_eq!(body(response).await, [0xff, b'a']);
    }

    #[tokio::test]
    async fn an_answer_without_a_status_is_the_body() {
        let response = read(br#"{"a":1}"#).unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(body(response).await, br#"{"a":1}"#);
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for (answer, why) in [
            ("not json", "expected"),
            (r#"{"statusCode": 99999}"#, "statusCode"),
            (
                r#"{"statusCode": 200, "body": "?", "isBase64Encoded": true}"#,
                "base64",
            ),
            (
                r#"{"statusCode": 200, "headers": {"a b": "c"}}"#,
                "header's name",
            ),
        ] {
            let error = read(answer.as_bytes()).unwrap_err();
            assert!(error.contains(why), "{answer}: {error}");
        }
    }
}
