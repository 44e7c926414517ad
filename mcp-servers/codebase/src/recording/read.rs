//! Reads files of a recording, never more of one than a server can hold.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use flate2::read::MultiGzDecoder;
use serde::de::DeserializeOwned;

/// The most that one file may hold once it is unpacked.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

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
    #[error("{file} is not as the format demands")]
    Malformed {
        /// Which file.
        file: String,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// It is in a version of the format that we do not know.
    #[error("format {0} is not 1")]
    UnknownFormat(u32),
}

/// A file that is one JSON value, unpacked where its name ends in `.gz`.
pub(super) fn json<T: DeserializeOwned>(directory: &Path, file: &str) -> Result<T, ReadError> {
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
    let mut bytes = Vec::new();
    let limit = MAX_FILE_BYTES + 1;
    if path.extension().is_some_and(|ending| ending == "gz") {
        MultiGzDecoder::new(opened)
            .take(limit)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
    } else {
        opened.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    }
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_FILE_BYTES {
        return Err(ReadError::TooLarge {
            file: file.to_owned(),
        });
    }
    serde_json::from_slice(&bytes).map_err(|source| ReadError::Malformed {
        file: file.to_owned(),
        source,
    })
}
