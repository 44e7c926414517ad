//! Reads files of a recording, never more of one than a server can hold.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use flate2::read::MultiGzDecoder;
use serde::de::DeserializeOwned;

/// The most that one file may hold once it is unpacked.
const MAX_FILE_BYTES: u64 = 256 * 1024 * 1024;

/// Why a file of a recording cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be opened or unpacked.
    #[error("cannot read {file}")]
    Io {
        /// Which file.
        file: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not a plain file: a link may lead out of the directory.
    #[error("{file} is not a plain file")]
    NotAFile {
        /// Which file.
        file: String,
    },
    /// It unpacks to more than we hold.
    #[error("{file} unpacks to more than {MAX_FILE_BYTES} bytes")]
    TooLarge {
        /// Which file.
        file: String,
    },
    /// It is not what the format says.
    #[error("{file} is not as the format demands: {reason}")]
    Malformed {
        /// Which file.
        file: String,
        /// What is wrong.
        reason: String,
    },
}

/// The text of a file, unpacked where its name ends in `.gz`.
pub fn text(directory: &Path, file: &str) -> Result<String, ReadError> {
    let failed = |source| ReadError::Io {
        file: file.to_owned(),
        source,
    };
    let path = directory.join(file);
    if !path.symlink_metadata().map_err(failed)?.is_file() {
        return Err(ReadError::NotAFile {
            file: file.to_owned(),
        });
    }
    let opened = File::open(&path).map_err(failed)?;
    let mut unpacked: Box<dyn Read> = if path.extension().is_some_and(|ending| ending == "gz") {
        Box::new(MultiGzDecoder::new(opened))
    } else {
        Box::new(opened)
    };
    let mut text = String::new();
    let read = unpacked
        .by_ref()
        .take(MAX_FILE_BYTES)
        .read_to_string(&mut text)
        .map_err(failed)?;
    let whole = u64::try_from(read).unwrap_or(u64::MAX) < MAX_FILE_BYTES
        || unpacked.read(&mut [0]).map_err(failed)? == 0;
    if whole {
        Ok(text)
    } else {
        Err(ReadError::TooLarge {
            file: file.to_owned(),
        })
    }
}

/// A file that is one JSON value.
pub fn json<T: DeserializeOwned>(directory: &Path, file: &str) -> Result<T, ReadError> {
    serde_json::from_str(&text(directory, file)?).map_err(|error| ReadError::Malformed {
        file: file.to_owned(),
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write, os::unix::fs::symlink};

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    #[test]
    fn a_packed_file_reads_like_a_plain_one_and_a_link_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("plain.json"), "[1, 2]").unwrap();
        let packed = File::create(dir.path().join("packed.json.gz")).unwrap();
        let mut packed = GzEncoder::new(packed, Compression::fast());
        packed.write_all(b"[1, 2]").unwrap();
        packed.finish().unwrap();
        symlink("plain.json", dir.path().join("link.json")).unwrap();

        let plain: Vec<u8> = json(dir.path(), "plain.json").unwrap();
        let unpacked: Vec<u8> = json(dir.path(), "packed.json.gz").unwrap();

        assert_eq!(plain, unpacked);
        let link = text(dir.path(), "link.json");
        assert!(matches!(link, Err(ReadError::NotAFile { .. })), "{link:?}");
    }

    #[test]
    fn a_file_that_unpacks_to_more_than_we_hold_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let packed = File::create(dir.path().join("bomb.gz")).unwrap();
        let mut packed = GzEncoder::new(packed, Compression::fast());
        let block = vec![b'0'; 1 << 20];
        for _ in 0..256 {
            packed.write_all(&block).unwrap();
        }
        packed.write_all(b"1").unwrap();
        packed.finish().unwrap();

        let refused = text(dir.path(), "bomb.gz").map(|text| text.len());

        assert!(
            matches!(refused, Err(ReadError::TooLarge { .. })),
            "{refused:?}"
        );
    }
}
