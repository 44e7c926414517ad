//! Our control plane's word, as the tests give it: good, or wrong in one thing.

use std::sync::{Arc, Mutex};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use nightshift_secrets::{CredentialName, Pending, Reader, SecretError, aws::WebIdentity};
use p256::ecdsa::{Signature, SigningKey, signature::Signer};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::policies::ISSUER;

pub(crate) const NOW: i64 = 1_790_000_000;
/// The claim that session tags come in, as the IAM user guide spells it.
pub(crate) const TAGS: &str = "https://aws.amazon.com/tags";

/// Changes a token's claims before they are signed.
type Change = dyn Fn(&mut Value) + Send + Sync;

/// Signs tokens for whatever it is asked.
#[derive(Clone)]
pub(crate) struct Issuer {
    pub(crate) key: SigningKey,
    change: Arc<Mutex<Arc<Change>>>,
    pub(crate) given: Arc<Mutex<Vec<String>>>,
}

impl Issuer {
    pub(crate) fn new(scalar: u8) -> Self {
        let mut bytes = [7; 32];
        bytes[31] = scalar;
        Self {
            key: SigningKey::from_slice(&bytes).unwrap(),
            change: Arc::new(Mutex::new(Arc::new(|_| {}))),
            given: Arc::default(),
        }
    }

    /// From here on every token is wrong in this way.
    pub(crate) fn wrong(&self, change: impl Fn(&mut Value) + Send + Sync + 'static) {
        *self.change.lock().unwrap() = Arc::new(change);
    }

    fn sign(&self, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({"typ": "JWT", "alg": "ES256", "kid": "current"});
        let message = format!("{}.{}", part(&header), part(claims));
        let signature: Signature = self.key.sign(message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
    }
}

impl WebIdentity for Issuer {
    fn token<'a>(
        &'a self,
        reader: Reader,
        name: &'a CredentialName,
    ) -> Pending<'a, Result<SecretString, SecretError>> {
        Box::pin(async move {
            let mut claims = json!({
                "iss": format!("https://{ISSUER}"),
                "aud": "sts.amazonaws.com",
                "sub": "mcp:telemetry",
                "iat": NOW, "nbf": NOW, "exp": NOW + 300,
                "jti": format!("{}-{name}", reader.run),
                TAGS: {
                    "principal_tags": {
                        "tenant": [reader.tenant.as_uuid().to_string()],
                        "run": [reader.run.to_string()],
                        "credential": [name.as_str()],
                    },
                    "transitive_tag_keys": ["tenant", "run", "credential"],
                },
            });
            let change = Arc::clone(&self.change.lock().unwrap());
            change(&mut claims);
            let token = self.sign(&claims);
            self.given.lock().unwrap().push(token.clone());
            Ok(token.into())
        })
    }
}
