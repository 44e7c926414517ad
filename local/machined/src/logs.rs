//! What a sandbox prints, kept bounded beside it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{io::AsyncReadExt, net::unix::pipe, task::JoinHandle};

/// A log file is set aside at this size, and only one is kept aside.
const FILE_BYTES_MAX: u64 = 512 * 1024;
/// How much of the end is looked at for the last words, how many lines of it are told, and how much of each.
const END_BYTES: usize = 16 * 1024;
const WORDS_LINES_MAX: usize = 5;
const WORDS_CHARS_MAX: usize = 1_000;
/// How long what was printed may take to be written down, once nobody prints any more.
const WRITE_PATIENCE: Duration = Duration::from_secs(1);

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

/// Tells in our own log how a machine ended that should not have, with the last that it printed: whoever looks
/// for the cause may come when the machine and its log are gone. `printed` is what [`keep`] runs in.
pub(crate) async fn tell_end(
    machine: &str,
    directory: &Path,
    how: &str,
    printed: &mut JoinHandle<()>,
) {
    if !printed.is_finished() {
        let _ = tokio::time::timeout(WRITE_PATIENCE, printed).await;
    }
    tracing::warn!(machine.id = machine, "{how}; its last words follow");
    for line in last_words(&read(directory).unwrap_or_default()) {
        tracing::warn!(machine.id = machine, "| {line}");
    }
}

/// The last lines, cut to what fits, with nothing in them that a terminal would obey.
fn last_words(printed: &[u8]) -> Vec<String> {
    let end = &printed[printed.len().saturating_sub(END_BYTES)..];
    let text = String::from_utf8_lossy(end);
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let mut last: Vec<_> = lines.rev().take(WORDS_LINES_MAX).map(plain).collect();
    last.reverse();
    last
}

fn plain(line: &str) -> String {
    let harmless = |letter: char| {
        // What turns the direction of writing round, or is not seen at all, is no better than a control.
        let turns = matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}');
        if letter.is_control() || turns || letter == '\u{feff}' {
            ' '
        } else {
            letter
        }
    };
    line.trim_end()
        .chars()
        .take(WORDS_CHARS_MAX)
        .map(harmless)
        .collect()
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

    #[test]
    fn last_words_are_few_short_and_obeyed_by_no_terminal() {
        let mut printed: Vec<u8> = (0..9_000)
            .flat_map(|n| format!("{n}\n").into_bytes())
            .collect();
        printed.extend(b"\x1b[2Jred\x07 \xe2\x80\xaeedoc \xff\n\n  \r\n");
        printed.extend("long".repeat(1_000).into_bytes());
        let words = last_words(&printed);
        let (long, before) = words.split_last().unwrap();
        assert_eq!(before, ["8997", "8998", "8999", " [2Jred   edoc \u{fffd}"]);
        assert_eq!(long.chars().count(), WORDS_CHARS_MAX);
        assert_eq!(last_words(b""), Vec::<String>::new());
    }
}
