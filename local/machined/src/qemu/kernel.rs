//! What a guest's kernel says of itself, in the header that boot loaders read.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

/// Where the header says how far after [`BASE`] the text is that begins with the version (Linux,
/// `Documentation/arch/x86/boot.rst`: `kernel_version`).
const POINTER: u64 = 0x20e;
const BASE: u64 = 0x200;
const TEXT_BYTES_MAX: u64 = 64;

/// The kernel's version, as `uname -r` will say it; none where the file is of another kind.
pub(super) fn version(kernel: &Path) -> Option<String> {
    let text = text(kernel).ok()?;
    let word: String = text
        .into_iter()
        .take_while(u8::is_ascii_graphic)
        .map(char::from)
        .collect();
    let begins = word.starts_with(|first: char| first.is_ascii_digit());
    begins.then_some(word)
}

fn text(kernel: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(kernel)?;
    let mut pointer = [0; 2];
    file.seek(SeekFrom::Start(POINTER))?;
    file.read_exact(&mut pointer)?;
    file.seek(SeekFrom::Start(
        BASE + u64::from(u16::from_le_bytes(pointer)),
    ))?;
    let mut text = Vec::new();
    file.take(TEXT_BYTES_MAX).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_where_the_header_points_and_nowhere_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("vmlinuz");
        let mut image = vec![0; 0x400];
        image[0x20e..0x210].copy_from_slice(&0x0120_u16.to_le_bytes());
        image[0x320..0x330].copy_from_slice(b"6.12.3-cloud (a\0");
        std::fs::write(&path, &image).unwrap();
        assert_eq!(version(&path).as_deref(), Some("6.12.3-cloud"));
        image[0x320] = b'\n';
        std::fs::write(&path, &image).unwrap();
        assert_eq!(version(&path), None);
        std::fs::write(&path, b"short").unwrap();
        assert_eq!(version(&path), None);
    }
}
