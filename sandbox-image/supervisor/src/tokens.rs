//! The run tokens: in this process's memory, and nowhere else.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use http::HeaderValue;
use nightshift_domain::scope::Audience;
use nightshift_protocol::attestation::IssuedToken;
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

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
    tokens: Vec<(Audience, SecretString)>,
}

impl Tokens {
    /// Replaces all tokens.
    pub fn replace(&self, issued: Vec<IssuedToken>) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.generation += 1;
        held.tokens = issued
            .into_iter()
            .map(|issued| (issued.audience, SecretString::from(issued.token)))
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

    /// The `Authorization` value for a server, marked sensitive, and the set it is from.
    #[must_use]
    pub fn authorization(&self, audience: Audience) -> Option<(HeaderValue, Generation)> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, token) = held.tokens.iter().find(|(of, _)| *of == audience)?;
        let text = Zeroizing::new(format!("Bearer {}", token.expose_secret()));
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some((value, held.generation))
    }
}

/// How long to wait before renewing: 60 % of the shortest life that is left, at least a second.
#[must_use]
pub fn renew_after(issued: &[IssuedToken], now: DateTime<Utc>) -> Duration {
    issued
        .iter()
        .filter_map(|token| (token.expires_at - now).to_std().ok())
        .min()
        .unwrap_or_default()
        .mul_f64(0.6)
        .max(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn issued(audience: Audience, token: &str, seconds: i64) -> IssuedToken {
        IssuedToken {
            audience,
            token: token.to_owned(),
            expires_at: DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds),
        }
    }

    #[test]
    fn a_server_gets_its_own_token_and_none_after_wiping() {
        let tokens = Tokens::default();
        tokens.replace(vec![issued(Audience::Llm, "for-llm", 600)]);
        let (value, generation) = tokens.authorization(Audience::Llm).unwrap();
        assert_eq!(value, "Bearer for-llm");
        assert!(value.is_sensitive());
        assert_eq!(generation, 1);
        assert!(tokens.authorization(Audience::Casebook).is_none());
        tokens.wipe();
        assert!(tokens.authorization(Audience::Llm).is_none());
    }

    #[test]
    fn renewal_is_due_at_sixty_percent_of_the_shortest_life() {
        let tokens = [
            issued(Audience::Llm, "a", 600),
            issued(Audience::Casebook, "b", 300),
        ];
        assert_eq!(
            renew_after(&tokens, DateTime::UNIX_EPOCH),
            Duration::from_mins(3)
        );
        let late = DateTime::UNIX_EPOCH + TimeDelta::seconds(900);
        assert_eq!(renew_after(&tokens, late), Duration::from_secs(1));
    }
}
