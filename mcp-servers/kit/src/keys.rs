//! The keys that may have signed a run token: a closed set, fetched from the session endpoint.

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

/// How long fetched keys are used.
const KEYS_TTL: Duration = Duration::from_mins(5);
/// How often an unknown key may make us fetch early.
const EARLY_FETCH_EVERY: Duration = Duration::from_secs(10);
/// How often a failed fetch is repeated.
const RETRY_EVERY: Duration = Duration::from_millis(250);

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
    source: Box<dyn KeySource>,
    keys: RwLock<Option<Fetched>>,
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
            source: Box::new(source),
            keys: RwLock::default(),
            fetching: Mutex::default(),
        }
    }

    /// The key of this name; `None` where there is none, even after a fresh look.
    pub async fn key(&self, name: &str) -> Result<Option<DecodingKey>, KeysUnavailable> {
        if let Some(key) = self
            .fresh()
            .and_then(|fetched| fetched.keys.get(name).cloned())
        {
            return Ok(Some(key));
        }
        // One fetch at a time; whoever waited looks again first.
        let mut last_try = self.fetching.lock().await;
        let fresh = self.fresh();
        if let Some(fetched) = &fresh {
            if let Some(key) = fetched.keys.get(name) {
                return Ok(Some(key.clone()));
            }
            if last_try.is_some_and(|at| at.elapsed() < EARLY_FETCH_EVERY) {
                return Ok(None);
            }
        } else if last_try.is_some_and(|at| at.elapsed() < RETRY_EVERY) {
            return Err(KeysUnavailable("the last try just failed".to_owned()));
        }
        *last_try = Some(Instant::now());
        let at = Instant::now();
        match self.source.fetch().await {
            Ok(set) => {
                let keys = Arc::new(usable(&set));
                let key = keys.get(name).cloned();
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) =
                    Some(Fetched { keys, at });
                Ok(key)
            }
            // The keys we have are still good; this one is simply not among them.
            Err(error) if fresh.is_some() => {
                tracing::warn!(%error, "Looking for an unknown signing key failed");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn fresh(&self) -> Option<Fetched> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.clone()
            .filter(|fetched| fetched.at.elapsed() < KEYS_TTL)
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
