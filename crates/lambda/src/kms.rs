//! Signatures by keys that AWS KMS holds. Of KMS's many operations we need two, so this is a signed JSON
//! call and not the SDK of the whole service.

use std::{
    error::Error,
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use nightshift_engine::Clock;
use reqwest::{Response, Url, redirect};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::aws::Aws;

/// How long one attempt may take. A sandbox waits for the answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(1);
/// Attempts in all.
const ATTEMPTS: usize = 2;
/// The longest answer that is read, in bytes; real ones have about one thousand.
const ANSWER_BYTES: u64 = 64 * 1024;
/// What KMS calls refusals that may be over in a moment.
const PASSING: [&str; 4] = [
    "ThrottlingException",
    "KMSInternalException",
    "DependencyTimeoutException",
    "KeyUnavailableException",
];

/// AWS KMS in one region. The client is made when it is first used.
pub struct Kms {
    aws: Aws,
    endpoint: String,
    clock: Arc<dyn Clock>,
    http: OnceLock<reqwest::Client>,
}

/// KMS did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum KmsError {
    /// The request could not be made.
    #[error("the request to KMS could not be made")]
    Request(#[source] Box<dyn Error + Send + Sync>),
    /// Nobody answered, or not to the end.
    #[error("KMS did not answer")]
    Unreachable(#[source] reqwest::Error),
    /// It refused.
    #[error("KMS refused with {status} {kind}: {words}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// KMS's name for it.
        kind: String,
        /// KMS's words.
        words: String,
    },
    /// The answer is not what the operation promises.
    #[error("the answer of KMS is not that of {0}")]
    Answer(&'static str),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PublicKeyAnswer {
    key_usage: String,
    key_spec: String,
    public_key: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SignAnswer {
    signing_algorithm: String,
    signature: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Refused {
    #[serde(rename = "__type")]
    kind: String,
    #[serde(alias = "Message")]
    message: String,
}

/// The only algorithm that we sign with.
const ALGORITHM: &str = "ECDSA_SHA_256";

impl Kms {
    /// The service of the region, or one at `endpoint`.
    #[must_use]
    pub fn new(aws: Aws, endpoint: Option<String>, clock: Arc<dyn Clock>) -> Self {
        let regional = || format!("https://kms.{}.amazonaws.com", aws.region());
        let endpoint = endpoint.unwrap_or_else(regional);
        Self {
            aws,
            endpoint,
            clock,
            http: OnceLock::new(),
        }
    }

    /// The public half of a P-256 key for signatures, as a `SubjectPublicKeyInfo` in DER.
    pub async fn public_key(&self, key: &str) -> Result<Vec<u8>, KmsError> {
        let answer: PublicKeyAnswer = self.ask("GetPublicKey", &json!({ "KeyId": key })).await?;
        let is_ours = answer.key_usage == "SIGN_VERIFY" && answer.key_spec == "ECC_NIST_P256";
        let key = BASE64.decode(answer.public_key).ok().filter(|_| is_ours);
        key.ok_or(KmsError::Answer("GetPublicKey for a P-256 key that signs"))
    }

    /// The ECDSA signature of a SHA-256 digest, in DER.
    pub async fn sign_digest(&self, key: &str, digest: &[u8; 32]) -> Result<Vec<u8>, KmsError> {
        let request = json!({
            "KeyId": key,
            "Message": BASE64.encode(digest),
            "MessageType": "DIGEST",
            "SigningAlgorithm": ALGORITHM,
        });
        let answer: SignAnswer = self.ask("Sign", &request).await?;
        let is_ours = answer.signing_algorithm == ALGORITHM;
        let signature = BASE64.decode(answer.signature).ok().filter(|_| is_ours);
        signature.ok_or(KmsError::Answer("Sign with ECDSA and SHA-256"))
    }

    async fn ask<T: for<'de> Deserialize<'de>>(
        &self,
        operation: &'static str,
        request: &Value,
    ) -> Result<T, KmsError> {
        let body = request.to_string();
        let mut attempt = 1;
        let answer = loop {
            match self.attempt(operation, &body).await {
                Err(error) if attempt < ATTEMPTS && error.may_pass() => attempt += 1,
                answer => break answer?,
            }
        };
        serde_json::from_slice(&answer).map_err(|_| KmsError::Answer(operation))
    }

    async fn attempt(&self, operation: &str, body: &str) -> Result<Vec<u8>, KmsError> {
        let request = self.signed(operation, body)?;
        let answer = self
            .client()?
            .execute(request)
            .await
            .map_err(|error| KmsError::Unreachable(error.without_url()))?;
        let status = answer.status();
        let text = read(answer).await?;
        if status.is_success() {
            return Ok(text);
        }
        let refused: Refused = serde_json::from_slice(&text).unwrap_or_default();
        // The name may stand behind a namespace.
        let kind = refused.kind.rsplit('#').next().unwrap_or_default();
        Err(KmsError::Refused {
            status: status.as_u16(),
            kind: kind.to_owned(),
            words: refused.message,
        })
    }

    fn signed(&self, operation: &str, body: &str) -> Result<reqwest::Request, KmsError> {
        let url = Url::parse(&self.endpoint).map_err(unmade)?;
        let target = format!("TrentService.{operation}");
        let headers = [
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", target.as_str()),
        ];
        let identity = self.aws.credentials().into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.aws.region())
            .name("kms")
            .time(self.clock.now().into())
            .settings(SigningSettings::default())
            .build()
            .map_err(unmade)?
            .into();
        let content = SignableBody::Bytes(body.as_bytes());
        let signable = SignableRequest::new("POST", url.as_str(), headers.into_iter(), content)
            .map_err(unmade)?;
        let (signature, _) = sign(signable, &parameters).map_err(unmade)?.into_parts();
        let mut request = self.client()?.post(url.clone()).body(body.to_owned());
        for (name, value) in headers.into_iter().chain(signature.headers()) {
            request = request.header(name, value);
        }
        request.build().map_err(unmade)
    }

    fn client(&self) -> Result<&reqwest::Client, KmsError> {
        if let Some(client) = self.http.get() {
            return Ok(client);
        }
        nightshift_http::tls::choose();
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT)
            .timeout(PATIENCE)
            .build()
            .map_err(unmade)?;
        Ok(self.http.get_or_init(|| client))
    }
}

impl KmsError {
    fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Refused { status, kind, .. } => {
                *status >= 500 || PASSING.contains(&kind.as_str())
            }
            Self::Request(_) | Self::Answer(_) => false,
        }
    }
}

async fn read(mut answer: Response) -> Result<Vec<u8>, KmsError> {
    let mut text = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(KmsError::Unreachable)? {
        text.extend_from_slice(&chunk);
        if text.len() as u64 > ANSWER_BYTES {
            return Err(KmsError::Answer("any operation: it is too long"));
        }
    }
    Ok(text)
}

fn unmade(error: impl Into<Box<dyn Error + Send + Sync>>) -> KmsError {
    KmsError::Request(error.into())
}

impl fmt::Debug for Kms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kms")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}
