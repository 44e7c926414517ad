//! The keys that sign run tokens: announces the next one.

use std::path::PathBuf;

use anyhow::{Context, Result};
use chrono::TimeDelta;
use clap::{Args, Subcommand};
use nightshift_engine::{Clock, SystemClock};
use nightshift_session::keys::{DEFAULT_LEAD, NextKey, rotate};
use serde_json::json;

use crate::{answer, checkout::Checkout};

/// What can be done with them.
#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Announce the next key: it is published at once, signs later, and the one before it stays published
    /// until the last token that it signed has ended.
    Rotate(Rotate),
}

/// How to rotate.
#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// The file that holds the set; that of this checkout's stack unless given.
    #[arg(long)]
    file: Option<PathBuf>,
    /// The id, ARN or alias of a key in AWS KMS; a new key in the file unless given.
    #[arg(long, value_name = "KEY")]
    kms: Option<String>,
    /// How long to publish it before it signs, in seconds. Servers that could not ask session look again
    /// after five minutes.
    #[arg(long, default_value_t = DEFAULT_LEAD.num_seconds(),
          value_parser = clap::value_parser!(i64).range(1..=86_400))]
    lead_seconds: i64,
}

impl Keys {
    pub(crate) fn run(self, checkout: &Checkout) -> Result<()> {
        let Self::Rotate(rotate) = self;
        rotate.run(checkout)
    }
}

impl Rotate {
    fn run(self, checkout: &Checkout) -> Result<()> {
        let file = match self.file {
            Some(file) => file,
            None => checkout.local()?.join("signing.pem"),
        };
        let next = self.kms.map_or(NextKey::New, NextKey::Kms);
        let lead = TimeDelta::seconds(self.lead_seconds);
        let rotated = rotate(&file, &next, lead, SystemClock.now())
            .with_context(|| format!("cannot rotate the keys in {}", file.display()))?;
        let told = json!({
            "file": file,
            "begins_at": rotated.begins_at,
            "done_at": rotated.done_at,
        });
        answer(&told.to_string());
        Ok(())
    }
}
