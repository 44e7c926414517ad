//! The operators' API, as a client sees it.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, bail};
use chrono::{DateTime, Utc};
use nightshift_domain::{InvestigationId, Report};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::stack_file::StackFile;

/// How long one request waits for news, in milliseconds.
const WAIT_MS: u32 = 20_000;

/// A client of a running stack.
#[derive(Clone)]
pub struct Api {
    base: String,
    token: String,
    http: reqwest::Client,
}

/// An investigation with everything known about it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Investigation {
    /// Its identity.
    pub id: InvestigationId,
    /// Where it is in its life.
    pub state: String,
    /// The alert in one line.
    pub title: String,
    /// Why it failed or was cancelled.
    pub reason: Option<String>,
    /// Its place among those that wait.
    pub waiting_place: Option<i64>,
    /// When each kind of event first happened, in milliseconds after the alert was accepted.
    #[serde(default)]
    pub timings: BTreeMap<String, i64>,
    /// What was found, once there is a report.
    pub report: Option<Report>,
}

/// Something that happened to an investigation.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Event {
    /// Its place in the log.
    pub seq: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// What.
    pub kind: String,
    /// More about it.
    pub detail: Value,
}

impl Investigation {
    /// When `kind` first happened, in milliseconds after the alert was accepted. A machine may prove
    /// itself before the provider's yes to its start is back; then that is when it had started.
    #[must_use]
    pub fn after(&self, kind: &str) -> Option<i64> {
        let timing = |kind| self.timings.get(kind).copied();
        match kind {
            "started" => timing("started").or_else(|| timing("attested")),
            _ => timing(kind),
        }
    }
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Value>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Events {
    items: Vec<Event>,
}

/// An HTTP client for loopback: no proxy of the environment, no redirects.
pub fn http() -> Result<reqwest::Client> {
    nightshift_http::tls::choose();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(2))
        .timeout(Duration::from_mins(1))
        .build()
        .context("the HTTP client cannot be made")
}

impl Api {
    /// A client of the stack that `file` describes.
    pub fn of(file: &StackFile) -> Result<Self> {
        Ok(Self {
            base: file.api.clone(),
            token: file.token.clone(),
            http: http()?,
        })
    }

    /// Whether it answers, and to our token.
    pub async fn answers(&self) -> bool {
        let pools: Result<Value> = self.ask("/v1/pool", &[]).await;
        pools.is_ok()
    }

    /// The client underneath.
    #[must_use]
    pub const fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// One investigation.
    pub async fn investigation(&self, id: InvestigationId) -> Result<Investigation> {
        self.ask(&format!("/v1/investigations/{id}"), &[]).await
    }

    /// What happened to an investigation after `seq`, waiting for news where there is none.
    pub async fn events(&self, id: InvestigationId, seq: i64) -> Result<Vec<Event>> {
        let (after, wait) = (seq.to_string(), WAIT_MS.to_string());
        let query = [("after", after.as_str()), ("wait_ms", wait.as_str())];
        let path = format!("/v1/investigations/{id}/events");
        let events: Events = self.ask(&path, &query).await?;
        Ok(events.items)
    }

    /// Every item of a listing, at most `most`, page by page.
    pub async fn list(
        &self,
        path: &str,
        filter: &[(&str, &str)],
        most: usize,
    ) -> Result<Vec<Value>> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let limit = most.saturating_sub(items.len()).clamp(1, 200).to_string();
            let mut query = filter.to_vec();
            query.push(("limit", &limit));
            if let Some(cursor) = &cursor {
                query.push(("cursor", cursor));
            }
            let page: Page = self.ask(path, &query).await?;
            items.extend(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() || items.len() >= most {
                return Ok(items);
            }
        }
    }

    /// One GET. A refusal's own words are the error.
    pub async fn ask<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T> {
        let answer = self
            .http
            .get(format!("{}{path}", self.base))
            .query(query)
            .bearer_auth(&self.token)
            .send()
            .await
            .with_context(|| format!("the API at {} does not answer", self.base))?;
        let text = body(path, answer).await?;
        serde_json::from_str(&text).with_context(|| format!("the API answered {text}"))
    }

    /// One POST without a body. A refusal's own words are the error.
    pub async fn tell(&self, path: &str) -> Result<()> {
        let answer = self
            .http
            .post(format!("{}{path}", self.base))
            .bearer_auth(&self.token)
            .send()
            .await
            .with_context(|| format!("the API at {} does not answer", self.base))?;
        body(path, answer).await.map(drop)
    }
}

async fn body(path: &str, answer: reqwest::Response) -> Result<String> {
    let status = answer.status();
    let text = answer.text().await?;
    if !status.is_success() {
        let problem: Value = serde_json::from_str(&text).unwrap_or_default();
        let words = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
        bail!("{path}: {status}: {} {}", words("title"), words("detail"));
    }
    Ok(text)
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}
