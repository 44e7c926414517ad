//! Verifies that whoever presents a run token holds the key that it is bound to (RFC 9449, DPoP).
//!
//! The proof names the method and the URL of the one request that it is for. The URL is compared with
//! the origin that this server was told it has, never with a header: what stands in front of it may
//! have changed those, and the sender may have made them up. There is no server nonce: the sender's
//! clock is set by the tokens that it gets, so a window of a minute does, and each proof counts once.

mod seen;

use std::sync::{Arc, Mutex, PoisonError};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, Method, Uri};
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use nightshift_controls::{Control, holds};
use nightshift_protocol::proof::{
    MAX_PROOF_AGE_SECONDS, PROOF_ALGORITHM, PROOF_HEADER, PROOF_TYPE, ProofClaims, ProofHeader,
    ProofJwk,
};
use reqwest::Url;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use self::seen::{Novelty, Seen};
use crate::Clock;

/// How far the clock of a proof may be ahead of ours, in seconds.
const LEEWAY_SECONDS: i64 = 5;
/// No proof is longer than this, in bytes; real ones have about 500.
const MAX_PROOF_BYTES: usize = 4 * 1024;
/// The longest name of a proof, in bytes.
const MAX_JTI_BYTES: usize = 128;

/// Verifies proofs for one server.
pub(crate) struct ProofVerifier {
    origin: Url,
    clock: Arc<dyn Clock>,
    seen: Mutex<Seen>,
}

/// The request that a proof is for, as this server got it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
}

/// Why a proof is not accepted. For our log only, but for the difference between wrong and too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProofRefusal {
    #[error("there is not exactly one")]
    NotOne,
    #[error("it is too long")]
    TooLong,
    #[error("it is not a JWT")]
    Malformed,
    #[error("its header is not that of a proof: {0}")]
    Header(&'static str),
    #[error("it is by another key than the token's")]
    OtherKey,
    #[error("its claim `{0}` is not acceptable")]
    Claim(&'static str),
    #[error("its signature is wrong")]
    Signature,
    #[error("it was used before")]
    Replayed,
    #[error("its key made too many")]
    TooMany,
    #[error("all keys together made more than are remembered")]
    Full,
}

impl ProofVerifier {
    /// Verifies proofs for requests to `origin`.
    pub(crate) fn new(origin: Url, clock: Arc<dyn Clock>) -> Self {
        let keep_seconds = MAX_PROOF_AGE_SECONDS + LEEWAY_SECONDS;
        Self {
            origin,
            clock,
            seen: Mutex::new(Seen::remembering(keep_seconds)),
        }
    }

    /// Whether the request proves that its sender holds the key of `thumbprint`, to which `token` is
    /// bound. A proof that is accepted is used up.
    pub(crate) fn verify(
        &self,
        asked: Asked<'_>,
        token: &str,
        thumbprint: &str,
    ) -> Result<(), ProofRefusal> {
        let proof = only(asked.headers)?;
        if proof.len() > MAX_PROOF_BYTES {
            return Err(ProofRefusal::TooLong);
        }
        let (message, signature) = proof.rsplit_once('.').ok_or(ProofRefusal::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(ProofRefusal::Malformed)?;
        let header: ProofHeader = part(header).ok_or(ProofRefusal::Malformed)?;
        let claims: ProofClaims = part(claims).ok_or(ProofRefusal::Malformed)?;
        check_header(&header).map_err(ProofRefusal::Header)?;
        if digest(&header.jwk.canonical()) != thumbprint && holds(Control::ProofKey) {
            return Err(ProofRefusal::OtherKey);
        }
        let now = self.clock.now().timestamp();
        self.check_claims(&claims, asked, token, now)
            .map_err(ProofRefusal::Claim)?;
        check_signature(message, signature, &header.jwk)?;
        // Last, so that only holders of keys can make us remember anything.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.note(thumbprint, &claims.jti, now) {
            Novelty::New => Ok(()),
            Novelty::Seen if !holds(Control::ProofOnce) => Ok(()),
            Novelty::Seen => Err(ProofRefusal::Replayed),
            Novelty::TooMany => Err(ProofRefusal::TooMany),
            Novelty::Full => Err(ProofRefusal::Full),
        }
    }

    fn check_claims(
        &self,
        claims: &ProofClaims,
        asked: Asked<'_>,
        token: &str,
        now: i64,
    ) -> Result<(), &'static str> {
        let oldest = now.saturating_sub(MAX_PROOF_AGE_SECONDS);
        let newest = now.saturating_add(LEEWAY_SECONDS);
        let checks = [
            (
                claims.htm == asked.method.as_str() || !holds(Control::ProofMethod),
                "htm",
            ),
            (
                self.is_asked(&claims.htu, asked.uri) || !holds(Control::ProofUrl),
                "htu",
            ),
            (
                (oldest..=newest).contains(&claims.iat) || !holds(Control::ProofAge),
                "iat",
            ),
            (
                claims.ath == digest(token) || !holds(Control::ProofToken),
                "ath",
            ),
            ((1..=MAX_JTI_BYTES).contains(&claims.jti.len()), "jti"),
        ];
        checks
            .into_iter()
            .find(|(holds, _)| !holds)
            .map_or(Ok(()), |(_, claim)| Err(claim))
    }

    /// Whether the URL of a proof is the one that was asked for at our origin. Both are normalised
    /// alike, as RFC 9449 §4.3 has it; query and fragment do not count.
    fn is_asked(&self, htu: &str, uri: &Uri) -> bool {
        let Ok(mut proved) = Url::parse(htu) else {
            return false;
        };
        proved.set_query(None);
        proved.set_fragment(None);
        let mut real = self.origin.clone();
        real.set_path(uri.path());
        proved == real
    }
}

/// The one proof of the request.
fn only(headers: &HeaderMap) -> Result<&str, ProofRefusal> {
    let mut values = headers.get_all(PROOF_HEADER).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().map_err(|_| ProofRefusal::Malformed),
        _ => Err(ProofRefusal::NotOne),
    }
}

fn part<T: DeserializeOwned>(part: &str) -> Option<T> {
    let json = URL_SAFE_NO_PAD.decode(part).ok()?;
    serde_json::from_slice(&json).ok()
}

fn check_header(header: &ProofHeader) -> Result<(), &'static str> {
    let is_coordinate =
        |text: &str| matches!(URL_SAFE_NO_PAD.decode(text), Ok(bytes) if bytes.len() == 32);
    let checks = [
        (header.typ == PROOF_TYPE, "typ"),
        (header.alg == PROOF_ALGORITHM, "alg"),
        (header.jwk.kty == "EC", "kty"),
        (header.jwk.crv == "P-256", "crv"),
        (is_coordinate(&header.jwk.x), "x"),
        (is_coordinate(&header.jwk.y), "y"),
    ];
    checks
        .into_iter()
        .find(|(holds, _)| !holds)
        .map_or(Ok(()), |(_, what)| Err(what))
}

fn check_signature(message: &str, signature: &str, jwk: &ProofJwk) -> Result<(), ProofRefusal> {
    let key =
        DecodingKey::from_ec_components(&jwk.x, &jwk.y).map_err(|_| ProofRefusal::Header("jwk"))?;
    match crypto::verify(signature, message.as_bytes(), &key, Algorithm::ES256) {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) if !holds(Control::ProofSignature) => Ok(()),
        Ok(false) | Err(_) => Err(ProofRefusal::Signature),
    }
}

/// SHA-256 in base64url: the form of `ath` and of thumbprints.
fn digest(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(text))
}

impl std::fmt::Debug for ProofVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProofVerifier")
            .field("origin", &self.origin.as_str())
            .finish_non_exhaustive()
    }
}
