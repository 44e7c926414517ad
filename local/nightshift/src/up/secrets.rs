//! The stack's own secrets, made once and kept sealed in `.local/secrets.sealed`; the key that opens it
//! lies beside it, for its owner alone.

use std::{collections::BTreeMap, fs, io, path::Path};

use anyhow::{Context, Result};
use nightshift_lambda::{SealedFile, SecretError};
use rand::Rng;

use crate::checkout::Checkout;

/// Every secret by its reference; alert intake resolves webhook secrets from the same file.
const REFERENCES: [&str; 14] = [
    "address/pagerduty",
    "address/generic",
    "webhook/pagerduty",
    "webhook/generic",
    "api/token",
    "machines/token",
    "service/telemetry",
    "service/codebase",
    "service/llm",
    "database/intake",
    "database/engine",
    "database/session",
    "database/casebook",
    "database/api",
];

/// The stack's own secrets.
pub(super) struct StackSecrets {
    file: SealedFile,
    values: BTreeMap<String, String>,
}

impl StackSecrets {
    /// Reads them, and makes those that are missing.
    pub(super) fn open(checkout: &Checkout) -> Result<Self> {
        Self::open_in(&checkout.local()?)
    }

    fn open_in(folder: &Path) -> Result<Self> {
        let file = SealedFile::at(folder.join("secrets.sealed"));
        let plain = folder.join("secrets.json");
        let mut values = match file.open() {
            Err(SecretError::Unreadable { source, .. })
                if source.kind() == io::ErrorKind::NotFound =>
            {
                unsealed(&plain)
            }
            opened => {
                opened.context("the stack's secrets do not open; remove them to make others")?
            }
        };
        for reference in REFERENCES {
            values
                .entry(reference.to_owned())
                .or_insert_with(|| hex::encode(rand::rng().random::<[u8; 24]>()));
        }
        file.seal(&values)?;
        match fs::remove_file(&plain) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).context("secrets in plain text could not be removed");
            }
            Ok(()) | Err(_) => {}
        }
        Ok(Self { file, values })
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    /// One secret.
    pub(super) fn of(&self, reference: &str) -> Result<&str> {
        let found = self.values.get(reference).map(String::as_str);
        found.with_context(|| format!("there is no secret `{reference}`"))
    }
}

/// What a stack kept in plain text before secrets were sealed; machines that it made know them still.
fn unsealed(plain: &Path) -> BTreeMap<String, String> {
    let kept = fs::read_to_string(plain).unwrap_or_default();
    serde_json::from_str(&kept).unwrap_or_default()
}

impl std::fmt::Debug for StackSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StackSecrets")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_made_once_and_only_sealed_ones_are_left() {
        let folder = tempfile::tempdir().unwrap();
        let plain = folder.path().join("secrets.json");
        fs::write(&plain, r#"{"api/token":"an-old-token"}"#).unwrap();

        let made = StackSecrets::open_in(folder.path()).unwrap();
        let found = StackSecrets::open_in(folder.path()).unwrap();

        assert_eq!(made.values, found.values);
        assert_eq!(made.of("api/token").unwrap(), "an-old-token");
        assert_eq!(made.of("machines/token").unwrap().len(), 48);
        assert!(!plain.exists());
        for entry in fs::read_dir(folder.path()).unwrap() {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            let shown = bytes.windows(12).any(|at| at == b"an-old-token");
            assert!(!shown, "a secret lies there in plain text");
        }
    }

    #[test]
    fn secrets_that_do_not_open_are_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        StackSecrets::open_in(folder.path()).unwrap();
        let sealed = folder.path().join("secrets.sealed");
        fs::write(&sealed, "something else").unwrap();
        assert!(StackSecrets::open_in(folder.path()).is_err());
        assert_eq!(fs::read(&sealed).unwrap(), b"something else");
    }
}
