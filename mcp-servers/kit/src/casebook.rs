//! The client of the casebook's internal API: what servers without a database must know of a run,
//! and where they put what it saw.

use std::time::Duration;

use http::{HeaderValue, StatusCode, header::AUTHORIZATION};
use nightshift_domain::{Epoch, EvidenceId, InvestigationId};
use nightshift_protocol::run::{
    EvidenceRecorded, RecordCall, RecordEvidence, RecordModelUse, RunStatus,
};
use reqwest::{RequestBuilder, Response, Url};
use secrecy::ExposeSecret;
use serde::Serialize;

use crate::{CasebookLink, EvidenceLog, LogRefusal, ModelLog, Pending, Runs, RunsUnavailable};

/// How long the casebook may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks the casebook. The credential is sent to its one address and is never shown.
#[derive(Clone)]
pub struct CasebookClient {
    client: reqwest::Client,
    base: Url,
    credential: HeaderValue,
}

/// The client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The credential cannot be a header's value.
    #[error("the service credential holds characters that a header cannot carry")]
    Credential,
    /// The HTTP client could not be made.
    #[error("the HTTP client cannot be made")]
    Http(#[source] reqwest::Error),
}

/// An HTTP client for our own servers: no redirects, no proxies, short patience.
pub fn http_client() -> Result<reqwest::Client, ClientError> {
    // The client wants a TLS provider even for plain addresses.
    nightshift_http::tls::choose();
    reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(1))
        .timeout(PATIENCE)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .tcp_nodelay(true)
        .build()
        .map_err(ClientError::Http)
}

impl CasebookClient {
    /// Asks at the link's address with the link's credential.
    pub fn new(client: reqwest::Client, link: &CasebookLink) -> Result<Self, ClientError> {
        let bearer = format!("Bearer {}", link.credential.expose_secret());
        let mut credential = HeaderValue::try_from(bearer).map_err(|_| ClientError::Credential)?;
        credential.set_sensitive(true);
        Ok(Self {
            client,
            base: link.base.clone(),
            credential,
        })
    }

    fn url(&self, investigation: InvestigationId, below: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("/internal/v1/runs/{investigation}{below}"));
        url
    }

    fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        request.header(AUTHORIZATION, self.credential.clone())
    }

    async fn keep(
        &self,
        investigation: InvestigationId,
        below: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<Response, LogRefusal> {
        let request = self.client.post(self.url(investigation, below)).json(body);
        let answer = self
            .authorized(request)
            .send()
            .await
            .map_err(|error| LogRefusal::Unavailable(chain(&error)))?;
        match answer.status() {
            status if status.is_success() => Ok(answer),
            StatusCode::NOT_FOUND | StatusCode::CONFLICT => Err(LogRefusal::NotLive),
            status => Err(LogRefusal::Unavailable(format!("it answered {status}"))),
        }
    }
}

impl std::fmt::Debug for CasebookClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CasebookClient")
            .field("base", &self.base.as_str())
            .finish_non_exhaustive()
    }
}

impl Runs for CasebookClient {
    fn status(
        &self,
        investigation: InvestigationId,
        epoch: Epoch,
    ) -> Pending<'_, Result<Option<RunStatus>, RunsUnavailable>> {
        Box::pin(async move {
            let request = self
                .client
                .get(self.url(investigation, ""))
                .query(&[("epoch", epoch.0)]);
            let answer = self
                .authorized(request)
                .send()
                .await
                .map_err(|error| RunsUnavailable(chain(&error)))?;
            match answer.status() {
                StatusCode::OK => answer
                    .json()
                    .await
                    .map(Some)
                    .map_err(|error| RunsUnavailable(chain(&error))),
                StatusCode::NOT_FOUND => Ok(None),
                status => Err(RunsUnavailable(format!("it answered {status}"))),
            }
        })
    }
}

impl EvidenceLog for CasebookClient {
    fn record(
        &self,
        investigation: InvestigationId,
        evidence: RecordEvidence,
    ) -> Pending<'_, Result<EvidenceId, LogRefusal>> {
        Box::pin(async move {
            let answer = self.keep(investigation, "/evidence", &evidence).await?;
            let recorded: EvidenceRecorded = answer
                .json()
                .await
                .map_err(|error| LogRefusal::Unavailable(chain(&error)))?;
            Ok(recorded.evidence)
        })
    }

    fn call(
        &self,
        investigation: InvestigationId,
        call: RecordCall,
    ) -> Pending<'_, Result<(), LogRefusal>> {
        Box::pin(async move { self.keep(investigation, "/calls", &call).await.map(drop) })
    }
}

impl ModelLog for CasebookClient {
    fn model_use(
        &self,
        investigation: InvestigationId,
        used: RecordModelUse,
    ) -> Pending<'_, Result<(), LogRefusal>> {
        Box::pin(async move { self.keep(investigation, "/model", &used).await.map(drop) })
    }
}

/// An error with all its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}
