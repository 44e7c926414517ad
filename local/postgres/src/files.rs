//! Where a cluster's files lie, and the two small secrets kept beside them.

use std::{
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rand::Rng;
use sha2::{Digest, Sha256};

use crate::{PostgresError, owner::Owner};

/// The folder of one cluster.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    /// Everything below is in here; only the owner can enter.
    base: PathBuf,
}

impl Files {
    /// Below `.local/` of the checkout, or below `/var/lib` where the owner cannot reach that.
    pub(crate) fn prepare(local: &Path, name: &str, owner: Owner) -> Result<Self, PostgresError> {
        std::fs::create_dir_all(local).map_err(PostgresError::file(local))?;
        let local = &local.canonicalize().map_err(PostgresError::file(local))?;
        let near = local.join(name);
        let far = PathBuf::from(format!("/var/lib/nightshift-{}", fingerprint(local))).join(name);
        if far.exists() {
            return Ok(Self { base: far });
        }
        make_private(&near, owner)?;
        if owner.reaches(&near) {
            return Ok(Self { base: near });
        }
        std::fs::remove_dir(&near).map_err(PostgresError::file(&near))?;
        make_private(&far, owner)?;
        Ok(Self { base: far })
    }

    /// The data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.base.join("data")
    }

    /// Where this process's `initdb` works until it is done, so that a killed one leaves no half of
    /// a cluster. What killed ones left is removed; one of them may still be writing, so what does
    /// not go away now goes the next time.
    pub(crate) fn data_being_made(&self) -> PathBuf {
        let entries = std::fs::read_dir(&self.base)
            .into_iter()
            .flatten()
            .flatten();
        for entry in entries {
            if entry.file_name().as_encoded_bytes().starts_with(b"new-") {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        self.base.join(format!("new-{}", std::process::id()))
    }

    /// The server's log.
    pub(crate) fn log(&self) -> PathBuf {
        self.base.join("server.log")
    }

    /// The end of the server's log.
    pub(crate) fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }

    /// The superuser's password, made on first use.
    pub(crate) fn password(&self, owner: Owner) -> Result<String, PostgresError> {
        let path = self.password_file();
        if let Ok(kept) = std::fs::read_to_string(&path)
            && !kept.is_empty()
        {
            return Ok(kept);
        }
        let password = hex::encode(rand::rng().random::<[u8; 24]>());
        let new = path.with_extension("new");
        let _ = std::fs::remove_file(&new);
        std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)
            .and_then(|mut file| file.write_all(password.as_bytes()))
            .map_err(PostgresError::file(&new))?;
        owner.own(&new)?;
        std::fs::rename(&new, &path).map_err(PostgresError::file(&path))?;
        Ok(password)
    }

    /// Where the password is kept, for `initdb --pwfile`.
    pub(crate) fn password_file(&self) -> PathBuf {
        self.base.join("password")
    }

    /// The port of the last run, so that a URL stays valid where it can.
    pub(crate) fn last_port(&self) -> Option<u16> {
        let text = std::fs::read_to_string(self.base.join("port")).ok()?;
        text.trim().parse().ok()
    }

    /// Keeps the port for the next run.
    pub(crate) fn keep_port(&self, port: u16) -> Result<(), PostgresError> {
        let path = self.base.join("port");
        std::fs::write(&path, port.to_string()).map_err(PostgresError::file(path))
    }
}

fn make_private(folder: &Path, owner: Owner) -> Result<(), PostgresError> {
    std::fs::create_dir_all(folder).map_err(PostgresError::file(folder))?;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))
        .map_err(PostgresError::file(folder))?;
    owner.own(folder)
}

/// Tells checkouts apart: the first 12 hex digits of the path's SHA-256.
fn fingerprint(path: &Path) -> String {
    let digest = Sha256::digest(path.as_os_str().as_encoded_bytes());
    hex::encode(&digest[..6])
}
