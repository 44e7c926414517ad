//! Mints run tokens: JWT, ES256, ten minutes, one server each, bound to the holder's key.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use futures_util::future::try_join_all;
use nightshift_domain::scope::Audience;
use nightshift_engine::attest::RunGrant;
use nightshift_protocol::{
    attestation::IssuedToken,
    run_token::{Confirmation, RunClaims, TOKEN_TYPE},
};
use serde::Serialize;

use crate::{
    keys::Signing,
    signer::{SignError, Signer},
};

/// A token was not minted.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The signer failed.
    #[error("no token was signed")]
    Unsigned(#[from] SignError),
    /// A claim could not be written as JSON.
    #[error("the claims could not be written")]
    Unwritable(#[from] serde_json::Error),
}

#[derive(Serialize)]
struct Header<'a> {
    typ: &'static str,
    alg: &'static str,
    kid: &'a str,
}

/// One token per server, each with all scopes that server knows, bound to the key of `thumbprint`.
pub async fn mint(
    Signing { signer, life }: Signing<'_>,
    issuer: &str,
    grant: &RunGrant,
    thumbprint: &str,
    now: DateTime<Utc>,
) -> Result<Vec<IssuedToken>, MintError> {
    let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap_or(now);
    let tokens = Audience::ALL.iter().map(async |&audience| {
        let claims = claims(issuer, grant, audience, thumbprint, (now, now + life));
        Ok::<_, MintError>(IssuedToken {
            audience,
            token: sign(signer, TOKEN_TYPE, &claims).await?,
            issued_at: at(claims.iat),
            expires_at: at(claims.exp),
        })
    });
    // Together: a keeper of keys may be a round trip away.
    try_join_all(tokens).await
}

/// A JWT of this type.
pub(crate) async fn sign(
    signer: &dyn Signer,
    typ: &'static str,
    claims: &impl Serialize,
) -> Result<String, MintError> {
    let header = Header {
        typ,
        alg: "ES256",
        kid: &signer.public().kid,
    };
    let message = format!("{}.{}", encode(&header)?, encode(claims)?);
    let signature = signer.sign(message.as_bytes()).await?;
    Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

fn claims(
    issuer: &str,
    grant: &RunGrant,
    audience: Audience,
    thumbprint: &str,
    (now, end): (DateTime<Utc>, DateTime<Utc>),
) -> RunClaims {
    let scopes: Vec<&str> = audience
        .scopes()
        .iter()
        .map(|scope| scope.as_str())
        .collect();
    RunClaims {
        iss: issuer.to_owned(),
        aud: audience.as_str().to_owned(),
        sub: format!("run:{}", grant.investigation),
        tenant: grant.tenant,
        investigation: grant.investigation,
        sandbox: grant.sandbox,
        epoch: grant.epoch,
        scope: scopes.join(" "),
        jti: uuid::Uuid::new_v4().simple().to_string(),
        iat: now.timestamp(),
        nbf: now.timestamp(),
        exp: end.timestamp(),
        cnf: Confirmation {
            jkt: thumbprint.to_owned(),
        },
    }
}

fn encode(part: &impl Serialize) -> Result<String, serde_json::Error> {
    Ok(URL_SAFE_NO_PAD.encode(serde_json::to_vec(part)?))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chrono::TimeDelta;
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, jwk::Jwk};
    use nightshift_domain::{Epoch, InvestigationId, SandboxId, TenantId};
    use p256::ecdsa::{Signature, VerifyingKey, signature::Verifier};

    use super::*;
    use crate::signer::HeldSigner;

    const ISSUER: &str = "https://session.nightshift.local";

    fn grant() -> RunGrant {
        RunGrant {
            tenant: TenantId::generate(),
            investigation: InvestigationId::generate(),
            sandbox: SandboxId::generate(),
            epoch: Epoch(3),
        }
    }

    fn decoded(part: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(part).unwrap()
    }

    async fn minted(grant: RunGrant, now: DateTime<Utc>) -> (Vec<IssuedToken>, serde_json::Value) {
        let signer = HeldSigner::from_pem(&HeldSigner::new_pem().unwrap()).unwrap();
        let signing = Signing {
            signer: &signer,
            life: TimeDelta::minutes(10),
        };
        let tokens = mint(signing, ISSUER, &grant, "thumb", now).await.unwrap();
        (tokens, serde_json::to_value(signer.public()).unwrap())
    }

    #[tokio::test]
    async fn every_server_gets_one_token_with_its_scopes_and_nothing_else() {
        let now = "2026-11-20T03:00:00.750Z".parse().unwrap();
        let grant = grant();
        let (tokens, key) = minted(grant, now).await;

        // By hand, from the published coordinates, with the curve's own verifier.
        let point = [
            &[4][..],
            &decoded(key["x"].as_str().unwrap()),
            &decoded(key["y"].as_str().unwrap()),
        ];
        let verifier = VerifyingKey::from_sec1_bytes(&point.concat()).unwrap();
        let mut audiences = BTreeSet::new();
        let mut identities = BTreeSet::new();
        for issued in &tokens {
            let (message, signature) = issued.token.rsplit_once('.').unwrap();
            let signature = Signature::from_slice(&decoded(signature)).unwrap();
            verifier.verify(message.as_bytes(), &signature).unwrap();

            let (header, claims) = message.split_once('.').unwrap();
            let header: serde_json::Value = serde_json::from_slice(&decoded(header)).unwrap();
            assert_eq!(
                header,
                serde_json::json!({"typ": "at+jwt", "alg": "ES256", "kid": key["kid"]})
            );
            let claims: RunClaims = serde_json::from_slice(&decoded(claims)).unwrap();
            assert_eq!(claims.iss, ISSUER);
            assert_eq!(claims.aud, issued.audience.as_str());
            assert_eq!(claims.sub, format!("run:{}", grant.investigation));
            assert_eq!(
                (claims.tenant, claims.sandbox, claims.epoch),
                (grant.tenant, grant.sandbox, Epoch(3))
            );
            assert_eq!(claims.exp - claims.iat, 600);
            assert_eq!(claims.nbf, claims.iat);
            assert_eq!(claims.cnf.jkt, "thumb");
            assert_eq!(issued.expires_at.timestamp(), claims.exp);
            assert_eq!(issued.issued_at.timestamp(), claims.iat);
            let scopes: Vec<&str> = claims.scope.split(' ').collect();
            let allowed: Vec<&str> = issued
                .audience
                .scopes()
                .iter()
                .map(|s| s.as_str())
                .collect();
            assert_eq!(scopes, allowed);
            audiences.insert(claims.aud);
            identities.insert(claims.jti);
        }
        assert_eq!(audiences.len(), Audience::ALL.len());
        assert_eq!(
            identities.len(),
            Audience::ALL.len(),
            "every token has its own identity"
        );
    }

    #[tokio::test]
    async fn a_verifier_that_knows_only_the_published_key_accepts_the_token_and_no_forgery() {
        #[expect(
            clippy::disallowed_methods,
            reason = "the verifier asks the machine's clock"
        )]
        let (tokens, key) = minted(grant(), Utc::now()).await;
        let jwk: Jwk = serde_json::from_value(key).unwrap();
        let key = DecodingKey::from_jwk(&jwk).unwrap();
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[Audience::Casebook.as_str()]);

        for issued in &tokens {
            let accepted = decode::<RunClaims>(&issued.token, &key, &validation).is_ok();
            assert_eq!(
                accepted,
                issued.audience == Audience::Casebook,
                "{}",
                issued.audience
            );
        }
        let token = &tokens
            .iter()
            .find(|t| t.audience == Audience::Casebook)
            .unwrap()
            .token;
        let mut forged = token.clone().into_bytes();
        let middle = token.find('.').unwrap() + 20;
        forged[middle] = if forged[middle] == b'A' { b'B' } else { b'A' };
        assert!(decode::<RunClaims>(&forged, &key, &validation).is_err());
    }
}
