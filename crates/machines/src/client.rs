//! The client: where the API is, and who we are to it.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use reqwest::{Url, redirect};
use secrecy::SecretString;

use crate::affinity::Affinity;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long an idle connection is kept, so that a start needs no handshake.
const IDLE_KEPT: Duration = Duration::from_mins(5);

/// Calls to the Machines API. Cloning is cheap and shares the connections.
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) base: Url,
    pub(crate) token: SecretString,
    http: OnceLock<reqwest::Client>,
    pub(crate) affinity: Affinity,
}

/// The client cannot be made from what it was given.
#[derive(Debug, thiserror::Error)]
pub enum InvalidClient {
    /// The base is not an `http` or `https` URL.
    #[error("`{0}` is not the URL of a machines API")]
    Base(String),
}

impl Client {
    /// A client for the API at `base`, for example `https://api.machines.dev` (without `/v1`),
    /// that shows `token` with every request.
    pub fn new(base: &str, token: SecretString) -> Result<Self, InvalidClient> {
        let url = Url::parse(base).map_err(|_| InvalidClient::Base(base.to_owned()))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(InvalidClient::Base(base.to_owned()));
        }
        nightshift_http::tls::choose();
        let affinity = Affinity::default();
        Ok(Self {
            inner: Arc::new(Inner {
                base: url,
                token,
                http: OnceLock::new(),
                affinity,
            }),
        })
    }

    /// Opens a connection ahead of the first start, so that start is one request on it.
    ///
    /// Any answer will do; a failure shows again, and better, on the first real call.
    pub async fn warm(&self) {
        let _: Result<serde_json::Value, _> = self
            .send(crate::transport::Call::read(["platform", "regions"]))
            .await;
    }
}

impl Inner {
    /// The HTTP client, made for the first call: reading the roots of TLS takes milliseconds that a function's
    /// first answer should not wait for.
    pub(crate) fn http(&self) -> Result<&reqwest::Client, reqwest::Error> {
        if let Some(made) = self.http.get() {
            return Ok(made);
        }
        // Neither a proxy of the environment nor a redirect may see the token.
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_KEPT)
            .tcp_nodelay(true)
            .user_agent(concat!("nightshift/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(self.http.get_or_init(|| http))
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("base", &self.inner.base.as_str())
            .finish_non_exhaustive()
    }
}
