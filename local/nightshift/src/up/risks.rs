//! Which hardening steps sandboxes of this machine cannot have, as machined found out by trying.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tokio::process::Command;

use super::{image::Image, plan::Choices};
use crate::{checkout::Checkout, say};

#[derive(Deserialize)]
struct Bounds {
    cgroups: Groups,
    uids: String,
}

#[derive(Deserialize)]
struct Groups {
    version: Option<String>,
    why: Option<String>,
}

/// The steps to accept, in the names of `sandbox-image/supervisor/README.md`: none where all can be had.
pub(super) async fn accepted(
    checkout: &Checkout,
    image: &Image,
    choices: &Choices,
) -> Result<String> {
    let output = Command::new(checkout.program("machined")?)
        .arg("--probe")
        .arg("--state")
        .arg(choices.machines_state(checkout)?)
        .arg("--images")
        .arg(&image.folder)
        .args(choices.backend(checkout)?)
        .output()
        .await
        .context("cannot run machined")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("machined cannot say what this machine offers: {said}");
    }
    let bounds: Bounds = serde_json::from_slice(&output.stdout)?;
    let (accepted, told) = judge(&bounds);
    if let Some(told) = told {
        say(&told);
    }
    Ok(accepted)
}

fn judge(bounds: &Bounds) -> (String, Option<String>) {
    let mut missing = Vec::new();
    let mut told = Vec::new();
    if bounds.cgroups.version.is_none() {
        missing.push("cgroups");
        let why = bounds.cgroups.why.as_deref().unwrap_or("no reason given");
        told.push(format!("control groups ({why})"));
    }
    if bounds.uids != "range" {
        missing.push("users");
        told.push("users of their own (no subordinate ids)".to_owned());
    }
    let told = told.join(" and ");
    let told = (!missing.is_empty()).then(|| format!("sandboxes here do without {told}"));
    (missing.join(","), told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_had_is_not_accepted_to_be_missing() {
        let judged = |text: &str| judge(&serde_json::from_str(text).unwrap());
        let all = judged(r#"{"cgroups": {"version": "v1"}, "uids": "range"}"#);
        assert_eq!(all, (String::new(), None));
        let none = judged(r#"{"cgroups": {"version": null, "why": "x"}, "uids": "single"}"#);
        assert_eq!(none.0, "cgroups,users");
        assert!(none.1.unwrap().contains("control groups (x)"));
    }
}
