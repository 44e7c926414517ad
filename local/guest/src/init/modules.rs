//! The kernel's modules for its only devices.

use std::{fs::File, io};

use rustix::{io::Errno, system::finit_module};

use super::{Failed, step};

/// Each after those that it needs.
pub const MODULES: [&str; 5] = [
    "virtio_ring",
    "virtio",
    "virtio_mmio",
    "virtio_blk",
    "virtio_console",
];

/// Loads those that are there; what a kernel has built in is not.
pub(super) fn load() -> Result<(), Failed> {
    for name in MODULES {
        let path = format!("/modules/{name}.ko");
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened.map_err(step(path))?,
        };
        match finit_module(file, c"", 0) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(step(format!("loading {name}"))(error)),
        }
    }
    Ok(())
}
