//! Unpacking an image's layers, one over the other, each held against its two digests.

use std::{
    borrow::Cow,
    io::{self, BufReader, Read},
    path::{Component, Path, PathBuf},
};

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};
use tar::{Archive, EntryType};

use super::{
    oci::{Descriptor, Packed, Unusable},
    tree::{Meta, Tree},
};

/// Unpacked bytes of an image at most; the provider's limit.
const BYTES_MAX: u64 = 8 << 30;
/// Entries of a layer at most.
const ENTRIES_MAX: usize = 1_000_000;
/// How a name begins that removes something of a lower layer.
const WHITEOUT: &str = ".wh.";
/// The name that removes all that lower layers have in its directory.
const OPAQUE: &str = ".wh..wh..opq";

/// Unpacks all layers into an empty directory.
pub(super) fn unpack(packed: &Packed, root: &Path) -> Result<(), Unusable> {
    let mut tree = Tree::open(root, BYTES_MAX).map_err(|source| Unusable::Unwritten {
        path: root.to_owned(),
        source,
    })?;
    for (layer, diff_id) in &packed.layers {
        let blob = packed.layer(layer)?;
        unpack_layer(layer, diff_id, blob, &mut tree)?;
        tree.end_layer();
    }
    tree.finish().map_err(|source| Unusable::Unwritten {
        path: root.to_owned(),
        source,
    })
}

fn unpack_layer(
    layer: &Descriptor,
    diff_id: &str,
    blob: impl Read,
    tree: &mut Tree,
) -> Result<(), Unusable> {
    let gzip = match layer.media_type.as_str() {
        "application/vnd.oci.image.layer.v1.tar" => false,
        "application/vnd.oci.image.layer.v1.tar+gzip" => true,
        other => {
            return Err(Unusable::Unsupported(format!(
                "it has a layer of type {other}"
            )));
        }
    };
    // One byte more than there should be is enough to know.
    let mut blob = Hashed::new(blob.take(layer.size.saturating_add(1)));
    let mut applied = if gzip {
        let plain = MultiGzDecoder::new(BufReader::with_capacity(1 << 16, &mut blob));
        apply_verified(plain, diff_id, tree)
    } else {
        apply_verified(&mut blob, diff_id, tree)
    };
    // Bytes that cannot be read as a layer are most of all not the right ones.
    match io::copy(&mut blob, &mut io::sink()) {
        Err(error) if applied.is_ok() => applied = Err(error.into()),
        _ => {}
    }
    if blob.bytes != layer.size || blob.digest() != layer.digest {
        return Err(Unusable::WrongBytes(layer.digest.clone()));
    }
    applied
}

fn apply_verified(plain: impl Read, diff_id: &str, tree: &mut Tree) -> Result<(), Unusable> {
    let mut plain = Hashed::new(plain.take(2 * BYTES_MAX));
    apply(&mut plain, tree)?;
    io::copy(&mut plain, &mut io::sink())?;
    if plain.digest() != diff_id {
        return Err(Unusable::WrongBytes(diff_id.to_owned()));
    }
    Ok(())
}

fn apply(tar: impl Read, tree: &mut Tree) -> Result<(), Unusable> {
    let mut archive = Archive::new(tar);
    for (number, entry) in archive.entries()?.enumerate() {
        let mut entry = entry?;
        if entry.header().entry_type() == EntryType::XGlobalHeader {
            continue;
        }
        let path = entry.path()?.into_owned();
        if number >= ENTRIES_MAX {
            let why = "is one too many";
            return Err(Unusable::Entry { path, why });
        }
        match admissible(&path, &mut entry)? {
            Ok(plain) => add(&plain, &mut entry, tree)?,
            Err(why) => return Err(Unusable::Entry { path, why }),
        }
    }
    Ok(())
}

/// The entry's path, or why no image may have it.
fn admissible(
    path: &Path,
    entry: &mut tar::Entry<'_, impl Read>,
) -> io::Result<Result<PathBuf, &'static str>> {
    let header = entry.header();
    let (kind, mode) = (header.entry_type(), header.mode()?);
    let known = kind.is_file() || kind.is_dir() || kind.is_symlink() || kind.is_hard_link();
    let target = entry.link_name()?.and_then(|target| plain_path(&target));
    let Some(plain) = plain_path(path) else {
        return Ok(Err("leaves the image"));
    };
    let name = plain.file_name().unwrap_or_default().to_string_lossy();
    Ok(if !known {
        Err("is no file, directory or link")
    } else if kind.is_hard_link() && target.is_none() {
        Err("links out of the image")
    } else if mode & 0o6000 != 0 && kind != EntryType::Symlink {
        Err("grants the rights of its owner or group")
    } else if has_attributes(entry)? {
        Err("has extended attributes")
    } else if plain.as_os_str().is_empty() && kind != EntryType::Directory {
        Err("stands in for the root")
    } else if name.starts_with(WHITEOUT) && name != OPAQUE && hidden(&name).is_none() {
        Err("is no whiteout that is known")
    } else {
        Ok(plain)
    })
}

/// What a whiteout removes, by its name.
fn hidden(name: &str) -> Option<&str> {
    let hidden = name.strip_prefix(WHITEOUT)?;
    let a_name = !["", ".", ".."].contains(&hidden) && !hidden.starts_with(WHITEOUT);
    a_name.then_some(hidden)
}

fn add(
    path: &Path,
    entry: &mut tar::Entry<'_, impl Read>,
    tree: &mut Tree,
) -> Result<(), Unusable> {
    let header = entry.header();
    let kind = header.entry_type();
    let meta = Meta {
        mode: header.mode()?,
        seconds: header.mtime()?,
    };
    let target = entry.link_name()?.map(Cow::into_owned);
    let parent = path.parent().unwrap_or(Path::new(""));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let added = if name == OPAQUE {
        tree.hide_below(parent)
    } else if let Some(hidden) = hidden(&name) {
        tree.hide(&parent.join(hidden))
    } else if path.as_os_str().is_empty() {
        Ok(())
    } else {
        match (kind, target) {
            (EntryType::Directory, _) => tree.directory(path, meta),
            (EntryType::Symlink, Some(target)) => tree.link(path, &target, meta),
            (EntryType::Link, Some(target)) => {
                tree.hard_link(path, &plain_path(&target).unwrap_or_default())
            }
            _ => tree.file(path, meta, entry.size(), entry),
        }
    };
    added.map_err(|source| Unusable::Unwritten {
        path: path.to_owned(),
        source,
    })
}

/// The path without `./`; none if it is absolute or climbs.
fn plain_path(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => plain.push(name),
            Component::CurDir => {}
            Component::RootDir | Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(plain)
}

/// Attributes can be capabilities, and are not kept.
fn has_attributes(entry: &mut tar::Entry<'_, impl Read>) -> io::Result<bool> {
    let Some(extensions) = entry.pax_extensions()? else {
        return Ok(false);
    };
    for extension in extensions {
        let extension = extension?;
        let key = extension.key_bytes();
        if key.starts_with(b"SCHILY.xattr.") || key.starts_with(b"LIBARCHIVE.xattr.") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A reader that hashes and counts what was read.
struct Hashed<R> {
    inner: R,
    hash: Sha256,
    bytes: u64,
}

impl<R> Hashed<R> {
    fn new(inner: R) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
            bytes: 0,
        }
    }

    fn digest(&self) -> String {
        format!("sha256:{}", hex::encode(self.hash.clone().finalize()))
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let read = buffer.get(..count).unwrap_or_default();
        self.hash.update(read);
        self.bytes += read.len() as u64;
        Ok(count)
    }
}
