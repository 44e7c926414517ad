//! What a tenant calls a credential.

use std::{fmt, str::FromStr};

use serde::Deserialize;

/// The longest name, in bytes.
const MAX_BYTES: usize = 63;

/// What a tenant calls a credential: lower-case letters, digits and hyphens, so that it is one segment of a
/// path or of a secret's name and can be nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct CredentialName(String);

/// The text is no name of a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a credential's name has 1 to {MAX_BYTES} lower-case letters, digits and hyphens")]
pub struct BadName;

impl CredentialName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CredentialName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let plain = (1..=MAX_BYTES).contains(&text.len()) && text.bytes().all(known);
        plain.then(|| Self(text.to_owned())).ok_or(BadName)
    }
}

impl TryFrom<String> for CredentialName {
    type Error = BadName;

    fn try_from(text: String) -> Result<Self, BadName> {
        text.parse()
    }
}

impl fmt::Display for CredentialName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_segment_and_nothing_that_means_more() {
        for name in ["prometheus", "pager-duty", "a", "0"] {
            assert!(name.parse::<CredentialName>().is_ok(), "{name}");
        }
        let long = "a".repeat(64);
        for bad in [
            "", "..", "a/b", "A", "a*", "a?", "${aws:x}", "a b", "a\0", "é", &long,
        ] {
            assert_eq!(bad.parse::<CredentialName>(), Err(BadName), "{bad}");
        }
    }
}
