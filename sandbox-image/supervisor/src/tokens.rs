//! The run tokens: in this process's memory, and nowhere else.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use http::HeaderValue;
use nightshift_domain::scope::Audience;
use nightshift_protocol::{attestation::IssuedToken, proof::TOKEN_SCHEME};
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use crate::key::token_hash;

/// Counts the sets of tokens of a run, so that one refused token causes one renewal.
pub type Generation = u64;

/// The current tokens. Overwritten in memory when they are replaced or wiped.
#[derive(Default)]
pub struct Tokens {
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    generation: Generation,
    tokens: Vec<HeldToken>,
}

struct HeldToken {
    audience: Audience,
    token: SecretString,
    hash: String,
    /// Seconds since 1970, by the issuer's clock.
    issued_at: i64,
    came_at: Instant,
}

/// What a request carries for a server: the token, and what the proof beside it must say.
pub struct Presented {
    /// The `Authorization` value, marked sensitive.
    pub authorization: HeaderValue,
    /// The hash of the token.
    pub hash: String,
    /// Now, in seconds since 1970, by the issuer's clock: this machine's own may be wrong by as long as
    /// the machine was suspended.
    pub now: i64,
    /// The set that the token is from.
    pub generation: Generation,
}

impl Tokens {
    /// Replaces all tokens by ones that just came.
    pub fn replace(&self, issued: Vec<IssuedToken>) {
        let came_at = Instant::now();
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.generation += 1;
        held.tokens = issued
            .into_iter()
            .map(|issued| HeldToken {
                audience: issued.audience,
                hash: token_hash(&issued.token),
                token: SecretString::from(issued.token),
                issued_at: issued.issued_at.timestamp(),
                came_at,
            })
            .collect();
    }

    /// Forgets all tokens.
    pub fn wipe(&self) {
        self.replace(Vec::new());
    }

    /// Which set of tokens is current.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .generation
    }

    /// What a request to a server carries, where there is a token for it.
    #[must_use]
    pub fn present(&self, audience: Audience) -> Option<Presented> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let token = held.tokens.iter().find(|held| held.audience == audience)?;
        let text = Zeroizing::new(format!("{TOKEN_SCHEME} {}", token.token.expose_secret()));
        let mut authorization = HeaderValue::from_str(&text).ok()?;
        authorization.set_sensitive(true);
        let since = i64::try_from(token.came_at.elapsed().as_secs()).ok()?;
        Some(Presented {
            authorization,
            hash: token.hash.clone(),
            now: token.issued_at.checked_add(since)?,
            generation: held.generation,
        })
    }
}

/// How long to wait before renewing tokens that just came: 60 % of the shortest life, at least a second.
#[must_use]
pub fn renew_after(issued: &[IssuedToken]) -> Duration {
    issued
        .iter()
        .filter_map(|token| (token.expires_at - token.issued_at).to_std().ok())
        .min()
        .unwrap_or_default()
        .mul_f64(0.6)
        .max(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::*;

    fn issued(audience: Audience, token: &str, seconds: i64) -> IssuedToken {
        let issued_at = DateTime::UNIX_EPOCH + TimeDelta::seconds(1_000);
        IssuedToken {
            audience,
            token: token.to_owned(),
            issued_at,
            expires_at: issued_at + TimeDelta::seconds(seconds),
        }
    }

    #[test]
    fn a_server_gets_its_own_token_and_none_after_wiping() {
        let tokens = Tokens::default();
        tokens.replace(vec![issued(Audience::Llm, "for-llm", 600)]);
        let presented = tokens.present(Audience::Llm).unwrap();
        assert_eq!(presented.authorization, "DPoP for-llm");
        assert!(presented.authorization.is_sensitive());
        assert_eq!(presented.generation, 1);
        assert_eq!(presented.hash, token_hash("for-llm"));
        assert!(tokens.present(Audience::Casebook).is_none());
        tokens.wipe();
        assert!(tokens.present(Audience::Llm).is_none());
    }

    #[test]
    fn the_time_of_proofs_is_the_issuers_and_not_this_machines() {
        let tokens = Tokens::default();
        tokens.replace(vec![issued(Audience::Llm, "for-llm", 600)]);
        let presented = tokens.present(Audience::Llm).unwrap();
        assert!((1_000..1_030).contains(&presented.now), "{}", presented.now);
    }

    #[test]
    fn renewal_is_due_at_sixty_percent_of_the_shortest_life() {
        let tokens = [
            issued(Audience::Llm, "a", 600),
            issued(Audience::Casebook, "b", 300),
        ];
        assert_eq!(renew_after(&tokens), Duration::from_mins(3));
        let over = [issued(Audience::Llm, "a", -5)];
        assert_eq!(renew_after(&over), Duration::from_secs(1));
    }
}
