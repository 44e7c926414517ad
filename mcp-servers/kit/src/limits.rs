//! What a request may be like before anything reads it: how large, how slow, how deep.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
};
use http::{StatusCode, header::CONTENT_LENGTH};
use nightshift_controls::{Control, holds};
use tokio::time::timeout;

/// How deeply JSON may be nested. What people and models write is shallow; a parser's stack is not endless.
pub const JSON_DEPTH: usize = 64;

/// The limits of one server's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// The largest body, in bytes.
    pub bytes: usize,
    /// How long a body may take to arrive as a whole.
    pub time: Duration,
}

/// Why a body is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyRefused {
    /// It is larger than the limit.
    #[error("the request is too large")]
    TooLarge,
    /// It took longer than the limit, or broke off.
    #[error("the request did not arrive in time")]
    TooSlow,
    /// Its JSON is nested deeper than [`JSON_DEPTH`].
    #[error("the request is nested too deeply")]
    TooDeep,
}

impl IntoResponse for BodyRefused {
    fn into_response(self) -> Response {
        let status = match self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::TooDeep => StatusCode::BAD_REQUEST,
        };
        let body = format!(r#"{{"error":"{self}"}}"#);
        let headers = [
            ("content-type", "application/json"),
            ("connection", "close"),
        ];
        (status, headers, body).into_response()
    }
}

/// Reads every request's body, within these limits, before the router sees it.
///
/// Put it behind the gate: whoever has no token is not read at all.
pub fn bounded(router: Router, limits: RequestLimits) -> Router {
    router.layer(from_fn_with_state(Arc::new(limits), bound))
}

async fn bound(State(limits): State<Arc<RequestLimits>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let said = parts
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let read = if said.is_some_and(|said| said > limits.bytes) && holds(Control::BodySize) {
        Err(BodyRefused::TooLarge)
    } else {
        read(body, *limits).await
    };
    match read {
        Ok(bytes) => {
            next.run(Request::from_parts(parts, Body::from(bytes)))
                .await
        }
        Err(refused) => {
            tracing::warn!(reason = %refused, path = parts.uri.path(), "Refused a request's body");
            refused.into_response()
        }
    }
}

/// Lets no request wait for the head of its answer longer than this.
///
/// Control: `answer-wait`. A handler that panics or hangs leaves its caller, and what the caller holds, with
/// an answer.
pub fn answered_within(router: Router, time: Duration) -> Router {
    router.layer(from_fn(move |request: Request, next: Next| async move {
        timeout(time, next.run(request)).await.unwrap_or_else(|_| {
            tracing::error!("A request was not answered in time");
            let body = r#"{"error":"no answer in time"}"#;
            let headers = [("content-type", "application/json")];
            (StatusCode::GATEWAY_TIMEOUT, headers, body).into_response()
        })
    }))
}

/// A whole body that keeps to the limits.
///
/// Controls: `body-size`, `body-time`, `json-depth`.
pub async fn read(body: Body, limits: RequestLimits) -> Result<Bytes, BodyRefused> {
    let most = if holds(Control::BodySize) {
        limits.bytes
    } else {
        usize::MAX
    };
    let bytes = timeout(limits.time, axum::body::to_bytes(body, most))
        .await
        .map_err(|_| BodyRefused::TooSlow)?
        .map_err(|error| {
            // Either the limit, or a body that broke off; only the first has a cause of its own kind.
            if std::error::Error::source(&error)
                .is_some_and(|cause| cause.to_string().contains("length limit"))
            {
                BodyRefused::TooLarge
            } else {
                BodyRefused::TooSlow
            }
        })?;
    if is_deeper_than(&bytes, JSON_DEPTH) && holds(Control::JsonDepth) {
        return Err(BodyRefused::TooDeep);
    }
    Ok(bytes)
}

/// Whether JSON is nested deeper than this. Reads each byte once and keeps a number; what is no JSON gets
/// an answer that means nothing, and the parser will say so.
#[must_use]
pub fn is_deeper_than(json: &[u8], limit: usize) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in json {
        if in_string {
            match (escaped, byte) {
                (true, _) => escaped = false,
                (false, b'\\') => escaped = true,
                (false, b'"') => in_string = false,
                (false, _) => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                if depth > limit {
                    return true;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(depth: usize) -> Vec<u8> {
        format!("{}{}", "[".repeat(depth), "]".repeat(depth)).into_bytes()
    }

    /// `json-depth`.
    #[test]
    fn depth_is_counted_in_brackets_that_are_not_text() {
        assert!(!is_deeper_than(&nested(JSON_DEPTH), JSON_DEPTH));
        assert!(is_deeper_than(&nested(JSON_DEPTH + 1), JSON_DEPTH));
        let wide = format!("[{}]", vec!["{\"a\":[]}"; 1_000].join(","));
        assert!(!is_deeper_than(wide.as_bytes(), 3));
        let text = format!(r#"{{"a":"\"{}\\"}}"#, "[{".repeat(500));
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
        assert!(!is_deeper_than(text.as_bytes(), 1));
    }

    /// `body-time`.
    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_is_given_up() {
        use futures_util::stream;

        let limits = RequestLimits {
            bytes: 1_000,
            time: Duration::from_secs(10),
        };
        let drip = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), ()))
        });
        let began = tokio::time::Instant::now();
        let refused = read(Body::from_stream(drip), limits).await;
        assert_eq!(refused, Err(BodyRefused::TooSlow));
        assert_eq!(began.elapsed(), limits.time);
    }

    /// `answer-wait`.
    #[tokio::test(start_paused = true)]
    async fn a_handler_that_never_answers_is_answered_for() {
        use axum::routing::get;
        use tower::ServiceExt;

        let hangs = get(async || std::future::pending::<()>().await);
        let router = answered_within(Router::new().route("/", hangs), Duration::from_secs(90));
        let request = Request::get("/").body(Body::empty()).unwrap();
        let began = tokio::time::Instant::now();
        let answer = router.oneshot(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::GATEWAY_TIMEOUT);
        assert_eq!(began.elapsed(), Duration::from_secs(90));
    }

    /// `body-size`.
    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit_and_not_beyond() {
        let limits = RequestLimits {
            bytes: 1_000,
            time: Duration::from_secs(10),
        };
        assert!(read(Body::from(vec![b' '; 1_000]), limits).await.is_ok());
        let refused = read(Body::from(vec![b' '; 1_001]), limits).await;
        assert_eq!(refused, Err(BodyRefused::TooLarge));
    }
}
