//! What a sandbox prints, kept bounded beside it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use tokio::{io::AsyncReadExt, net::unix::pipe};

/// A log file is set aside at this size, and only one is kept aside.
const FILE_BYTES_MAX: u64 = 512 * 1024;

/// Copies what the sandbox prints until it ends.
pub(crate) async fn keep(mut output: pipe::Receiver, directory: PathBuf) {
    let mut buffer = vec![0; 16 * 1024];
    let mut log = match Log::open(&directory) {
        Ok(log) => log,
        Err(error) => return tracing::warn!(%error, "a sandbox's output is not kept"),
    };
    loop {
        match output.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => {
                // Reading goes on when writing fails: a full pipe would stop the sandbox.
                if let Err(error) = log.write(&buffer[..read]) {
                    tracing::warn!(%error, "some of a sandbox's output is lost");
                }
            }
        }
    }
}

/// What is kept, the oldest first.
pub(crate) fn read(directory: &Path) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    for path in [aside(directory), current(directory)] {
        match fs::read(path) {
            Ok(bytes) => kept.extend(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(kept)
}

fn current(directory: &Path) -> PathBuf {
    directory.join("log")
}

fn aside(directory: &Path) -> PathBuf {
    directory.join("log.1")
}

struct Log {
    directory: PathBuf,
    file: File,
    bytes: u64,
}

impl Log {
    fn open(directory: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(current(directory))?;
        let bytes = file.metadata()?.len();
        Ok(Self {
            directory: directory.to_owned(),
            file,
            bytes,
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.bytes >= FILE_BYTES_MAX {
            fs::rename(current(&self.directory), aside(&self.directory))?;
            *self = Self::open(&self.directory)?;
        }
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_long_output_is_kept_and_its_beginning_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = Log::open(directory.path()).unwrap();
        for n in 0..200_000 {
            log.write(format!("line {n:09}\n").as_bytes()).unwrap();
        }
        let kept = read(directory.path()).unwrap();
        assert!(
            kept.len() as u64 <= 2 * FILE_BYTES_MAX + 100,
            "{}",
            kept.len()
        );
        assert!(kept.ends_with(b"line 000199999\n"));
    }
}
