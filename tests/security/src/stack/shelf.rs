//! Two tenants' recorded systems, and what an attacker wrote into their logs.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

/// The store of the attacker's tenant.
pub(crate) const OURS: &str = "slow-browse";
/// The store of the tenant that is attacked. Its name sorts before ours.
pub(crate) const THEIRS: &str = "failed-payments";

pub(crate) struct Shelf(PathBuf);

impl Shelf {
    pub(crate) fn fill(folder: &Path, log_lines: &[String]) -> Result<Self> {
        let recordings = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../local/shop/recordings");
        for recording in [OURS, THEIRS] {
            let to = folder.join(recording).join("incident");
            fs::create_dir_all(&to)?;
            for file in fs::read_dir(recordings.join(recording))? {
                let file = file?;
                fs::copy(file.path(), to.join(file.file_name()))?;
            }
        }
        let shelf = Self(folder.to_owned());
        for store in [OURS, THEIRS] {
            shelf.write(store, log_lines)?;
        }
        Ok(shelf)
    }

    /// Appends lines to a log, shortly before the alert. Two gzip members are one file.
    fn write(&self, store: &str, lines: &[String]) -> Result<()> {
        let at = self.fired_at(store)? - TimeDelta::seconds(5);
        let log = self.0.join(store).join("incident/logs.ndjson.gz");
        let log = File::options().append(true).open(log)?;
        let mut log = GzEncoder::new(log, Compression::fast());
        for line in lines {
            let line = json!({
                "at": at.to_rfc3339_opts(SecondsFormat::Millis, true),
                "service": "frontend", "level": "error", "message": line,
            });
            writeln!(log, "{line}")?;
        }
        log.finish()?;
        Ok(())
    }

    /// Both stores, by name.
    pub(crate) fn stores(&self) -> Vec<(String, String)> {
        [OURS, THEIRS]
            .map(|name| (name.to_owned(), self.0.join(name).display().to_string()))
            .to_vec()
    }

    pub(crate) fn fired_at(&self, store: &str) -> Result<DateTime<Utc>> {
        let alert = fs::read_to_string(self.0.join(store).join("incident/alert.json"))?;
        let alert: Value = serde_json::from_str(&alert)?;
        let at = alert["fired_at"].as_str().context("an alert has a time")?;
        Ok(at.parse()?)
    }
}

/// A commit that only the other tenant's system has.
pub(crate) fn their_commit() -> Result<String> {
    let recordings = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../local/shop/recordings");
    let commits = |store: &str| -> Result<Vec<String>> {
        let deploys = fs::read_to_string(recordings.join(store).join("deploys.json"))?;
        let deploys: Value = serde_json::from_str(&deploys)?;
        let of = |deploy: &Value| deploy["commit"].as_str().map(str::to_owned);
        Ok(deploys
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(of)
            .collect())
    };
    let ours = commits(OURS)?;
    let theirs = commits(THEIRS)?;
    let only = theirs.into_iter().find(|commit| !ours.contains(commit));
    only.context("they have no commit of their own")
}
