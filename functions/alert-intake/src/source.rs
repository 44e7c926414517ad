//! The senders of alerts we understand. One file each: how it proves itself, and what its bodies
//! say. Adding one is adding a file and naming it in [`named`].

mod generic;
mod mac;
mod pagerduty;
mod text;

use axum::http::HeaderMap;
use chrono::{DateTime, Utc};
use nightshift_domain::alert::Signal;
use secrecy::SecretString;
use serde_json::Value;
use sha2::{Digest, Sha256};

pub(crate) use mac::decoy;

/// One kind of sender.
pub(crate) trait Source: Send + Sync {
    /// Whether one of `secrets` signed exactly these bytes. Takes as long for a wrong signature as
    /// for a right one.
    fn verify(&self, delivery: &Delivery<'_>, secrets: &[SecretString]) -> bool;

    /// What an authentic delivery says. `mapping` is what the endpoint's owner set up, if anything.
    fn read(&self, delivery: &Delivery<'_>, mapping: Option<&Value>) -> Reading;
}

/// One request as it arrived. Only the bytes of `body` are signed; headers are not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delivery<'a> {
    /// Its headers.
    pub(crate) headers: &'a HeaderMap,
    /// Its body, byte for byte.
    pub(crate) body: &'a [u8],
    /// When it arrived.
    pub(crate) now: DateTime<Utc>,
}

/// What a delivery says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reading {
    /// The same for every attempt to deliver the same thing, at most 200 bytes.
    pub(crate) delivery_key: String,
    /// Its content.
    pub(crate) content: Content,
}

/// The content of a delivery.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Content {
    /// Something fired or recovered.
    Signal(Box<Signal>),
    /// The sender told us something that starts and ends nothing.
    Ignored {
        /// The sender's name of it, and what it was about.
        event: String,
    },
    /// It is not what this sender sends.
    Malformed {
        /// What is wrong with it.
        why: String,
    },
}

/// The source of that name.
pub(crate) fn named(name: &str) -> Option<&'static dyn Source> {
    match name {
        "pagerduty" => Some(&pagerduty::PagerDuty),
        "generic" => Some(&generic::Generic),
        _ => None,
    }
}

impl Delivery<'_> {
    /// The one value of a header; `None` where it is absent, repeated or not text.
    fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?;
        if values.next().is_some() {
            return None;
        }
        value.to_str().ok()
    }

    /// A key made of the bytes themselves.
    fn digest_key(&self) -> String {
        format!("sha256:{}", hex::encode(Sha256::digest(self.body)))
    }
}

/// A sender's own key, shortened to a digest where it is too long or unprintable.
fn bounded_key(key: &str) -> String {
    if key.len() <= 200 && key.bytes().all(|byte| byte.is_ascii_graphic()) {
        key.to_owned()
    } else {
        format!("sha256:{}", hex::encode(Sha256::digest(key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_or_odd_key_becomes_a_digest_and_a_plain_one_is_never_hashed() {
        assert_eq!(bounded_key("01BZ-x/Q2"), "01BZ-x/Q2");
        for odd in ["a".repeat(201), "a b".to_owned(), "a\u{0}".to_owned()] {
            assert!(bounded_key(&odd).starts_with("sha256:"), "{odd:?}");
        }
        assert_ne!(bounded_key("a b"), bounded_key("a\u{0}b"));
    }
}
