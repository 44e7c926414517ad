//! The session file on the volume: written whole, or not at all.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use nightshift_domain::InvestigationId;

use crate::session::{Session, VERSION};

/// The session file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// It belongs to another investigation. Sandboxes are never used twice, so something is wrong
    /// that must not be covered up.
    #[error("the session on this volume is of {found}, not of {expected}")]
    AnotherInvestigation {
        /// Whose it is.
        found: InvestigationId,
        /// Whose it should be.
        expected: InvestigationId,
    },
    /// The volume refused.
    #[error("could not {what} the session file")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why it did not work.
        source: io::Error,
    },
}

/// Where the session is kept.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    directory: PathBuf,
}

impl Checkpoint {
    /// A checkpoint in a directory.
    #[must_use]
    pub fn in_directory(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.join("session.json")
    }

    /// The session on the volume, if there is one. A file that cannot be read is put aside, because
    /// an investigation that starts over is better than one that never starts.
    ///
    /// # Errors
    /// The volume refused, or the session is another investigation's.
    pub fn load(&self, expected: InvestigationId) -> Result<Option<Session>, CheckpointError> {
        let text = match fs::read(self.path()) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(CheckpointError::Io {
                    what: "read",
                    source,
                });
            }
        };
        match serde_json::from_slice::<Session>(&text) {
            Ok(session) if session.version != VERSION => {
                self.put_aside(&format!("version {}", session.version))
            }
            Ok(session) if session.investigation != expected => {
                Err(CheckpointError::AnotherInvestigation {
                    found: session.investigation,
                    expected,
                })
            }
            Ok(session) => Ok(Some(session)),
            Err(error) => self.put_aside(&error.to_string()),
        }
    }

    fn put_aside(&self, why: &str) -> Result<Option<Session>, CheckpointError> {
        tracing::warn!(why, "Put a session file aside that cannot be read");
        fs::rename(self.path(), self.directory.join("session.unreadable.json")).map_err(
            |source| CheckpointError::Io {
                what: "put aside",
                source,
            },
        )?;
        Ok(None)
    }

    /// Writes the session. A crash at any point leaves the old file or the new one.
    ///
    /// # Errors
    /// The volume refused.
    pub fn save(&self, session: &Session) -> Result<(), CheckpointError> {
        self.write(session).map_err(|source| CheckpointError::Io {
            what: "write",
            source,
        })
    }

    fn write(&self, session: &Session) -> io::Result<()> {
        let text = serde_json::to_vec(session)?;
        let new = self.directory.join("session.json.new");
        let mut file = File::create(&new)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(new, self.path())?;
        // The rename itself is only safe once the directory is.
        File::open(&self.directory)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use nightshift_protocol::brief::{Brief, Endpoints, Limits};

    use super::*;

    fn brief() -> Brief {
        Brief {
            investigation: InvestigationId::generate(),
            title: String::new(),
            service: None,
            severity: nightshift_domain::alert::Severity::Info,
            fired_at: chrono::DateTime::UNIX_EPOCH,
            instructions: String::new(),
            model: String::new(),
            endpoints: Endpoints {
                telemetry: String::new(),
                codebase: String::new(),
                casebook: String::new(),
                llm: String::new(),
            },
            limits: Limits::default(),
        }
    }

    #[test]
    fn what_was_saved_is_loaded_by_its_own_investigation_only() {
        let directory = tempfile::tempdir().unwrap();
        let checkpoint = Checkpoint::in_directory(directory.path());
        let session = Session::begin(&brief());
        assert!(checkpoint.load(session.investigation).unwrap().is_none());
        checkpoint.save(&session).unwrap();
        assert_eq!(
            checkpoint.load(session.investigation).unwrap(),
            Some(session)
        );
        assert!(matches!(
            checkpoint.load(InvestigationId::generate()),
            Err(CheckpointError::AnotherInvestigation { .. })
        ));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_put_aside_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let checkpoint = Checkpoint::in_directory(directory.path());
        let mut later = Session::begin(&brief());
        later.version = VERSION + 1;
        let later = serde_json::to_vec(&later).unwrap();
        for broken in [&b"{\"version\": 1, \"mess"[..], &later] {
            fs::write(checkpoint.path(), broken).unwrap();
            assert!(
                checkpoint
                    .load(InvestigationId::generate())
                    .unwrap()
                    .is_none()
            );
            let kept = fs::read(directory.path().join("session.unreadable.json")).unwrap();
            assert_eq!(kept, broken);
        }
    }

    #[test]
    fn a_save_that_fails_leaves_the_old_file_whole() {
        let directory = tempfile::tempdir().unwrap();
        let checkpoint = Checkpoint::in_directory(directory.path());
        let session = Session::begin(&brief());
        checkpoint.save(&session).unwrap();
        symlink("/nowhere/at/all", directory.path().join("session.json.new")).unwrap();
        let mut other = session.clone();
        other.requests = 7;
        assert!(checkpoint.save(&other).is_err());
        assert_eq!(
            checkpoint.load(session.investigation).unwrap(),
            Some(session)
        );
    }
}
