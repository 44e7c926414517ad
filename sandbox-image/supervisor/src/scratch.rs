//! Files that do not outlive a start: the temporary directory and the harness's home.

use std::{
    collections::HashSet,
    ffi::OsString,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// A directory that is emptied of what comes into it.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    before: HashSet<OsString>,
    owners: Option<[u32; 2]>,
}

impl Scratch {
    /// Notes what is there now and may stay. Where there are `owners`, only what is theirs goes.
    #[must_use]
    pub fn watch(path: &Path, owners: Option<[u32; 2]>) -> Self {
        let before = names(path).unwrap_or_default();
        Self {
            path: path.to_owned(),
            before: before.into_iter().collect(),
            owners,
        }
    }

    /// Removes what came. Follows no link. Gives how many entries would not go.
    #[must_use]
    pub fn wipe(&self) -> usize {
        let new = names(&self.path).unwrap_or_default();
        let new = new.into_iter().filter(|name| !self.before.contains(name));
        new.map(|name| self.path.join(name))
            .filter(|path| remove(path, self.owners).is_err())
            .count()
    }
}

/// Whether a directory holds nothing. One that does not exist does not either.
#[must_use]
pub fn is_empty(path: &Path) -> bool {
    names(path).map_or(true, |names| names.is_empty())
}

fn names(path: &Path) -> io::Result<Vec<OsString>> {
    fs::read_dir(path)?
        .map(|entry| Ok(entry?.file_name()))
        .collect()
}

fn remove(path: &Path, owners: Option<[u32; 2]>) -> io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    if owners.is_some_and(|owners| !owners.contains(&found.uid())) {
        return Ok(());
    }
    if found.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_goes_and_what_was_there_or_is_linked_to_stays() {
        let root = tempfile::TempDir::new().unwrap();
        let (scratch, other) = (root.path().join("scratch"), root.path().join("other"));
        fs::create_dir_all(scratch.join("old")).unwrap();
        fs::create_dir(&other).unwrap();
        fs::write(other.join("kept"), "").unwrap();
        let watched = Scratch::watch(&scratch, None);
        fs::create_dir_all(scratch.join("new/deep")).unwrap();
        std::os::unix::fs::symlink(&other, scratch.join("link")).unwrap();
        std::os::unix::fs::symlink(&other, scratch.join("new/link")).unwrap();
        assert_eq!(watched.wipe(), 0);
        assert_eq!(names(&scratch).unwrap(), ["old"]);
        assert!(other.join("kept").exists());
        let mine = fs::symlink_metadata(&scratch).unwrap().uid();
        fs::create_dir(scratch.join("mine")).unwrap();
        let _ = Scratch {
            owners: Some([mine + 1; 2]),
            ..watched
        }
        .wipe();
        assert!(scratch.join("mine").exists(), "of somebody else");
    }
}
