//! Images: directories named by their digest, each a root filesystem and a manifest.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::refused::Refused;

/// An image that is there.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    /// The part of its reference before `@`.
    pub(crate) repository: String,
    /// `sha256:…`.
    pub(crate) digest: String,
    /// Where its root filesystem is.
    pub(crate) rootfs: PathBuf,
    /// What it says of itself.
    pub(crate) manifest: Manifest,
}

/// `image.json`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Manifest {
    digest: String,
    pub(crate) entrypoint: Vec<String>,
    #[serde(default)]
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) base: Base,
}

/// What lies beneath the image's own files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Base {
    /// The host's `/usr`, read-only.
    HostUsr,
    /// Nothing.
    Rootfs,
}

/// Why an image cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImageError {
    #[error("image must be named by digest, NAME@sha256:HEX, got `{0}`")]
    NotByDigest(String),
    #[error("no image {0}")]
    Missing(String),
    #[error("image {0} is broken: {1}")]
    Broken(String, String),
}

/// Finds an image. A tag is refused: what it names can change under a pool.
pub(crate) fn resolve(images: &Path, reference: &str) -> Result<Image, ImageError> {
    let not_by_digest = || ImageError::NotByDigest(reference.to_owned());
    let (repository, hex) = reference.split_once("@sha256:").ok_or_else(not_by_digest)?;
    let lowercase_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if repository.is_empty() || hex.len() != 64 || !hex.bytes().all(lowercase_hex) {
        return Err(not_by_digest());
    }
    let broken = |why: String| ImageError::Broken(reference.to_owned(), why);
    let directory = images.join(hex);
    let manifest = fs::read(directory.join("image.json")).map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            return ImageError::Missing(reference.to_owned());
        }
        broken(error.to_string())
    })?;
    let manifest: Manifest =
        serde_json::from_slice(&manifest).map_err(|error| broken(error.to_string()))?;
    let digest = format!("sha256:{hex}");
    if manifest.digest != digest {
        return Err(broken(format!(
            "its manifest says it is {}",
            manifest.digest
        )));
    }
    let rootfs = directory.join("rootfs");
    if manifest.base == Base::HostUsr && rootfs.join("usr").exists() {
        return Err(broken(
            "it has a /usr of its own over the host's".to_owned(),
        ));
    }
    Ok(Image {
        repository: repository.to_owned(),
        digest,
        rootfs,
        manifest,
    })
}

impl From<ImageError> for Refused {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::NotByDigest(_) => Self::invalid(error),
            ImageError::Missing(image) => Self::image_missing(&image),
            ImageError::Broken(image, why) => {
                tracing::error!(image, why, "an image is broken");
                Self::image_missing(&image)
            }
        }
    }
}
