//! The image that sandboxes run, built from the programs of this build.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use crate::{checkout::Checkout, say};

/// An image that machined can run.
#[derive(Debug, Clone)]
pub(super) struct Image {
    /// `nightshift-sandbox@sha256:HEX`.
    pub(super) reference: String,
    /// The folder of images.
    pub(super) folder: PathBuf,
}

/// Builds the image: on Debian's layer where `./dev` could make one, else on this machine's `/usr`, and
/// then it says so. The same programs make the same digest, so a second build changes nothing.
pub(super) async fn build(checkout: &Checkout) -> Result<Image> {
    let folder = checkout.local()?.join("images");
    let script = checkout.file("sandbox-image/build");
    let (profile, target) = profile(checkout.programs())?;
    let output = Command::new(&script)
        .arg("--profile")
        .arg(profile)
        .arg("--out")
        .arg(&folder)
        .env("CARGO_TARGET_DIR", target)
        .output()
        .await
        .with_context(|| format!("cannot run {}", script.display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("building the sandbox image failed: {}", said.trim());
    }
    for line in String::from_utf8_lossy(&output.stderr).lines() {
        say(line.trim_start_matches("sandbox-image/build: "));
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let reference = said.lines().last().unwrap_or_default().trim().to_owned();
    if !reference.contains("@sha256:") {
        bail!("building the sandbox image named none, but `{reference}`");
    }
    Ok(Image { reference, folder })
}

/// The profile that a folder of programs was built with, and the target folder around it.
fn profile(programs: &Path) -> Result<(&str, &Path)> {
    let name = programs.file_name().and_then(std::ffi::OsStr::to_str);
    match (name, programs.parent()) {
        (Some(name @ ("debug" | "release")), Some(target)) => Ok((name, target)),
        _ => bail!(
            "{} is not the debug or release folder of a build",
            programs.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_is_the_folders_name() {
        let (name, target) = profile(Path::new("/a/target/release")).unwrap();
        assert_eq!((name, target), ("release", Path::new("/a/target")));
        assert!(profile(Path::new("/usr/bin")).is_err());
    }
}
