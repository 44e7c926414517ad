//! When a request may be sent once more: if no server can have begun to act on it, or if it only asks.
//!
//! A server that is started again is away for a moment. That is nothing an agent should hear of, and nothing
//! that may make it do something twice.

use std::time::{Duration, Instant};

use http::{HeaderName, Method, Response, StatusCode, header, request::Parts};
use nightshift_domain::scope::Audience;

use crate::{http_client::ExchangeError, retry::Backoff, session::PATIENCE};

/// The platform's gateway says that it could not connect, so that nobody has seen the request.
pub const NOT_SENT: HeaderName = HeaderName::from_static("x-gateway-not-sent");

/// How a client of today's protocol names what its request does, beside the body that says the same.
const MCP_METHOD: &str = "mcp-method";
/// What only asks.
const ASKS: [&str; 7] = [
    "server/discover",
    "initialize",
    "ping",
    "tools/list",
    "resources/list",
    "resources/templates/list",
    "prompts/list",
];

/// What became of a request that has no answer of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// No server has seen it.
    NotSent,
    /// The server says that it cannot look at it just now.
    PutOff,
    /// It may have arrived, and may have been acted on.
    Unknown,
}

impl Fate {
    /// Of an answer; `None` where the answer is the request's own.
    #[must_use]
    pub fn of_answer<B>(answer: &Response<B>, audience: Audience) -> Option<Self> {
        let says = |name: &HeaderName| answer.headers().contains_key(name);
        match answer.status() {
            StatusCode::BAD_GATEWAY if says(&NOT_SENT) => Some(Self::NotSent),
            StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => Some(Self::Unknown),
            // Our servers' gates say so before they let anything in. Through the gateway to the model it may
            // be the provider who speaks, and there the harness knows when to ask again.
            StatusCode::SERVICE_UNAVAILABLE
                if audience != Audience::Llm && says(&header::RETRY_AFTER) =>
            {
                Some(Self::PutOff)
            }
            _ => None,
        }
    }

    /// Of an exchange that broke.
    #[must_use]
    pub fn of_error(error: &ExchangeError) -> Self {
        match error {
            ExchangeError::NoAnswer(error) if error.is_connect() => Self::NotSent,
            ExchangeError::Request(_) => Self::NotSent,
            ExchangeError::NoAnswer(_)
            | ExchangeError::TimedOut(_)
            | ExchangeError::Unreadable(_) => Self::Unknown,
        }
    }

    /// Whether the request may be sent once more.
    #[must_use]
    pub fn allows(self, request: &Parts) -> bool {
        match self {
            Self::NotSent | Self::PutOff => true,
            Self::Unknown => only_asks(request),
        }
    }
}

fn only_asks(request: &Parts) -> bool {
    if [Method::GET, Method::HEAD].contains(&request.method) {
        return true;
    }
    let mut said = request.headers.get_all(MCP_METHOD).iter();
    match (said.next(), said.next()) {
        (Some(method), None) => ASKS.iter().any(|asks| method == asks),
        _ => false,
    }
}

/// How long one request is repeated.
#[derive(Debug)]
pub struct Repeats {
    began: Instant,
    backoff: Backoff,
    /// How often it was.
    pub count: u32,
}

impl Repeats {
    /// None so far.
    #[must_use]
    pub fn none() -> Self {
        Self {
            began: Instant::now(),
            backoff: Backoff::new(Duration::from_millis(50), Duration::from_secs(1)),
            count: 0,
        }
    }

    /// The pause before the next; `None` once it was long enough.
    pub fn pause(&mut self) -> Option<Duration> {
        let pause = self.backoff.delay();
        if self.began.elapsed() + pause > PATIENCE {
            return None;
        }
        self.count += 1;
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn request(method: Method, said: &[&str]) -> Parts {
        let mut request = Request::builder().method(method).uri("/mcp");
        for method in said {
            request = request.header(MCP_METHOD, *method);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn answer(status: u16, header: Option<HeaderName>) -> Response<()> {
        let mut answer = Response::builder().status(status);
        if let Some(header) = header {
            answer = answer.header(header, "1");
        }
        answer.body(()).unwrap()
    }

    #[test]
    fn what_may_have_arrived_is_sent_again_only_if_it_only_asks() {
        let allowed = |method, said: &[&str]| Fate::Unknown.allows(&request(method, said));
        assert!(allowed(Method::GET, &[]));
        assert!(allowed(Method::POST, &["tools/list"]));
        assert!(!allowed(Method::POST, &["tools/call"]));
        assert!(!allowed(Method::POST, &[]));
        assert!(!allowed(Method::POST, &["tools/list", "tools/call"]));
        assert!(Fate::NotSent.allows(&request(Method::POST, &["tools/call"])));
    }

    #[test]
    fn only_what_nobody_looked_at_has_no_answer_of_its_own() {
        let fate = |status, header, audience| Fate::of_answer(&answer(status, header), audience);
        let after = Some(header::RETRY_AFTER);
        let casebook = Audience::Casebook;
        assert_eq!(fate(502, Some(NOT_SENT), casebook), Some(Fate::NotSent));
        assert_eq!(fate(502, None, casebook), Some(Fate::Unknown));
        assert_eq!(fate(503, after.clone(), casebook), Some(Fate::PutOff));
        assert_eq!(fate(503, None, casebook), None);
        assert_eq!(fate(503, after.clone(), Audience::Llm), None);
        for status in [200, 400, 401, 404, 429, 500] {
            assert_eq!(fate(status, after.clone(), casebook), None, "{status}");
            assert_eq!(fate(status, Some(NOT_SENT), casebook), None, "{status}");
        }
    }
}
