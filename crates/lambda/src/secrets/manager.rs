//! Secrets in AWS Secrets Manager.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use aws_sdk_secretsmanager::{error::SdkError, operation::get_secret_value::GetSecretValueError};
use futures_util::future::BoxFuture;
use nightshift_engine::causes;
use secrecy::SecretString;

use super::{MAX_AGE, SecretError, Secrets};
use crate::aws::{Aws, LazySecretsManager};

/// Secrets in AWS Secrets Manager. A reference is a secret's name behind a prefix, so that an installation can
/// reach no other's.
pub struct SecretsManager {
    client: LazySecretsManager,
    prefix: String,
    cache: Mutex<HashMap<String, (Instant, SecretString)>>,
}

impl SecretsManager {
    /// Reads secrets whose names begin with `prefix`, of the region's service or of one at `endpoint`.
    #[must_use]
    pub fn new(aws: Aws, prefix: String, endpoint: Option<String>) -> Self {
        Self {
            client: LazySecretsManager::new(aws, endpoint),
            prefix,
            cache: Mutex::default(),
        }
    }

    fn cached(&self, reference: &str) -> Option<SecretString> {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, secret) = cache.get(reference)?;
        (at.elapsed() < MAX_AGE).then(|| secret.clone())
    }

    async fn fetch(&self, reference: &str) -> Result<SecretString, SecretError> {
        // Its age counts from the asking: what the answer says may be as old as that.
        let asked = Instant::now();
        let answer = self
            .client
            .client()
            .get_secret_value()
            .secret_id(format!("{}{reference}", self.prefix))
            .send()
            .await;
        let secret = match answer {
            Ok(answer) => answer.secret_string,
            Err(error) if is_unknown(&error) => None,
            Err(error) => {
                return Err(SecretError::Refused {
                    reference: reference.to_owned(),
                    // Not its Debug, which would show the answer.
                    why: causes(&error),
                });
            }
        };
        // A binary secret is none of ours.
        let secret = secret.ok_or_else(|| SecretError::Unknown(reference.to_owned()))?;
        let secret = SecretString::from(secret);
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.insert(reference.to_owned(), (asked, secret.clone()));
        Ok(secret)
    }
}

fn is_unknown(error: &SdkError<GetSecretValueError>) -> bool {
    error
        .as_service_error()
        .is_some_and(GetSecretValueError::is_resource_not_found_exception)
}

impl Secrets for SecretsManager {
    fn read<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<SecretString, SecretError>> {
        Box::pin(async move {
            match self.cached(reference) {
                Some(secret) => Ok(secret),
                None => self.fetch(reference).await,
            }
        })
    }
}

impl fmt::Debug for SecretsManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretsManager")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "manager_tests.rs"]
mod tests;
