//! The functions as Lambda takes them: a zip each, with the binary as `bootstrap`.
//!
//! The same binary always makes the same bytes, so a deploy changes only what changed.

use std::{fs, io::Write, path::PathBuf};

use anyhow::{Context, Result, bail};
use flate2::{Compression, Crc, write::DeflateEncoder};

use crate::{answer, checkout::Checkout, up::function_names};

/// What Lambda runs.
const ENTRY: &[u8] = b"bootstrap";
/// A regular file that everybody may run.
const MODE: u32 = 0o100_755;
/// The first of January 1980, the beginning of time for zips.
const DATE: u16 = 0x21;
/// Needs version 2.0 to be read: deflated.
const VERSION: u16 = 20;
/// Made on Unix: the mode counts.
const MADE_BY: u16 = 3 << 8 | VERSION;
const DEFLATED: u16 = 8;

/// Writes a zip of each function of this build to `.local/zips`, and tells their sizes.
pub(crate) fn write(checkout: &Checkout) -> Result<()> {
    let folder = checkout.local()?.join("zips");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for name in function_names() {
        let program = checkout.program(name)?;
        let binary =
            fs::read(&program).with_context(|| format!("cannot read {}", program.display()))?;
        let zip = zip(&binary)?;
        let path = put(folder.join(format!("{name}.zip")), &zip)?;
        let mb = |bytes: usize| format!("{:.1} MB", bytes_as_mb(bytes));
        answer(&format!(
            "{} {} (binary {})",
            path.display(),
            mb(zip.len()),
            mb(binary.len())
        ));
    }
    Ok(())
}

fn put(path: PathBuf, bytes: &[u8]) -> Result<PathBuf> {
    fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

#[expect(clippy::cast_precision_loss, reason = "a size for people")]
fn bytes_as_mb(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}

/// A zip whose one entry is `bootstrap`.
fn zip(binary: &[u8]) -> Result<Vec<u8>> {
    let mut deflate = DeflateEncoder::new(Vec::new(), Compression::best());
    deflate.write_all(binary)?;
    let packed = deflate.finish()?;
    let mut crc = Crc::new();
    crc.update(binary);
    let (Ok(packed_bytes), Ok(bytes)) = (u32::try_from(packed.len()), u32::try_from(binary.len()))
    else {
        bail!("a binary above 4 GiB does not fit into a zip");
    };
    let name_bytes = u16::try_from(ENTRY.len())?;
    // What the local header and the directory have in common, in their order.
    let mut facts = Vec::new();
    for number in [VERSION, 0, DEFLATED, 0, DATE] {
        facts.extend(number.to_le_bytes());
    }
    for number in [crc.sum(), packed_bytes, bytes] {
        facts.extend(number.to_le_bytes());
    }
    facts.extend(name_bytes.to_le_bytes());
    facts.extend(0_u16.to_le_bytes());

    let mut zip = Vec::with_capacity(packed.len() + 256);
    zip.extend(b"PK\x03\x04");
    zip.extend(&facts);
    zip.extend(ENTRY);
    zip.extend(packed);
    let directory = u32::try_from(zip.len())?;
    zip.extend(b"PK\x01\x02");
    zip.extend(MADE_BY.to_le_bytes());
    zip.extend(&facts);
    // No comment, the first disk, no text.
    zip.extend([0; 6]);
    zip.extend((MODE << 16).to_le_bytes());
    zip.extend(0_u32.to_le_bytes());
    zip.extend(ENTRY);
    let directory_bytes = u32::try_from(zip.len())? - directory;
    zip.extend(b"PK\x05\x06");
    for number in [0_u16, 0, 1, 1] {
        zip.extend(number.to_le_bytes());
    }
    zip.extend(directory_bytes.to_le_bytes());
    zip.extend(directory.to_le_bytes());
    zip.extend(0_u16.to_le_bytes());
    Ok(zip)
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::fs::PermissionsExt,
        process::{Command, Stdio},
    };

    use super::*;

    #[test]
    fn the_same_binary_makes_the_same_bytes() {
        let binary = b"not really a program".repeat(1_000);
        assert_eq!(zip(&binary).unwrap(), zip(&binary).unwrap());
    }

    #[test]
    fn others_read_it_and_find_a_program_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.zip");
        fs::write(&path, zip(b"#!/bin/sh\necho ran\n").unwrap()).unwrap();
        // Whichever of the two is there; a machine without both cannot tell.
        let python = r"
import sys, zipfile, os
with zipfile.ZipFile('f.zip') as z:
    assert z.testzip() is None
    entry, = z.infolist()
    z.extract(entry)
    os.chmod(entry.filename, entry.external_attr >> 16)
";
        let readers = [
            ("unzip", vec!["-q", "f.zip"]),
            ("python3", vec!["-c", python]),
        ];
        for (reader, arguments) in readers {
            let _ = fs::remove_file(folder.path().join("bootstrap"));
            let run = Command::new(reader)
                .args(arguments)
                .current_dir(folder.path())
                .stderr(Stdio::inherit())
                .status();
            let Ok(status) = run else { continue };
            assert!(status.success(), "{reader}");
            let bootstrap = folder.path().join("bootstrap");
            let mode = fs::metadata(&bootstrap).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o755, "{reader}");
            let ran = Command::new(&bootstrap).output().unwrap();
            assert_eq!(ran.stdout, b"ran\n", "{reader}");
        }
    }
}
