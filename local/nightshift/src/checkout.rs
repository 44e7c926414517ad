//! The folders of one checkout.

use std::{
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

/// A checkout of this repository: where the programs, the recordings and the state are.
#[derive(Debug, Clone)]
pub struct Checkout {
    root: PathBuf,
    programs: PathBuf,
}

impl Checkout {
    /// The checkout at `root`, or the one that this program or the current folder lies in. The other
    /// programs are taken from `programs`, or from beside this one.
    pub fn find(root: Option<PathBuf>, programs: Option<PathBuf>) -> Result<Self> {
        let me = std::env::current_exe().context("this program does not know where it is")?;
        let here = std::env::current_dir().context("the current folder is gone")?;
        let root = match root {
            Some(root) => root,
            None => [me.as_path(), here.as_path()]
                .into_iter()
                .flat_map(Path::ancestors)
                .find(|folder| is_checkout(folder))
                .context("not in a checkout of Nightshift; name one with --root")?
                .to_owned(),
        };
        if !is_checkout(&root) {
            bail!("{} is not a checkout of Nightshift", root.display());
        }
        let programs = programs
            .or_else(|| me.parent().map(Path::to_owned))
            .context("this program has no folder")?;
        Ok(Self {
            root: root.canonicalize()?,
            programs: programs
                .canonicalize()
                .with_context(|| format!("no folder {}", programs.display()))?,
        })
    }

    /// The folder for everything that is written, made if it is not there.
    pub fn local(&self) -> Result<PathBuf> {
        folder(self.root.join(".local"))
    }

    /// Where every process of the stack writes its log.
    pub fn logs(&self) -> Result<PathBuf> {
        folder(self.local()?.join("logs"))
    }

    /// Where the recorded incidents of the shop are.
    #[must_use]
    pub fn recordings(&self) -> PathBuf {
        self.root.join("local/shop/recordings")
    }

    /// What a recording's cause really was. Nothing but scoring reads it.
    #[must_use]
    pub fn expected(&self, recording: &str) -> PathBuf {
        let expected = self.root.join("local/shop/expected");
        expected.join(format!("{recording}.json"))
    }

    /// A file of the checkout.
    #[must_use]
    pub fn file(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Another program of this build.
    pub fn program(&self, name: &str) -> Result<PathBuf> {
        let path = self.programs.join(name);
        if !path.is_file() {
            bail!(
                "{} is not built; `cargo build --workspace --bins` builds it",
                path.display()
            );
        }
        Ok(path)
    }

    /// The folder of the programs.
    #[must_use]
    pub fn programs(&self) -> &Path {
        &self.programs
    }
}

/// Writes a file that only its owner may read. It appears whole or not at all.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    let draft = path.with_extension(format!("draft-{}", std::process::id()));
    let _ = std::fs::remove_file(&draft);
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| std::fs::rename(&draft, path));
    written.with_context(|| format!("cannot write {}", path.display()))
}

fn is_checkout(folder: &Path) -> bool {
    folder.join("Cargo.toml").is_file() && folder.join("local/nightshift").is_dir()
}

fn folder(path: PathBuf) -> Result<PathBuf> {
    std::fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_private_file_is_its_owners_alone_even_where_an_open_one_stood() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stack.json");
        std::fs::write(&path, "old").unwrap();
        write_private(&path, "new").unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
