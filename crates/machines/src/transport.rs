//! One call on the wire: request, answer, and which failure is which.

use std::time::Duration;

use reqwest::{
    Method, RequestBuilder, Response,
    header::{COOKIE, HeaderMap, RETRY_AFTER},
};
use secrecy::ExposeSecret;
use serde::{Serialize, de::DeserializeOwned};

use crate::{Client, Failure, MachinesError, Refusal, error::Effect};

/// How long any call but a wait may take. The provider's proxy gives up after 60 s.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Pauses before a read whose connection broke is sent again.
const READ_PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(400)];

/// One request to be.
#[derive(Debug)]
pub(crate) struct Call {
    method: Method,
    segments: Vec<String>,
    query: Vec<(String, String)>,
    body: Option<serde_json::Value>,
    effect: Effect,
    timeout: Duration,
}

impl Call {
    fn new<const N: usize>(method: Method, effect: Effect, segments: [&str; N]) -> Self {
        let segments = segments.iter().map(|&segment| segment.to_owned()).collect();
        Self {
            method,
            segments,
            query: vec![],
            body: None,
            effect,
            timeout: CALL_TIMEOUT,
        }
    }

    pub(crate) fn read<const N: usize>(segments: [&str; N]) -> Self {
        Self::new(Method::GET, Effect::Read, segments)
    }

    pub(crate) fn wait<const N: usize>(segments: [&str; N], timeout: Duration) -> Self {
        Self {
            timeout,
            ..Self::new(Method::GET, Effect::Wait, segments)
        }
    }

    pub(crate) fn post<const N: usize>(segments: [&str; N]) -> Self {
        Self::new(Method::POST, Effect::Write, segments)
    }

    pub(crate) fn patch<const N: usize>(segments: [&str; N]) -> Self {
        Self::new(Method::PATCH, Effect::Write, segments)
    }

    pub(crate) fn delete<const N: usize>(segments: [&str; N]) -> Self {
        Self::new(Method::DELETE, Effect::Write, segments)
    }

    pub(crate) fn query(mut self, name: &str, value: &(impl ToString + ?Sized)) -> Self {
        self.query.push((name.to_owned(), value.to_string()));
        self
    }

    pub(crate) fn json(self, body: &impl Serialize) -> Result<Self, MachinesError> {
        let body = serde_json::to_value(body)
            .map_err(|error| MachinesError::Unavailable(Failure::Unreadable(error)))?;
        Ok(Self {
            body: Some(body),
            ..self
        })
    }

    /// The app the call is about, by which the provider keeps its affinity.
    fn app(&self) -> Option<&str> {
        match self.segments.as_slice() {
            [apps, app, ..] if apps == "apps" => Some(app),
            _ => None,
        }
    }
}

/// A 2xx answer.
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    body: Vec<u8>,
    effect: Effect,
}

impl Answer {
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, MachinesError> {
        serde_json::from_slice(&self.body)
            .map_err(|error| MachinesError::failed(self.effect, Failure::Unreadable(error)))
    }
}

impl Client {
    pub(crate) async fn send<T: DeserializeOwned>(&self, call: Call) -> Result<T, MachinesError> {
        self.answer(call).await?.parse()
    }

    pub(crate) async fn answer(&self, call: Call) -> Result<Answer, MachinesError> {
        let mut pauses = READ_PAUSES.iter();
        loop {
            match self.attempt(&call).await {
                Err(MachinesError::Unavailable(Failure::Transport(error)))
                    if call.effect == Effect::Read && !error.is_timeout() =>
                {
                    let Some(&pause) = pauses.next() else {
                        return Err(MachinesError::Unavailable(Failure::Transport(error)));
                    };
                    tokio::time::sleep(pause).await;
                }
                other => return other,
            }
        }
    }

    async fn attempt(&self, call: &Call) -> Result<Answer, MachinesError> {
        let transport = |error| MachinesError::transport(call.effect, error);
        // Nothing was sent where the client itself cannot be made.
        let unsent = |error| MachinesError::Unavailable(Failure::Transport(error));
        let request = self.request(call).map_err(unsent)?;
        let response = request.send().await.map_err(transport)?;
        if let Some(app) = call.app() {
            self.inner.affinity.learn(app, response.headers());
        }
        let status = response.status();
        let (refusal_headers, headers) = (header_facts(&response), response.headers().clone());
        let body = response.bytes().await;
        tracing::debug!(
            method = %call.method,
            path = %call.segments.join("/"),
            status = status.as_u16(),
            request_id = refusal_headers.0.as_deref(),
            "machines API answered"
        );
        if status.is_success() {
            let body = body.map_err(transport)?.to_vec();
            return Ok(Answer {
                headers,
                body,
                effect: call.effect,
            });
        }
        // The status alone decides when the sentence is lost on the way.
        let body = body.unwrap_or_default();
        let (request_id, retry_after) = refusal_headers;
        let refusal = Refusal::read(status.as_u16(), &body);
        let refusal = Refusal {
            request_id,
            retry_after,
            ..refusal
        };
        Err(MachinesError::refused(call.effect, refusal))
    }

    fn request(&self, call: &Call) -> Result<RequestBuilder, reqwest::Error> {
        let mut url = self.inner.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("v1").extend(&call.segments);
        }
        let mut request = self
            .inner
            .http()?
            .request(call.method.clone(), url)
            .bearer_auth(self.inner.token.expose_secret())
            .timeout(call.timeout);
        if !call.query.is_empty() {
            request = request.query(&call.query);
        }
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        Ok(
            match call.app().and_then(|app| self.inner.affinity.cookie(app)) {
                Some(cookie) => request.header(COOKIE, cookie),
                None => request,
            },
        )
    }
}

fn header_facts(response: &Response) -> (Option<String>, Option<Duration>) {
    let text = |name| {
        response
            .headers()
            .get(name)?
            .to_str()
            .ok()
            .map(str::to_owned)
    };
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map(Duration::from_secs);
    (text("fly-request-id"), retry_after)
}
