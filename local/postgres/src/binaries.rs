//! Where PostgreSQL's programs are.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{PostgresError, owner::Owner};

/// The programs that a cluster needs, all in one folder.
const PROGRAMS: [&str; 4] = ["initdb", "pg_ctl", "postgres", "createdb"];

/// Where Debian and Ubuntu put each major version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// A folder that holds PostgreSQL's programs.
#[derive(Debug, Clone)]
pub struct Binaries {
    folder: PathBuf,
}

impl Binaries {
    /// Looks in `$PG_BIN`, in `PATH` and where Debian installs them, newest version first.
    pub fn find() -> Result<Self, PostgresError> {
        let named = std::env::var_os("PG_BIN").filter(|value| !value.is_empty());
        if let Some(named) = named {
            // Who names a folder wants that one; falling back silently would test another version.
            return Self::first_of([PathBuf::from(named)]);
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        Self::first_of(std::env::split_paths(&path).chain(debian_folders()))
    }

    fn first_of(folders: impl IntoIterator<Item = PathBuf>) -> Result<Self, PostgresError> {
        let has_all = |folder: &PathBuf| PROGRAMS.iter().all(|name| folder.join(name).is_file());
        let folder = folders.into_iter().find(has_all);
        folder
            .map(|folder| Self { folder })
            .ok_or(PostgresError::NotInstalled)
    }

    /// The folder itself.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs one of the programs as `owner` to its end and returns what it wrote to stdout.
    ///
    /// The caller's `PG*` variables are for other servers, so they are not passed on.
    pub(crate) fn run<I, S>(
        &self,
        program: &'static str,
        owner: &Owner,
        arguments: I,
        password: Option<&str>,
    ) -> Result<String, PostgresError>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut command = Command::new(self.folder.join(program));
        command.args(arguments).env("LC_ALL", "C").current_dir("/");
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"PG") {
                command.env_remove(name);
            }
        }
        if let Some(password) = password {
            command.env("PGPASSWORD", password);
        }
        owner.apply(&mut command);
        let output = command
            .stdin(std::process::Stdio::null())
            .output()
            .map_err(|source| PostgresError::Spawn { program, source })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = [output.stdout, output.stderr].concat();
        Err(PostgresError::Failed {
            program,
            output: String::from_utf8_lossy(&said).trim().to_owned(),
        })
    }
}

/// `/usr/lib/postgresql/*/bin`, newest major version first.
fn debian_folders() -> Vec<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir(DEBIAN)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    versions.into_iter().map(|(_, folder)| folder).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_lacks_one_program_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        for name in &PROGRAMS[1..] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let folders = || [folder.path().to_path_buf()];
        assert!(Binaries::first_of(folders()).is_err());
        std::fs::write(folder.path().join(PROGRAMS[0]), "").unwrap();
        assert_eq!(
            Binaries::first_of(folders()).unwrap().folder(),
            folder.path()
        );
    }
}
