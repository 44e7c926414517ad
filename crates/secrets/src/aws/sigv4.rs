//! Signature version 4 of one request: a POST to `/` without a query.
//!
//! See "Create a signed AWS API request" in the IAM user guide.

use std::fmt;

use chrono::{DateTime, Utc};
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Short credentials of AWS.
pub struct Keys {
    /// The access key's identity; not secret.
    pub id: String,
    /// The secret key.
    pub secret: SecretString,
    /// The session token that goes with it.
    pub session: SecretString,
}

/// What a signed request carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// `Authorization`.
    pub authorization: String,
    /// `X-Amz-Date`.
    pub date: String,
}

/// Signs a POST to `/` of `host` with these headers and this body, for a service in a region. The names of the
/// headers are in lower case; `host`, the date and the session token are added and signed too.
#[must_use]
pub fn sign(
    keys: &Keys,
    (region, service): (&str, &str),
    host: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    now: DateTime<Utc>,
) -> Signature {
    let date = now.format("%Y%m%dT%H%M%SZ").to_string();
    let day = &date[..8];
    let mut signed: Vec<(&str, &str)> = headers.to_vec();
    signed.extend([
        ("host", host),
        ("x-amz-date", &date),
        ("x-amz-security-token", keys.session.expose_secret()),
    ]);
    signed.sort_unstable();
    let names: Vec<&str> = signed.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let mut lines = Zeroizing::new(String::new());
    for (name, value) in &signed {
        for part in [name, ":", value.trim(), "\n"] {
            lines.push_str(part);
        }
    }
    let body = hex::encode(Sha256::digest(body));
    let canonical = Zeroizing::new(format!("POST\n/\n\n{}\n{names}\n{body}", *lines));
    let scope = format!("{day}/{region}/{service}/aws4_request");
    let hashed = hex::encode(Sha256::digest(canonical.as_bytes()));
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashed}");

    let secret = Zeroizing::new(format!("AWS4{}", keys.secret.expose_secret()));
    let key = [day, region, service, "aws4_request"]
        .iter()
        .fold(Zeroizing::new(secret.as_bytes().to_vec()), |key, part| {
            Zeroizing::new(mac(&key, part.as_bytes()).to_vec())
        });
    let signature = hex::encode(mac(&key, text.as_bytes()));
    Signature {
        authorization: format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            keys.id
        ),
        date,
    }
}

fn mac(key: &[u8], text: &[u8]) -> [u8; 32] {
    // A key of the block's length, longer ones hashed to it first as RFC 2104 says, is taken as it is: this
    // cannot fail.
    let mut block = Zeroizing::new([0; 64]);
    if key.len() > block.len() {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let mut mac = Hmac::<Sha256>::new(&(*block).into());
    mac.update(text);
    mac.finalize().into_bytes().into()
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
