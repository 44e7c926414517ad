//! Images: found by their digest, and unpacked once.
//!
//! An image is an OCI layout, as a directory or in one tar, or an unpacked root filesystem that
//! says what it is in `image.json`. Of a layout nothing is used that its digest does not vouch for.

mod layers;
mod oci;
mod tree;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

use crate::refused::Refused;

/// The image's root filesystem, in its directory.
const ROOTFS: &str = "rootfs";
/// What an unpacked image says of itself, beside it.
const MANIFEST: &str = "image.json";
/// How the name of a directory begins that is not finished.
const DRAFT: &str = ".new-";

/// Where images are, and where those that come packed are unpacked.
#[derive(Debug)]
pub(crate) struct Images {
    folder: PathBuf,
    unpacked: PathBuf,
    unpacking: Mutex<()>,
}

/// An image that is there.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    /// The part of its reference before `@`.
    pub(crate) repository: String,
    /// `sha256:…`.
    pub(crate) digest: String,
    /// Where its root filesystem is, or will be once it is unpacked.
    pub(crate) rootfs: PathBuf,
    /// What it says of itself.
    pub(crate) manifest: Manifest,
    /// What it is to be unpacked from, if that was not done yet.
    packed: Option<oci::Packed>,
}

/// `image.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Manifest {
    digest: String,
    pub(crate) entrypoint: Vec<String>,
    #[serde(default)]
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) base: Base,
}

/// What lies beneath the image's own files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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

impl Image {
    /// Whether its root filesystem is there.
    pub(crate) const fn is_unpacked(&self) -> bool {
        self.packed.is_none()
    }
}

impl Images {
    /// Images in `folder`; what comes packed is unpacked below `unpacked`. What a killed life left
    /// half unpacked there is removed.
    pub(crate) fn open(folder: &Path, unpacked: &Path) -> io::Result<Self> {
        for entry in fs::read_dir(unpacked)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(DRAFT) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
            unpacked: unpacked.to_owned(),
            unpacking: Mutex::new(()),
        })
    }

    /// Removes what was unpacked for machines that are gone, from layouts that are gone.
    pub(crate) fn forget_all_but(&self, used: &BTreeSet<String>) -> io::Result<()> {
        for entry in fs::read_dir(&self.unpacked)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let kept = used.contains(&format!("sha256:{name}"))
                || oci::Layout::find(&self.folder, &name)?.is_some();
            if !kept {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    /// Finds an image, unpacked or not. A tag is refused: what it names can change under a pool.
    pub(crate) fn find(&self, reference: &str) -> Result<Image, ImageError> {
        let not_by_digest = || ImageError::NotByDigest(reference.to_owned());
        let (repository, hex) = reference.split_once("@sha256:").ok_or_else(not_by_digest)?;
        if repository.is_empty() || !oci::is_hex(hex) {
            return Err(not_by_digest());
        }
        let broken = |why: String| ImageError::Broken(reference.to_owned(), why);
        let digest = format!("sha256:{hex}");
        for directory in [self.folder.join(hex), self.unpacked.join(hex)] {
            if let Some(manifest) = read(&directory, &digest).map_err(broken)? {
                return Ok(Image {
                    repository: repository.to_owned(),
                    digest,
                    rootfs: directory.join(ROOTFS),
                    manifest,
                    packed: None,
                });
            }
        }
        let layout =
            oci::Layout::find(&self.folder, hex).map_err(|error| broken(error.to_string()))?;
        let layout = layout.ok_or_else(|| ImageError::Missing(reference.to_owned()))?;
        let packed =
            oci::Packed::open(layout, &digest).map_err(|error| broken(error.to_string()))?;
        Ok(Image {
            repository: repository.to_owned(),
            rootfs: self.unpacked.join(hex).join(ROOTFS),
            manifest: Manifest {
                digest: digest.clone(),
                entrypoint: packed.entrypoint(),
                env: packed.env(),
                base: Base::Rootfs,
            },
            digest,
            packed: Some(packed),
        })
    }

    /// Unpacks an image unless that was done. Blocks, for seconds; several at once wait for one.
    pub(crate) fn unpack(&self, image: &Image) -> Result<(), ImageError> {
        let Some(packed) = &image.packed else {
            return Ok(());
        };
        let _one = self
            .unpacking
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let hex = image.digest.trim_start_matches("sha256:");
        if self.unpacked.join(hex).exists() {
            return Ok(());
        }
        let draft = self.unpacked.join(format!("{DRAFT}{hex}"));
        let unpacked = self.write(image, packed, &draft, hex);
        if unpacked.is_err() {
            // What is left is no image, and removed at the next start at the latest.
            let _ = fs::remove_dir_all(&draft);
        }
        unpacked.map_err(|error| {
            ImageError::Broken(
                format!("{}@{}", image.repository, image.digest),
                error.to_string(),
            )
        })
    }

    fn write(
        &self,
        image: &Image,
        packed: &oci::Packed,
        draft: &Path,
        hex: &str,
    ) -> Result<(), oci::Unusable> {
        // Sandboxes' users walk through it.
        let make = |path: &Path| {
            fs::DirBuilder::new().mode(0o755).create(path)?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        };
        match fs::remove_dir_all(draft) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        make(draft)?;
        make(&draft.join(ROOTFS))?;
        layers::unpack(packed, &draft.join(ROOTFS))?;
        fs::write(draft.join(MANIFEST), serde_json::to_vec(&image.manifest)?)?;
        Ok(fs::rename(draft, self.unpacked.join(hex))?)
    }
}

/// What an unpacked image says of itself, if it is there.
fn read(directory: &Path, digest: &str) -> Result<Option<Manifest>, String> {
    let manifest = match fs::read(directory.join(MANIFEST)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|error| error.to_string())?,
    };
    let manifest: Manifest =
        serde_json::from_slice(&manifest).map_err(|error| error.to_string())?;
    if manifest.digest != digest {
        return Err(format!("its manifest says it is {}", manifest.digest));
    }
    if manifest.base == Base::HostUsr && directory.join(ROOTFS).join("usr").exists() {
        return Err("it has a /usr of its own over the host's".to_owned());
    }
    Ok(Some(manifest))
}

impl From<ImageError> for Refused {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::NotByDigest(_) => Self::invalid(error),
            ImageError::Missing(image) => Self::image_missing(&image),
            ImageError::Broken(image, why) => {
                tracing::error!(image, why, "an image is broken");
                Self::image_unusable(&image, &why)
            }
        }
    }
}
