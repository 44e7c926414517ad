//! The key behind machine identities, and the statements it signs.

pub(crate) mod socket;

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use p256::{
    SecretKey,
    elliptic_curve::rand_core::OsRng,
    pkcs8::{DecodePrivateKey, EncodePrivateKey, LineEnding},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{clock, config::Config, id, record::MachineRecord, world::World};

/// How long a statement is valid, in seconds; the provider's sample says so.
const VALID_S: i64 = 600;

/// Who signs.
pub(crate) struct Identity {
    issuer: String,
    key: EncodingKey,
    jwk: Value,
    key_id: String,
}

/// The key cannot be read or made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    #[error("the identity key cannot be stored")]
    Io(#[from] io::Error),
    #[error("the identity key is not a P-256 key: {0}")]
    Key(String),
}

impl Identity {
    /// Reads the key, or makes one the first time.
    pub(crate) fn open(path: &Path, issuer: &str) -> Result<Self, IdentityError> {
        let broken = |error: &dyn std::fmt::Display| IdentityError::Key(error.to_string());
        let secret = match fs::read_to_string(path) {
            Ok(pem) => SecretKey::from_pkcs8_pem(&pem).map_err(|error| broken(&error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let secret = SecretKey::random(&mut OsRng);
                let pem = secret
                    .to_pkcs8_pem(LineEnding::LF)
                    .map_err(|error| broken(&error))?;
                let new = path.with_extension("new");
                let mut options = OpenOptions::new();
                let mut file = options
                    .write(true)
                    .create(true)
                    .truncate(true)
                    .mode(0o600)
                    .open(&new)?;
                file.write_all(pem.as_bytes())?;
                fs::rename(&new, path)?;
                secret
            }
            Err(error) => return Err(error.into()),
        };
        let pem = secret
            .to_pkcs8_pem(LineEnding::LF)
            .map_err(|error| broken(&error))?;
        let key = EncodingKey::from_ec_pem(pem.as_bytes()).map_err(|error| broken(&error))?;
        let public = secret.public_key();
        let key_id = hex::encode(&Sha256::digest(public.to_sec1_bytes())[..8]);
        let mut jwk: Value =
            serde_json::from_str(&public.to_jwk_string()).map_err(|error| broken(&error))?;
        jwk["kid"] = json!(key_id);
        jwk["alg"] = json!("ES256");
        jwk["use"] = json!("sig");
        Ok(Self {
            issuer: issuer.trim_end_matches('/').to_owned(),
            key,
            jwk,
            key_id,
        })
    }

    /// The discovery document.
    pub(crate) fn discovery(&self) -> Value {
        json!({
            "issuer": self.issuer,
            "jwks_uri": format!("{}/.well-known/jwks", self.issuer),
            "id_token_signing_alg_values_supported": ["ES256"],
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
        })
    }

    /// The public keys.
    pub(crate) fn jwks(&self) -> Value {
        json!({ "keys": [self.jwk] })
    }

    /// Signs which machine this is, for one audience.
    pub(crate) fn sign(&self, claims: &Value) -> Result<String, jsonwebtoken::errors::Error> {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.key_id.clone());
        encode(&header, claims, &self.key)
    }

    /// What is signed.
    pub(crate) fn claims(
        &self,
        config: &Config,
        world: &World,
        machine: &MachineRecord,
        audience: Option<&str>,
    ) -> Value {
        let now = clock::now().timestamp();
        let default_audience = format!("https://fly.io/{}", config.org);
        let image = machine.config.image.split('@').next().unwrap_or_default();
        json!({
            "iss": self.issuer,
            "sub": format!("{}:{}:{}", config.org, machine.app, machine.name),
            "aud": audience.unwrap_or(&default_audience),
            "app_id": world.apps.get(&machine.app).map(|app| app.id.as_str()),
            "app_name": machine.app,
            "image": image,
            "image_digest": machine.image.digest,
            "machine_id": machine.id,
            "machine_name": machine.name,
            "machine_version": machine.version,
            "org_id": config.org,
            "org_name": config.org,
            "region": machine.region,
            "iat": now,
            "nbf": now,
            "exp": now + VALID_S,
            "jti": id::ulid(),
        })
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}
