//! The recorded incidents that a demo can be about.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::{checkout::Checkout, webhook::RecordedAlert};

/// The names of the recordings, sorted.
pub fn names(checkout: &Checkout) -> Result<Vec<String>> {
    let folder = checkout.recordings();
    let entries = std::fs::read_dir(&folder)
        .with_context(|| format!("there are no recordings in {}", folder.display()))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let is_recording = entry.path().join("alert.json").is_file();
            is_recording
                .then(|| entry.file_name().into_string().ok())
                .flatten()
        })
        .collect();
    names.sort();
    Ok(names)
}

/// The one that is asked for, or else the first.
pub fn choose(names: &[String], asked: Option<&str>) -> Result<String> {
    let Some(asked) = asked else {
        let first = names.first().context("there are no recordings")?;
        return Ok(first.clone());
    };
    if names.iter().any(|name| name == asked) {
        return Ok(asked.to_owned());
    }
    bail!("no recording `{asked}`; there are {}", names.join(", "))
}

/// The alert of a recording.
pub fn alert(checkout: &Checkout, name: &str) -> Result<RecordedAlert> {
    read(&checkout.recordings().join(name).join("alert.json"))
}

/// Reads a JSON file.
pub fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not usable", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let names = ["a".to_owned(), "b".to_owned()];
        assert_eq!(choose(&names, None).unwrap(), "a");
        assert_eq!(choose(&names, Some("b")).unwrap(), "b");
        let error = choose(&names, Some("c")).unwrap_err().to_string();
        assert!(error.contains("a, b"), "{error}");
        assert!(choose(&[], None).is_err());
    }
}
