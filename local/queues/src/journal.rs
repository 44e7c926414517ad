//! The journal: what keeps the queues when their process is killed.
//!
//! The first line is the account as it was, each further line an action that changed it, with its
//! time. As chance is seeded, the same actions give the same messages and receipts again. A line is
//! handed to the system before its answer is given, so a killed process loses nothing; it is not
//! flushed to the disk, so a machine that loses power may lose the last seconds.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::account::Account;
use crate::actions;

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    bytes: u64,
    limit_bytes: u64,
    /// Held as long as the journal is open.
    _lock: File,
}

/// Why a journal could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file cannot be used.
    #[error("cannot use the journal {0}")]
    File(PathBuf, #[source] io::Error),
    /// Another process writes to it.
    #[error("the journal {0} is in use")]
    InUse(PathBuf),
    /// The file is not a journal.
    #[error("line {line} of the journal {path} cannot be read")]
    Line {
        /// Which file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Account(Box<Account>),
    Action {
        at: DateTime<Utc>,
        name: String,
        request: Value,
    },
}

/// A journal is written anew when it grows beyond this.
const LIMIT_BYTES: u64 = 64 * 1024 * 1024;

impl Journal {
    /// Opens the journal and says what the account was; without a file, the account is `empty`.
    /// The endpoint and the dials are those of `empty` in any case.
    pub fn open(path: &Path, empty: Account) -> Result<(Self, Account), JournalError> {
        let failed = |error| JournalError::File(path.to_owned(), error);
        let lock = lock(path)?;
        let (identity, dials) = (empty.identity.clone(), empty.luck.dials);
        let mut account = match File::open(path) {
            Ok(file) => replay(path, BufReader::new(file), empty)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => empty,
            Err(error) => return Err(failed(error)),
        };
        account.identity = identity;
        account.set_dials(dials);
        let (file, bytes) = rewrite(path, &mut account).map_err(failed)?;
        let journal = Self {
            path: path.to_owned(),
            file,
            bytes,
            limit_bytes: bytes + LIMIT_BYTES,
            _lock: lock,
        };
        Ok((journal, account))
    }

    /// Writes down an action that was just performed on this account.
    pub(crate) fn write(
        &mut self,
        at: DateTime<Utc>,
        name: &str,
        request: Value,
        account: &mut Account,
    ) {
        if let Err(error) = self.try_write(at, name, request, account) {
            tracing::error!(journal = %self.path.display(), %error, "the queues are not kept any more");
        }
    }

    fn try_write(
        &mut self,
        at: DateTime<Utc>,
        name: &str,
        request: Value,
        account: &mut Account,
    ) -> io::Result<()> {
        if self.bytes > self.limit_bytes {
            (self.file, self.bytes) = rewrite(&self.path, account)?;
            self.limit_bytes = self.bytes + LIMIT_BYTES;
            return Ok(());
        }
        let name = name.to_owned();
        let mut line = serde_json::to_vec(&Line::Action { at, name, request })?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.bytes += line.len() as u64;
        Ok(())
    }
}

/// Two processes that write to one journal would lose each other's messages.
fn lock(path: &Path) -> Result<File, JournalError> {
    let file = File::create(path.with_extension("lock"))
        .map_err(|error| JournalError::File(path.to_owned(), error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(JournalError::InUse(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(JournalError::File(path.to_owned(), error)),
    }
}

/// Reads a journal. The last line may be half a line: its answer was never given.
fn replay(path: &Path, mut reader: impl BufRead, empty: Account) -> Result<Account, JournalError> {
    let mut account = empty;
    let mut text = String::new();
    for line in 1.. {
        text.clear();
        let read = reader
            .read_line(&mut text)
            .map_err(|error| JournalError::File(path.to_owned(), error))?;
        if read == 0 || !text.ends_with('\n') {
            break;
        }
        let parsed = serde_json::from_str(&text).map_err(|source| JournalError::Line {
            path: path.to_owned(),
            line,
            source,
        })?;
        match parsed {
            Line::Account(then) => account = *then,
            Line::Action { at, name, request } => {
                // What was refused in part is refused in part again.
                let _ = actions::perform_named(&mut account, at, &name, &request);
            }
        }
    }
    Ok(account)
}

/// Replaces the journal by one line that says all. The old one is there until the new one is.
fn rewrite(path: &Path, account: &mut Account) -> io::Result<(File, u64)> {
    account.reseed();
    let mut line = serde_json::to_vec(&Line::Account(Box::new(account.clone())))?;
    line.push(b'\n');
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, &line)?;
    std::fs::rename(&fresh, path)?;
    let file = OpenOptions::new().append(true).open(path)?;
    Ok((file, line.len() as u64))
}
