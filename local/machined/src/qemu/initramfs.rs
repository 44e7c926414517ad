//! What a virtual machine's kernel starts with: our first process, the libraries it links, and the modules
//! for the only devices there are, as one archive.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

/// Each after those that it needs; the first process loads them in this order.
const MODULES: [&str; 5] = nightshift_guest::init::MODULES;
/// Where programs look for their loader.
const LOADER: &str = "lib64/ld-linux-x86-64.so.2";
const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;

/// Writes the archive, whole or not at all.
pub(super) fn make(guest: &Path, modules: &Path, place: &Path) -> io::Result<()> {
    let mut archive = Archive::default();
    archive.file("init", &fs::read(guest)?);
    for library in libraries()? {
        let content = fs::read(&library)?;
        let name = library.strip_prefix("/").unwrap_or(&library);
        archive.file(&name.to_string_lossy(), &content);
        if library.file_name().is_some_and(is_loader) {
            archive.file(LOADER, &content);
        }
    }
    for name in MODULES {
        let file = format!("{name}.ko");
        match fs::read(modules.join(&file)) {
            Ok(content) => archive.file(&format!("modules/{file}"), &content),
            // Built into this kernel.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let new = place.with_extension("new");
    fs::write(&new, archive.end())?;
    fs::rename(new, place)
}

/// The libraries of our own process: the first process is built with the same compiler for the same
/// system, and links some of them.
fn libraries() -> io::Result<BTreeSet<PathBuf>> {
    let maps = fs::read_to_string("/proc/self/maps")?;
    let paths = maps
        .lines()
        .filter_map(|line| line.find('/').map(|at| Path::new(&line[at..])));
    let libraries = paths.filter(|path| {
        let name = path.file_name().map(|name| name.to_string_lossy());
        name.is_some_and(|name| name.contains(".so"))
    });
    Ok(libraries.map(Path::to_owned).collect())
}

fn is_loader(name: &std::ffi::OsStr) -> bool {
    name.to_string_lossy().starts_with("ld-linux")
}

/// An archive in the format `newc` of cpio, as the kernel reads it.
#[derive(Debug, Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
    directories: BTreeSet<String>,
}

impl Archive {
    fn file(&mut self, name: &str, content: &[u8]) {
        let above: Vec<_> = Path::new(name).ancestors().skip(1).collect();
        for directory in above.into_iter().rev() {
            let directory = directory.to_string_lossy().into_owned();
            if !directory.is_empty() && self.directories.insert(directory.clone()) {
                self.entry(&directory, DIRECTORY, &[]);
            }
        }
        self.entry(name, PROGRAM, content);
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
        let name_length = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
        // inode, mode, owner, group, links, time, size, device, device's own, name, checksum
        let fields = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            length,
            0,
            0,
            0,
            0,
            name_length,
            0,
        ];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08X}").bytes());
        }
        self.bytes.extend(name.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn end(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_come_before_what_is_in_them_and_everything_is_aligned() {
        let mut archive = Archive::default();
        archive.file("a/b/c", b"xyz");
        archive.file("a/d", b"");
        let bytes = archive.end();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes);
        let at = |name: &str| text.find(&format!("{name}\0")).unwrap();
        assert!(at("a") < at("a/b") && at("a/b") < at("a/b/c") && at("a/d") < at("TRAILER!!!"));
        assert_eq!(text.matches("070701").count(), 5);
        assert_eq!(text.matches("000041ED").count(), 2, "two directories");
    }

    #[test]
    fn our_own_libraries_are_found_with_their_loader() {
        let libraries = libraries().unwrap();
        let named = |part: &str| {
            libraries
                .iter()
                .any(|path| path.to_string_lossy().contains(part))
        };
        assert!(named("libc.so") && named("ld-linux"), "{libraries:?}");
    }
}
