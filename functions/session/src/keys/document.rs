//! How a set of signing keys is written down: one JSON object, or a bare key in PEM.
//!
//! ```json
//! {"keys": [{"begins_at": "2026-11-01T00:00:00Z", "kms": "arn:aws:kms:…"},
//!           {"begins_at": "2026-12-01T00:00:00Z", "pem": "-----BEGIN PRIVATE KEY-----…"}]}
//! ```
//!
//! `"token_seconds"` beside a key makes the tokens that it signs end sooner than after ten minutes.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use nightshift_protocol::run_token::MAX_LIFE_SECONDS;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// A set of signing keys as it is written down.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub(super) keys: Vec<Entry>,
}

/// A key, with exactly one keeper.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) begins_at: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pem: Option<Pem>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) kms: Option<String>,
    /// How long the tokens live that it signs, if not as long as any may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) token_seconds: Option<i64>,
}

/// The shortest life of a token, in seconds: below, sandboxes would do little but renew.
const MIN_LIFE_SECONDS: i64 = 10;

/// Where a key is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Keeper<'a> {
    Pem(&'a str),
    Kms(&'a str),
}

/// A private key in PEM. Overwritten when it is dropped, and not shown.
pub(super) struct Pem(pub(super) Zeroizing<String>);

/// The text is no set of signing keys. Never shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadDocument {
    /// It is not the JSON that it should be.
    #[error("line {line}, column {column} is not as it should be")]
    Json {
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// A key has no keeper, or two.
    #[error("each key needs either `pem` or `kms`")]
    Keeper,
    /// Tokens would live too long for servers, or too short to be of use.
    #[error("`token_seconds` is not between {MIN_LIFE_SECONDS} and {MAX_LIFE_SECONDS}")]
    Life,
}

impl Document {
    /// Reads it. A bare key has begun long ago.
    pub(super) fn parse(text: &str) -> Result<Self, BadDocument> {
        if text.trim_start().starts_with("-----BEGIN") {
            let entry = Entry {
                begins_at: DateTime::UNIX_EPOCH,
                pem: Some(Pem(Zeroizing::new(text.to_owned()))),
                kms: None,
                token_seconds: None,
            };
            return Ok(Self { keys: vec![entry] });
        }
        // Its own words may repeat the text.
        serde_json::from_str(text).map_err(|error| BadDocument::Json {
            line: error.line(),
            column: error.column(),
        })
    }

    /// Writes it.
    pub(super) fn text(&self) -> Result<Zeroizing<String>, BadDocument> {
        let text = serde_json::to_string_pretty(self);
        text.map(Zeroizing::new).map_err(|_| BadDocument::Keeper)
    }
}

impl Entry {
    /// Where the key is.
    pub(super) fn keeper(&self) -> Result<Keeper<'_>, BadDocument> {
        match (&self.pem, &self.kms) {
            (Some(pem), None) => Ok(Keeper::Pem(&pem.0)),
            (None, Some(kms)) => Ok(Keeper::Kms(kms)),
            (Some(_), Some(_)) | (None, None) => Err(BadDocument::Keeper),
        }
    }

    /// How long the tokens live that it signs.
    pub(super) fn life(&self) -> Result<TimeDelta, BadDocument> {
        let seconds = self.token_seconds.unwrap_or(MAX_LIFE_SECONDS);
        if !(MIN_LIFE_SECONDS..=MAX_LIFE_SECONDS).contains(&seconds) {
            return Err(BadDocument::Life);
        }
        Ok(TimeDelta::seconds(seconds))
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pem")
    }
}

impl Serialize for Pem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Pem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Zeroizing::new(String::deserialize(deserializer)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_no_set_is_refused_and_not_shown() {
        let at = "2026-11-01T00:00:00Z";
        for text in [
            "hunter2".to_owned(),
            r#"{"keys": "hunter2"}"#.to_owned(),
            format!(r#"{{"keys": [{{"begins_at": "{at}", "kms": "a", "hunter2": 1}}]}}"#),
            r#"{"keys": [{"begins_at": "hunter2", "kms": "a"}]}"#.to_owned(),
        ] {
            let error = Document::parse(&text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
        for entry in [
            format!(r#"{{"begins_at": "{at}"}}"#),
            format!(r#"{{"begins_at": "{at}", "kms": "a", "pem": "hunter2"}}"#),
        ] {
            let document = Document::parse(&format!(r#"{{"keys": [{entry}]}}"#)).unwrap();
            assert_eq!(document.keys[0].keeper().err(), Some(BadDocument::Keeper));
            assert!(!format!("{document:?}").contains("hunter2"));
        }
        let life = |told: &str| {
            let key = format!(r#"{{"begins_at": "{at}", "kms": "a"{told}}}"#);
            let document = Document::parse(&format!(r#"{{"keys": [{key}]}}"#)).unwrap();
            document.keys[0].life().ok().map(|life| life.num_seconds())
        };
        assert_eq!(life(""), Some(MAX_LIFE_SECONDS));
        assert_eq!(life(r#", "token_seconds": 20"#), Some(20));
        assert_eq!(life(r#", "token_seconds": 9"#), None);
        assert_eq!(life(r#", "token_seconds": 601"#), None);
    }
}
