//! The stack's own secrets, made once and kept in `.local/secrets.json` for its owner alone.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context, Result};
use rand::Rng;

use crate::checkout::{Checkout, write_private};

/// Every secret by its reference; alert intake resolves webhook secrets from the same file.
const REFERENCES: [&str; 9] = [
    "address/pagerduty",
    "address/generic",
    "webhook/pagerduty",
    "webhook/generic",
    "api/token",
    "machines/token",
    "service/telemetry",
    "service/codebase",
    "service/llm",
];

/// The stack's own secrets.
pub(super) struct StackSecrets {
    path: PathBuf,
    values: BTreeMap<String, String>,
}

impl StackSecrets {
    /// Reads them, and makes those that are missing.
    pub(super) fn open(checkout: &Checkout) -> Result<Self> {
        let path = checkout.local()?.join("secrets.json");
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        let mut values: BTreeMap<String, String> = serde_json::from_str(&kept).unwrap_or_default();
        for reference in REFERENCES {
            values
                .entry(reference.to_owned())
                .or_insert_with(|| hex::encode(rand::rng().random::<[u8; 24]>()));
        }
        write_private(&path, &serde_json::to_string_pretty(&values)?)?;
        Ok(Self { path, values })
    }

    /// The file.
    pub(super) fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// One secret.
    pub(super) fn of(&self, reference: &str) -> Result<&str> {
        let found = self.values.get(reference).map(String::as_str);
        found.with_context(|| format!("there is no secret `{reference}`"))
    }
}

impl std::fmt::Debug for StackSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StackSecrets")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}
