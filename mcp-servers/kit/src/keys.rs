//! The keys that may have signed a run token: a closed set, fetched from the session endpoint.
//!
//! The set is fetched again long before it is too old to be used, beside the requests that need it, so
//! that the session endpoint may be away for minutes. A new key is published before it signs; should one
//! be met before that was noticed, it is looked for at once, but not at the pace of whoever makes names up.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use jsonwebtoken::{
    DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse},
};
use tokio::{sync::Mutex, time::Instant};

use crate::Pending;

/// How long fetched keys are used. A key that left the set is accepted no longer than this.
const KEYS_TTL: Duration = Duration::from_mins(5);
/// How old they may be before they are fetched again.
const FETCH_AFTER: Duration = Duration::from_mins(1);
/// How often an unknown key may make us fetch early.
const EARLY_FETCH_EVERY: Duration = Duration::from_secs(10);
/// How often a failed fetch is repeated while there is no key at all.
const RETRY_EVERY: Duration = Duration::from_millis(250);
/// How often a failed fetch is repeated while there are keys.
const REFRESH_RETRY_EVERY: Duration = Duration::from_secs(5);

/// Where the keys come from.
pub trait KeySource: Send + Sync {
    /// The keys that are in use now.
    fn fetch(&self) -> Pending<'_, Result<JwkSet, KeysUnavailable>>;
}

/// The keys could not be fetched, so no token can be verified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the signing keys cannot be fetched: {0}")]
pub struct KeysUnavailable(pub String);

/// Fetches the keys over HTTP.
#[derive(Debug, Clone)]
pub struct JwksUrl {
    client: reqwest::Client,
    url: reqwest::Url,
}

impl JwksUrl {
    /// Fetches from this address and from nowhere that a token names.
    #[must_use]
    pub const fn new(client: reqwest::Client, url: reqwest::Url) -> Self {
        Self { client, url }
    }
}

impl KeySource for JwksUrl {
    fn fetch(&self) -> Pending<'_, Result<JwkSet, KeysUnavailable>> {
        Box::pin(async move {
            let fetched = async {
                let answer = self.client.get(self.url.clone()).send().await?;
                answer.error_for_status()?.json::<JwkSet>().await
            };
            fetched
                .await
                .map_err(|error| KeysUnavailable(crate::casebook::chain(&error)))
        })
    }
}

/// The closed set of keys, kept for five minutes.
pub struct Keyring {
    inner: Arc<Inner>,
}

struct Inner {
    source: Box<dyn KeySource>,
    keys: RwLock<Option<Fetched>>,
    /// The last try to fetch.
    fetching: Mutex<Option<Instant>>,
}

#[derive(Clone)]
struct Fetched {
    keys: Arc<HashMap<String, DecodingKey>>,
    at: Instant,
}

impl Keyring {
    /// Keeps what `source` gives.
    #[must_use]
    pub fn new(source: impl KeySource + 'static) -> Self {
        Self {
            inner: Arc::new(Inner {
                source: Box::new(source),
                keys: RwLock::default(),
                fetching: Mutex::default(),
            }),
        }
    }

    /// The key of this name; `None` where there is none, even after a fresh look.
    pub async fn key(&self, name: &str) -> Result<Option<DecodingKey>, KeysUnavailable> {
        if let Some(fetched) = self.inner.usable()
            && let Some(key) = fetched.keys.get(name)
        {
            if fetched.at.elapsed() >= FETCH_AFTER {
                let inner = Arc::clone(&self.inner);
                tokio::spawn(async move { inner.refresh().await });
            }
            return Ok(Some(key.clone()));
        }
        self.inner.look_for(name).await
    }
}

impl Inner {
    /// The keys that were fetched, unless that is too long ago.
    fn usable(&self) -> Option<Fetched> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.clone()
            .filter(|fetched| fetched.at.elapsed() < KEYS_TTL)
    }

    /// Fetches again, unless somebody does or just did. Nobody waits for it.
    async fn refresh(&self) {
        let Ok(mut last_try) = self.fetching.try_lock() else {
            return;
        };
        let is_due = self
            .usable()
            .is_none_or(|fetched| fetched.at.elapsed() >= FETCH_AFTER)
            && last_try.is_none_or(|at| at.elapsed() >= REFRESH_RETRY_EVERY);
        if is_due && let Err(error) = self.fetch(&mut last_try).await {
            tracing::warn!(%error, "Could not fetch the signing keys again yet");
        }
    }

    async fn look_for(&self, name: &str) -> Result<Option<DecodingKey>, KeysUnavailable> {
        // One fetch at a time; whoever waited looks again first.
        let mut last_try = self.fetching.lock().await;
        let usable = self.usable();
        if let Some(fetched) = &usable {
            if let Some(key) = fetched.keys.get(name) {
                return Ok(Some(key.clone()));
            }
            if last_try.is_some_and(|at| at.elapsed() < EARLY_FETCH_EVERY) {
                return Ok(None);
            }
        } else if last_try.is_some_and(|at| at.elapsed() < RETRY_EVERY) {
            return Err(KeysUnavailable("the last try just failed".to_owned()));
        }
        tracing::warn!("Looking for a signing key that is not in the set");
        match self.fetch(&mut last_try).await {
            Ok(keys) => Ok(keys.get(name).cloned()),
            // The keys we have are still good; this one is simply not among them.
            Err(error) if usable.is_some() => {
                tracing::warn!(%error, "Looking for an unknown signing key failed");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn fetch(
        &self,
        last_try: &mut Option<Instant>,
    ) -> Result<Arc<HashMap<String, DecodingKey>>, KeysUnavailable> {
        let at = Instant::now();
        *last_try = Some(at);
        let keys = Arc::new(usable(&self.source.fetch().await?));
        let fetched = Fetched {
            keys: Arc::clone(&keys),
            at,
        };
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Some(fetched);
        Ok(keys)
    }
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyring").finish_non_exhaustive()
    }
}

/// The named P-256 keys for signatures; anything else in the set is not for us.
fn usable(set: &JwkSet) -> HashMap<String, DecodingKey> {
    set.keys
        .iter()
        .filter(|key| is_es256(key))
        .filter_map(|key| Some((key.common.key_id.clone()?, DecodingKey::from_jwk(key).ok()?)))
        .collect()
}

fn is_es256(key: &Jwk) -> bool {
    let curve = matches!(
        &key.algorithm,
        AlgorithmParameters::EllipticCurve(parameters) if parameters.curve == EllipticCurve::P256
    );
    let algorithm = key
        .common
        .key_algorithm
        .is_none_or(|name| name == KeyAlgorithm::ES256);
    let purpose = key
        .common
        .public_key_use
        .as_ref()
        .is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
    curve && algorithm && purpose
}
