//! What an instance prints: kept in the function's log, and its last lines in memory.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Write},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    task::JoinHandle,
};

/// Lines kept in memory; Lambda's tail is 4 KB.
const LINES: usize = 24;
/// Bytes of a line that are kept in memory.
const LINE_BYTES: usize = 600;

/// The log that all instances of a function write to, a line at a time.
#[derive(Debug, Clone)]
pub(super) struct Log {
    file: Arc<Mutex<File>>,
}

impl Log {
    /// Opens it for appending.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        Ok(Self {
            file: Arc::new(Mutex::new(file)),
        })
    }

    /// Adds one line. A full disk costs lines, not invocations.
    pub(super) fn line(&self, line: &str) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = file.write_all(format!("{line}\n").as_bytes());
    }
}

/// The last lines of one instance.
#[derive(Debug, Clone, Default)]
pub(super) struct Tail {
    lines: Arc<Mutex<VecDeque<String>>>,
}

impl Tail {
    /// Reads `output` into the log and the tail, in a task that ends with it.
    pub(super) fn follow(
        &self,
        output: impl AsyncRead + Unpin + Send + 'static,
        log: Log,
    ) -> JoinHandle<()> {
        let tail = self.clone();
        tokio::spawn(async move {
            let mut output = BufReader::new(output);
            let mut line = Vec::new();
            while output
                .read_until(b'\n', &mut line)
                .await
                .is_ok_and(|read| read > 0)
            {
                let text = String::from_utf8_lossy(&line);
                log.line(text.trim_end());
                tail.keep(text.trim_end());
                line.clear();
            }
        })
    }

    /// The lines, oldest first.
    pub(super) fn text(&self) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn keep(&self, line: &str) {
        let end = line.floor_char_boundary(LINE_BYTES);
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(line.get(..end).unwrap_or_default().to_owned());
    }
}
