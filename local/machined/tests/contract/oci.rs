//! OCI layouts for tests, written byte by byte: what a builder would refuse to write, too.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

/// A layer that is being written.
pub(crate) struct Layer(Builder<Vec<u8>>);

/// An image in a layout that can be spoilt before it is used.
pub(crate) struct Layout {
    pub(crate) directory: PathBuf,
    pub(crate) hex: String,
    pub(crate) layers: Vec<String>,
    pub(crate) config: String,
}

impl Layer {
    pub(crate) fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    /// An entry with any name at all.
    pub(crate) fn entry(
        mut self,
        kind: EntryType,
        name: &str,
        mode: u32,
        target: &str,
        content: &[u8],
    ) -> Self {
        let mut header = Header::new_ustar();
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name.as_bytes());
        old.linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(1_000_000_000);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    pub(crate) fn file(self, name: &str, mode: u32, content: &[u8]) -> Self {
        self.entry(EntryType::Regular, name, mode, "", content)
    }

    pub(crate) fn directory(self, name: &str, mode: u32) -> Self {
        self.entry(EntryType::Directory, name, mode, "", b"")
    }

    pub(crate) fn link(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, name, 0o777, target, b"")
    }

    pub(crate) fn hard_link(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Link, name, 0o644, target, b"")
    }

    /// A file with an extended attribute.
    pub(crate) fn with_attribute(mut self, name: &str, attribute: &str) -> Self {
        let extension = [(attribute, b"x".as_slice())];
        self.0.append_pax_extensions(extension).unwrap();
        self.file(name, 0o755, b"")
    }

    /// The host's shell at `bin/sh`, with the libraries that it wants.
    pub(crate) fn shell(mut self) -> Self {
        let shell = fs::canonicalize("/bin/sh").unwrap();
        let wanted = Command::new("ldd").arg(&shell).output().unwrap();
        let wanted = String::from_utf8(wanted.stdout).unwrap();
        let libraries = wanted
            .split_whitespace()
            .filter(|word| word.starts_with('/'));
        for library in libraries {
            let content = fs::read(library).unwrap();
            self = self.file(&library[1..], 0o755, &content);
        }
        self.file("bin/sh", 0o755, &fs::read(shell).unwrap())
    }

    fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

/// Writes an image of these layers; its program is `script`.
pub(crate) fn write(images: &Path, layers: Vec<Layer>, script: &str) -> Layout {
    let config = json!({
        "Entrypoint": ["/bin/sh", "-c"], "Cmd": [script],
        "Env": ["FROM_IMAGE=yes", "PATH=/bin"], "User": "0:0", "WorkingDir": "/",
    });
    write_with(images, layers, &config)
}

/// The same with a configuration of one's own.
pub(crate) fn write_with(images: &Path, layers: Vec<Layer>, config: &Value) -> Layout {
    let draft = images.join("draft");
    fs::create_dir_all(draft.join("blobs/sha256")).unwrap();
    fs::write(
        draft.join("oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )
    .unwrap();
    let (mut descriptors, mut diff_ids, mut names) = (vec![], vec![], vec![]);
    for (number, layer) in layers.into_iter().enumerate() {
        let plain = layer.bytes();
        diff_ids.push(format!("sha256:{}", digest(&plain)));
        // Both kinds, in one image.
        let (bytes, kind) = if number % 2 == 0 {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
            gzip.write_all(&plain).unwrap();
            (gzip.finish().unwrap(), "tar+gzip")
        } else {
            (plain, "tar")
        };
        let kind = format!("application/vnd.oci.image.layer.v1.{kind}");
        descriptors.push(put(&draft, &bytes, &kind));
        names.push(digest(&bytes));
    }
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux", "config": config,
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let config = put(
        &draft,
        config.to_string().as_bytes(),
        "application/vnd.oci.image.config.v1+json",
    );
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2, "mediaType": kind, "config": config, "layers": descriptors,
    });
    let manifest = manifest.to_string();
    let hex = digest(manifest.as_bytes());
    let index =
        json!({ "schemaVersion": 2, "manifests": [put(&draft, manifest.as_bytes(), kind)] });
    fs::write(draft.join("index.json"), index.to_string()).unwrap();
    let directory = images.join(&hex);
    fs::rename(draft, &directory).unwrap();
    Layout {
        directory,
        hex,
        layers: names,
        config: config["digest"]
            .as_str()
            .unwrap()
            .trim_start_matches("sha256:")
            .to_owned(),
    }
}

impl Layout {
    /// What a machine names it by.
    pub(crate) fn reference(&self) -> String {
        format!("registry.test/probe@sha256:{}", self.hex)
    }

    pub(crate) fn blob(&self, hex: &str) -> PathBuf {
        self.directory.join("blobs/sha256").join(hex)
    }

    /// Makes one archive of it.
    pub(crate) fn archive(&self) {
        let archive = self.directory.with_extension("tar");
        let mut builder = Builder::new(fs::File::create(archive).unwrap());
        builder.append_dir_all(".", &self.directory).unwrap();
        builder.finish().unwrap();
        fs::remove_dir_all(&self.directory).unwrap();
    }
}

fn put(layout: &Path, bytes: &[u8], kind: &str) -> Value {
    let hex = digest(bytes);
    fs::write(layout.join("blobs/sha256").join(&hex), bytes).unwrap();
    json!({ "mediaType": kind, "digest": format!("sha256:{hex}"), "size": bytes.len() })
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
