//! Finds an issuer's public keys: `/.well-known/openid-configuration`, then its `jwks_uri`.

use std::{sync::OnceLock, time::Duration};

use jsonwebtoken::jwk::Jwk;
use reqwest::{Client, Url, redirect::Policy};
use serde::{Deserialize, de::DeserializeOwned};

/// How long one of the two requests may take.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The largest answer we read, in bytes.
const MAX_BYTES: usize = 64 * 1024;

/// The issuer's keys could not be had.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// Neither `https` nor a loopback address.
    #[error("`{0}` must be an https URL, or http on this machine")]
    BadUrl(String),
    /// The HTTP client could not be made.
    #[error("no HTTP client")]
    NoClient(#[source] reqwest::Error),
    /// The issuer did not answer as it should.
    #[error("the issuer did not answer")]
    NoAnswer(#[source] reqwest::Error),
    /// The issuer answered something else.
    #[error("the issuer's answer is unusable: {0}")]
    Unusable(&'static str),
}

/// Reads one issuer's keys.
#[derive(Debug)]
pub(super) struct Discovery {
    issuer: String,
    client: OnceLock<Client>,
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct RawKeys {
    keys: Vec<serde_json::Value>,
}

/// Whether a URL may be an issuer's or one of its addresses.
///
/// # Errors
/// Where it is neither `https` nor on this machine.
pub(crate) fn check_issuer(url: &str) -> Result<(), DiscoveryError> {
    let bad = || DiscoveryError::BadUrl(url.to_owned());
    let parsed: Url = url.parse().map_err(|_| bad())?;
    let loopback = matches!(parsed.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
    let allowed = match parsed.scheme() {
        "https" => parsed.has_host(),
        "http" => loopback,
        _ => false,
    };
    let plain = parsed.username().is_empty() && parsed.password().is_none();
    if allowed && plain { Ok(()) } else { Err(bad()) }
}

impl Discovery {
    pub(super) fn new(issuer: &str) -> Result<Self, DiscoveryError> {
        check_issuer(issuer)?;
        Ok(Self {
            issuer: issuer.to_owned(),
            client: OnceLock::new(),
        })
    }

    /// The keys as published; entries that are not keys are left out.
    pub(super) async fn keys(&self) -> Result<Vec<Jwk>, DiscoveryError> {
        let address = format!(
            "{}/.well-known/openid-configuration",
            self.issuer.trim_end_matches('/')
        );
        let document: Document = self.read(&address).await?;
        if document.issuer != self.issuer {
            return Err(DiscoveryError::Unusable("it names another issuer"));
        }
        check_issuer(&document.jwks_uri)?;
        let raw: RawKeys = self.read(&document.jwks_uri).await?;
        Ok(raw
            .keys
            .into_iter()
            .filter_map(|key| serde_json::from_value(key).ok())
            .collect())
    }

    /// Made for the first question: reading the roots of TLS takes milliseconds that a first answer should
    /// not wait for.
    fn client(&self) -> Result<&Client, DiscoveryError> {
        if let Some(made) = self.client.get() {
            return Ok(made);
        }
        nightshift_http::tls::choose();
        let client = Client::builder()
            .redirect(Policy::none())
            .timeout(TIMEOUT)
            .no_proxy()
            .build()
            .map_err(DiscoveryError::NoClient)?;
        Ok(self.client.get_or_init(|| client))
    }

    async fn read<T: DeserializeOwned>(&self, url: &str) -> Result<T, DiscoveryError> {
        let answer = self.client()?.get(url).send().await;
        let mut answer = answer
            .and_then(reqwest::Response::error_for_status)
            .map_err(DiscoveryError::NoAnswer)?;
        if !answer.status().is_success() {
            return Err(DiscoveryError::Unusable("it redirects"));
        }
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(DiscoveryError::NoAnswer)? {
            if body.len() + part.len() > MAX_BYTES {
                return Err(DiscoveryError::Unusable("it is too long"));
            }
            body.extend_from_slice(&part);
        }
        serde_json::from_slice(&body).map_err(|_| DiscoveryError::Unusable("it is not as expected"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_https_or_on_this_machine() {
        for good in [
            "https://oidc.fly.io/bakery",
            "http://127.0.0.1:4280",
            "http://[::1]:1",
        ] {
            assert!(check_issuer(good).is_ok(), "{good}");
        }
        for bad in [
            "http://oidc.fly.io/bakery",
            "http://127.0.0.1.evil.example/",
            "https://user:pass@oidc.fly.io/",
            "file:///etc/passwd",
            "oidc.fly.io",
        ] {
            assert!(check_issuer(bad).is_err(), "{bad}");
        }
    }
}
