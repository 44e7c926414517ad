//! OCI layouts: where the blobs are, and which of them make up an image.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, ErrorKind, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use serde::Deserialize;
use sha2::{Digest, Sha256};

/// Manifests and configurations are text; larger ones are refused unread.
const TEXT_BYTES_MAX: u64 = 4 << 20;
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// A layout that holds an image's manifest.
#[derive(Debug, Clone)]
pub(super) enum Layout {
    /// `HEX/` with `oci-layout` and `blobs/sha256/` in it.
    Directory(PathBuf),
    /// `HEX.tar` with the same in it; where each blob begins and how long it is.
    Archive(PathBuf, BTreeMap<String, (u64, u64)>),
}

/// An image in a layout, its manifest and configuration verified.
#[derive(Debug, Clone)]
pub(super) struct Packed {
    layout: Layout,
    config: Config,
    /// From the lowest to the highest, each with the digest of its tar.
    pub(super) layers: Vec<(Descriptor, String)>,
}

/// What a manifest says of a blob.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub(super) media_type: String,
    pub(super) digest: String,
    pub(super) size: u64,
}

/// Why an image in a layout cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("blob {0} is not what its name says")]
    WrongBytes(String),
    #[error("its entry {path:?} {why}")]
    Entry { path: PathBuf, why: &'static str },
    #[error("its entry {path:?} {source}")]
    Unwritten {
        path: PathBuf,
        source: super::tree::Unwritten,
    },
    #[error("{0}")]
    Unsupported(String),
    #[error("it is no image: {0}")]
    Text(#[from] serde_json::Error),
    #[error("{0}")]
    Io(#[from] io::Error),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u32,
    media_type: Option<String>,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Debug, Clone, Deserialize)]
struct Config {
    architecture: String,
    os: String,
    #[serde(default, rename = "config")]
    program: Program,
    rootfs: RootFs,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Program {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    env: Option<Vec<String>>,
    working_dir: Option<String>,
    user: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

/// Whether it is a SHA-256, and so no path either.
pub(super) fn is_hex(text: &str) -> bool {
    let lowercase_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text.len() == 64 && text.bytes().all(lowercase_hex)
}

impl Layout {
    /// The layout of the image with this digest, if there is one.
    pub(super) fn find(images: &Path, hex: &str) -> io::Result<Option<Self>> {
        let directory = images.join(hex);
        if directory.join("oci-layout").is_file() {
            return Ok(Some(Self::Directory(directory)));
        }
        let archive = images.join(format!("{hex}.tar"));
        let file = match File::open(&archive) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let mut blobs = BTreeMap::new();
        for entry in tar::Archive::new(file).entries_with_seek()? {
            let entry = entry?;
            let path = entry.path()?.into_owned();
            let path = path.strip_prefix(".").unwrap_or(&path);
            if let Ok(name) = path.strip_prefix("blobs/sha256")
                && let Some(hex) = name.to_str()
                && entry.header().entry_type().is_file()
            {
                blobs.insert(hex.to_owned(), (entry.raw_file_position(), entry.size()));
            }
        }
        Ok(Some(Self::Archive(archive, blobs)))
    }

    /// A blob's bytes, whatever they are.
    fn blob(&self, digest: &str) -> Result<Box<dyn Read + Send>, Unusable> {
        let hex = digest.strip_prefix("sha256:").filter(|hex| is_hex(hex));
        let hex =
            hex.ok_or_else(|| Unusable::Unsupported(format!("digest {digest} is no SHA-256")))?;
        match self {
            Self::Directory(directory) => {
                let path = directory.join("blobs/sha256").join(hex);
                Ok(Box::new(File::open(path)?))
            }
            Self::Archive(archive, blobs) => {
                let &(at, bytes) = blobs
                    .get(hex)
                    .ok_or_else(|| Unusable::Unsupported(format!("blob {digest} is not there")))?;
                let mut file = File::open(archive)?;
                file.seek(SeekFrom::Start(at))?;
                Ok(Box::new(file.take(bytes)))
            }
        }
    }

    /// A small blob, if its bytes are what its digest says.
    fn text(&self, digest: &str) -> Result<Vec<u8>, Unusable> {
        let mut bytes = Vec::new();
        let mut blob = self.blob(digest)?.take(TEXT_BYTES_MAX);
        blob.read_to_end(&mut bytes)?;
        if format!("sha256:{}", hex::encode(Sha256::digest(&bytes))) != digest {
            return Err(Unusable::WrongBytes(digest.to_owned()));
        }
        Ok(bytes)
    }
}

impl Packed {
    /// Reads and verifies what the image says of itself; its layers are verified when unpacked.
    pub(super) fn open(layout: Layout, digest: &str) -> Result<Self, Unusable> {
        let unsupported = |what: String| Err(Unusable::Unsupported(what));
        let manifest: Manifest = serde_json::from_slice(&layout.text(digest)?)?;
        let kind = manifest.media_type.as_deref().unwrap_or(MANIFEST_TYPE);
        if manifest.schema_version != 2 || kind != MANIFEST_TYPE {
            return unsupported(format!("it is no manifest of one image but a {kind}"));
        }
        let config: Config = serde_json::from_slice(&layout.text(&manifest.config.digest)?)?;
        let (os, architecture) = (config.os.as_str(), config.architecture.as_str());
        if os != "linux" || architecture != own_architecture() {
            return unsupported(format!("it is for {os}/{architecture}"));
        }
        let user = config.program.user.as_deref().unwrap_or_default();
        if !["", "root", "root:root", "0", "0:0"].contains(&user) {
            return unsupported(format!(
                "it starts as user {user}, and machines start as root"
            ));
        }
        let directory = config.program.working_dir.as_deref().unwrap_or_default();
        if !["", "/"].contains(&directory) {
            return unsupported(format!("it starts in {directory}, and machines start in /"));
        }
        if manifest.layers.len() != config.rootfs.diff_ids.len() {
            return unsupported("its layers are not as many as its configuration says".to_owned());
        }
        let diff_ids = config.rootfs.diff_ids.clone();
        let layers = manifest.layers.into_iter().zip(diff_ids).collect();
        Ok(Self {
            layout,
            config,
            layers,
        })
    }

    /// A layer's bytes, whatever they are.
    pub(super) fn layer(&self, layer: &Descriptor) -> Result<Box<dyn Read + Send>, Unusable> {
        self.layout.blob(&layer.digest)
    }

    /// The program and its arguments.
    pub(super) fn entrypoint(&self) -> Vec<String> {
        let program = &self.config.program;
        let words = program.entrypoint.iter().chain(&program.cmd).flatten();
        words.cloned().collect()
    }

    /// Its environment.
    pub(super) fn env(&self) -> BTreeMap<String, String> {
        let named = self.config.program.env.iter().flatten();
        named
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }
}

/// This machine's processor, as images spell it.
fn own_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
