//! Announces the next signing key.

use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    BadDocument, KeyFileError,
    document::{Document, Entry, Pem},
    file,
    set::overlap,
};
use crate::signer::{HeldSigner, NotAKey};

/// How long a key is published before it signs, unless somebody says otherwise: longer than every
/// instance takes to read a set from a secret (a minute, and one more in the cache), and every verifier
/// to fetch it (a minute in caches between, five where fetching fails).
pub const DEFAULT_LEAD: TimeDelta = TimeDelta::minutes(15);

/// The key that follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextKey {
    /// One that is made now and written into the set.
    New,
    /// One that KMS holds, by its id, ARN or alias.
    Kms(String),
}

/// What was announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// When the next key begins to sign.
    pub begins_at: DateTime<Utc>,
    /// When the last key is no longer published, and the set may be rotated again.
    pub done_at: DateTime<Utc>,
}

/// The next key was not announced. Never shows a key.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// Another rotation is not over.
    #[error("the last rotation is under way until {}", .until.to_rfc3339())]
    UnderWay {
        /// When it is over.
        until: DateTime<Utc>,
    },
    /// The set cannot be read.
    #[error("the set of signing keys cannot be read")]
    Document(#[from] BadDocument),
    /// No key could be made.
    #[error("no key could be made")]
    Key(#[from] NotAKey),
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// The set is to be left without any time in which both keys are known.
    #[error("the next key must begin later than now")]
    NoLead,
}

/// Announces the next key in the set that the file holds. Whoever uses the file sees it within a second.
pub fn rotate(
    path: &Path,
    next: &NextKey,
    lead: TimeDelta,
    now: DateTime<Utc>,
) -> Result<Rotated, RotateError> {
    let document = Document::parse(&file::read(path)?)?;
    let (document, rotated) = announce(document, next, lead, now)?;
    file::replace(path, &document.text()?)?;
    Ok(rotated)
}

fn announce(
    mut document: Document,
    next: &NextKey,
    lead: TimeDelta,
    now: DateTime<Utc>,
) -> Result<(Document, Rotated), RotateError> {
    if lead <= TimeDelta::zero() {
        return Err(RotateError::NoLead);
    }
    for entry in &document.keys {
        entry.keeper()?;
        entry.life()?;
    }
    if let [first, second] = &document.keys[..] {
        let until = second.begins_at + overlap(first.life()?);
        if now < until {
            return Err(RotateError::UnderWay { until });
        }
        document.keys.remove(0);
    }
    let begins_at = now + lead;
    let (pem, kms) = match next {
        NextKey::New => (Some(Pem(HeldSigner::new_pem()?)), None),
        NextKey::Kms(key) => (None, Some(key.clone())),
    };
    let last = document.keys.last();
    let life = last.map(Entry::life).transpose()?.unwrap_or_default();
    let token_seconds = last.and_then(|last| last.token_seconds);
    document.keys.push(Entry {
        begins_at,
        pem,
        kms,
        token_seconds,
    });
    let rotated = Rotated {
        begins_at,
        done_at: begins_at + overlap(life),
    };
    Ok((document, rotated))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::keys::document::Keeper;

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + minutes * 60, 0).unwrap()
    }

    #[test]
    fn a_set_is_rotated_only_when_the_last_rotation_is_over_and_never_holds_three() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("signing.pem");
        let bare = file::read_or_create(&path).unwrap();
        let keys = || {
            let document = Document::parse(&file::read(&path).unwrap()).unwrap();
            let key = |entry: &Entry| match entry.keeper().unwrap() {
                Keeper::Pem(text) | Keeper::Kms(text) => text.to_owned(),
            };
            document.keys.iter().map(key).collect::<Vec<_>>()
        };

        let first = rotate(&path, &NextKey::New, DEFAULT_LEAD, at(0)).unwrap();
        assert_eq!((first.begins_at, first.done_at), (at(15), at(26)));
        let before = keys();
        assert_eq!((before.len(), &before[0]), (2, &*bare));

        let early = rotate(&path, &NextKey::New, DEFAULT_LEAD, at(25)).unwrap_err();
        assert!(matches!(early, RotateError::UnderWay { until } if until == at(26)));
        assert_eq!(keys(), before, "nothing changed");

        let kms = NextKey::Kms("alias/tokens".to_owned());
        rotate(&path, &kms, DEFAULT_LEAD, at(26)).unwrap();
        assert_eq!(keys(), [before[1].clone(), "alias/tokens".to_owned()]);
    }

    #[test]
    fn the_next_key_signs_for_as_short_a_life_and_the_rotation_is_over_sooner() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("signing.pem");
        file::read_or_create(&path).unwrap();
        let mut document = Document::parse(&file::read(&path).unwrap()).unwrap();
        document.keys[0].token_seconds = Some(20);
        file::replace(&path, &document.text().unwrap()).unwrap();

        let rotated = rotate(&path, &NextKey::New, TimeDelta::minutes(1), at(0)).unwrap();

        assert_eq!(rotated.done_at - rotated.begins_at, TimeDelta::seconds(80));
        let document = Document::parse(&file::read(&path).unwrap()).unwrap();
        assert_eq!(document.keys[1].token_seconds, Some(20));
        let early = rotate(&path, &NextKey::New, TimeDelta::minutes(1), at(2));
        assert!(matches!(early, Err(RotateError::UnderWay { .. })));
        rotate(&path, &NextKey::New, TimeDelta::minutes(1), at(3)).unwrap();
    }

    #[test]
    fn a_key_that_would_begin_at_once_is_not_announced() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("signing.pem");
        file::read_or_create(&path).unwrap();
        let error = rotate(&path, &NextKey::New, TimeDelta::zero(), at(0)).unwrap_err();
        assert!(matches!(error, RotateError::NoLead));
    }
}
