//! Which key signs and which are published, at any time.

use std::{fmt, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use nightshift_protocol::run_token::MAX_LIFE_SECONDS;

use crate::signer::{PublicKey, Signer};

/// What a key stays published for beyond its last token: clocks differ, and signatures were under way.
const MARGIN: TimeDelta = TimeDelta::seconds(60);

/// How long a key stays published after another one has begun, at most: the longest life of the last token
/// that it signed, and the margin.
pub const OVERLAP: TimeDelta = overlap(TimeDelta::seconds(MAX_LIFE_SECONDS));

/// How long a key stays published after another one has begun whose tokens live for `life`.
pub(super) const fn overlap(life: TimeDelta) -> TimeDelta {
    match life.checked_add(&MARGIN) {
        Some(overlap) => overlap,
        None => TimeDelta::MAX,
    }
}

/// What signs at some time, and how long what it signs is good for.
#[derive(Debug, Clone, Copy)]
pub struct Signing<'a> {
    /// The key.
    pub signer: &'a dyn Signer,
    /// The life of a token.
    pub life: TimeDelta,
}

/// A key and when it begins to sign.
#[derive(Debug, Clone)]
pub(super) struct Scheduled {
    pub(super) begins_at: DateTime<Utc>,
    /// How long its tokens live.
    pub(super) life: TimeDelta,
    pub(super) signer: Arc<dyn Signer>,
}

/// One key, or two while one follows the other.
#[derive(Debug, Clone)]
pub struct KeySet {
    first: Scheduled,
    second: Option<Scheduled>,
}

/// The keys do not make a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadKeySet {
    /// There is none.
    #[error("the set of signing keys is empty")]
    Empty,
    /// There are more than two.
    #[error("the set of signing keys holds more than two")]
    TooMany,
    /// The second one does not begin after the first.
    #[error("the second signing key does not begin after the first")]
    Order,
    /// Both are the same.
    #[error("the set of signing keys holds one twice")]
    Twice,
}

impl KeySet {
    pub(super) fn of(keys: Vec<Scheduled>) -> Result<Self, BadKeySet> {
        let mut keys = keys.into_iter();
        let first = keys.next().ok_or(BadKeySet::Empty)?;
        let second = keys.next();
        if keys.next().is_some() {
            return Err(BadKeySet::TooMany);
        }
        if let Some(second) = &second {
            if second.begins_at <= first.begins_at {
                return Err(BadKeySet::Order);
            }
            if second.signer.public().kid == first.signer.public().kid {
                return Err(BadKeySet::Twice);
            }
        }
        Ok(Self { first, second })
    }

    /// The key that signs at `now`.
    #[must_use]
    pub fn signer(&self, now: DateTime<Utc>) -> &dyn Signer {
        self.signing(now).signer
    }

    /// The same, and how long its tokens live.
    #[must_use]
    pub fn signing(&self, now: DateTime<Utc>) -> Signing<'_> {
        let key = match &self.second {
            Some(second) if second.begins_at <= now => second,
            _ => &self.first,
        };
        Signing {
            signer: &*key.signer,
            life: key.life,
        }
    }

    /// Every key whose tokens verifiers should accept at `now` or soon, the one that signs first.
    #[must_use]
    pub fn published(&self, now: DateTime<Utc>) -> Vec<PublicKey> {
        let first = self.first.signer.public().clone();
        let Some(second) = &self.second else {
            return vec![first];
        };
        let public = second.signer.public().clone();
        if now < second.begins_at {
            vec![first, public]
        } else if now < second.begins_at + overlap(self.first.life) {
            vec![public, first]
        } else {
            vec![public]
        }
    }
}

impl fmt::Display for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first.signer.public().kid)?;
        if let Some(second) = &self.second {
            let kid = &second.signer.public().kid;
            write!(f, ", {kid} from {}", second.begins_at.to_rfc3339())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signer::HeldSigner;

    fn key(begins_s: i64) -> Scheduled {
        let pem = HeldSigner::new_pem().unwrap();
        Scheduled {
            begins_at: at(begins_s),
            life: TimeDelta::seconds(MAX_LIFE_SECONDS),
            signer: Arc::new(HeldSigner::from_pem(&pem).unwrap()),
        }
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn the_next_key_is_published_before_it_signs_and_the_last_until_its_tokens_have_ended() {
        let (old, new) = (key(0), key(1_000));
        let kid = |key: &Scheduled| key.signer.public().kid.clone();
        let (old_kid, new_kid) = (kid(&old), kid(&new));
        let set = KeySet::of(vec![old, new]).unwrap();
        let told = |seconds| {
            let published = set.published(at(seconds));
            let kids: Vec<String> = published.into_iter().map(|key| key.kid).collect();
            (set.signer(at(seconds)).public().kid.clone(), kids)
        };
        let both = |one: &String, other: &String| vec![one.clone(), other.clone()];
        assert_eq!(told(999), (old_kid.clone(), both(&old_kid, &new_kid)));
        assert_eq!(told(1_000), (new_kid.clone(), both(&new_kid, &old_kid)));
        // The last token of the old key was signed at 999 and ends at 1599, give or take the clocks.
        assert_eq!(told(1_659), (new_kid.clone(), both(&new_kid, &old_kid)));
        assert_eq!(told(1_660), (new_kid.clone(), vec![new_kid]));
    }

    #[test]
    fn a_key_whose_tokens_end_sooner_is_published_for_less_long() {
        let short = Scheduled {
            life: TimeDelta::seconds(20),
            ..key(0)
        };
        let set = KeySet::of(vec![short, key(1_000)]).unwrap();
        assert_eq!(set.signing(at(999)).life, TimeDelta::seconds(20));
        assert_eq!(set.signing(at(1_000)).life.num_seconds(), MAX_LIFE_SECONDS);
        assert_eq!(set.published(at(1_079)).len(), 2);
        assert_eq!(set.published(at(1_080)).len(), 1);
    }

    #[test]
    fn a_set_has_one_key_or_two_different_ones_in_order() {
        let set = |keys| KeySet::of(keys).err();
        assert_eq!(set(vec![]), Some(BadKeySet::Empty));
        assert_eq!(set(vec![key(0)]), None);
        assert_eq!(set(vec![key(0), key(1)]), None);
        assert_eq!(set(vec![key(1), key(1)]), Some(BadKeySet::Order));
        assert_eq!(set(vec![key(0), key(1), key(2)]), Some(BadKeySet::TooMany));
        let one = key(0);
        let mut again = one.clone();
        again.begins_at = at(1);
        assert_eq!(set(vec![one, again]), Some(BadKeySet::Twice));
    }
}
