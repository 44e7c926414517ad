//! The file of a set of signing keys: its owner's alone, and whole at every moment.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use crate::signer::HeldSigner;

/// The key file is of no use. Never shows the key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read or written.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than its owner may read it.
    #[error("{} is open to others; run `chmod 600` on it", .0.display())]
    Exposed(PathBuf),
    /// No key could be made for it.
    #[error("no key could be made for {}", .0.display())]
    NoKey(PathBuf),
}

/// The text of the file, with one new key in it if there was none.
pub(super) fn read_or_create(path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    match read(path) {
        Err(KeyFileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            let key = HeldSigner::new_pem().map_err(|_| KeyFileError::NoKey(path.to_owned()))?;
            write(path, &key, |draft| match fs::hard_link(draft, path) {
                // One that appeared meanwhile stays.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                linked => linked,
            })?;
            read(path)
        }
        other => other,
    }
}

/// The text of the file.
pub(super) fn read(path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    let unusable = |source| KeyFileError::Io {
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(unusable)?;
    let mode = file.metadata().map_err(unusable)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Exposed(path.to_owned()));
    }
    let mut text = Zeroizing::new(String::new());
    file.read_to_string(&mut text).map_err(unusable)?;
    Ok(text)
}

/// Puts another text in its place.
pub(super) fn replace(path: &Path, text: &str) -> Result<(), KeyFileError> {
    write(path, text, |draft| fs::rename(draft, path))
}

/// Writes a draft beside the file and has it `placed`: readers see one text or the other, never half.
fn write(
    path: &Path,
    text: &str,
    placed: impl FnOnce(&Path) -> io::Result<()>,
) -> Result<(), KeyFileError> {
    let draft = path.with_extension(format!("draft-{}", uuid::Uuid::new_v4().simple()));
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        placed(&draft)
    })();
    // The draft has served its purpose either way.
    let _ = fs::remove_file(&draft);
    written.map_err(|source| KeyFileError::Io {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_owner_only_and_found_again() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("signing.pem");

        let made = read_or_create(&path).unwrap();
        let found = read_or_create(&path).unwrap();

        assert_eq!(made, found);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            1,
            "no draft is left"
        );
        replace(&path, "another").unwrap();
        assert_eq!(read(&path).unwrap().as_str(), "another");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn many_that_start_at_once_agree_on_one_key() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("signing.pem");
        let texts: std::collections::BTreeSet<String> = std::thread::scope(|scope| {
            let open = || read_or_create(&path).unwrap().to_string();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert_eq!(texts.len(), 1);
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("signing.pem");
        read_or_create(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            read_or_create(&path),
            Err(KeyFileError::Exposed(_))
        ));
    }
}
