//! Records on disk, one JSON file each, replaced atomically so that a kill leaves the old or the new.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

use crate::record::{AppRecord, MachineRecord, VolumeRecord};

/// The state directory.
#[derive(Debug)]
pub(crate) struct Disk {
    root: PathBuf,
}

/// Which records.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Table {
    Apps,
    Volumes,
    Machines,
}

impl Table {
    const fn directory(self) -> &'static str {
        match self {
            Self::Apps => "records/apps",
            Self::Volumes => "records/volumes",
            Self::Machines => "records/machines",
        }
    }
}

impl Disk {
    /// Opens the directory and makes what is missing. Sandboxes' users pass through, not look in.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        fs::set_permissions(root, fs::Permissions::from_mode(0o711))?;
        let make = |name: &str, mode| {
            DirBuilder::new()
                .recursive(true)
                .mode(mode)
                .create(root.join(name))
        };
        make("records", 0o700)?;
        for table in [Table::Apps, Table::Volumes, Table::Machines] {
            make(table.directory(), 0o700)?;
        }
        make("machines", 0o711)?;
        make("volumes", 0o711)?;
        make("images", 0o711)?;
        Ok(Self {
            root: root.to_owned(),
        })
    }

    /// What belongs to one machine: sockets and log.
    pub(crate) fn machine_dir(&self, id: &str) -> PathBuf {
        self.root.join("machines").join(id)
    }

    /// What belongs to one volume; its files are in `data`.
    pub(crate) fn volume_dir(&self, id: &str) -> PathBuf {
        self.root.join("volumes").join(id)
    }

    /// Where images are unpacked.
    pub(crate) fn images_dir(&self) -> PathBuf {
        self.root.join("images")
    }

    /// Where disks of images are made, for virtual machines.
    pub(crate) fn disks_dir(&self) -> PathBuf {
        self.root.join("disks")
    }

    /// Names the backend whose machines are here.
    pub(crate) fn backend(&self) -> PathBuf {
        self.root.join("records/backend")
    }

    /// Whether there was never a machine or a volume here.
    pub(crate) fn is_new(&self) -> io::Result<bool> {
        for table in [Table::Volumes, Table::Machines] {
            if fs::read_dir(self.root.join(table.directory()))?
                .next()
                .is_some()
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Names the control groups of this life.
    pub(crate) fn cgroups(&self) -> PathBuf {
        self.root.join("records/cgroups.json")
    }

    /// For what is tried out and removed again.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.root.join("records")
    }

    /// The key that signs identities.
    pub(crate) fn identity_key(&self) -> PathBuf {
        self.root.join("identity-key.pem")
    }

    pub(crate) fn save_app(&self, app: &AppRecord) -> io::Result<()> {
        self.save(Table::Apps, &app.name, app)
    }

    pub(crate) fn save_volume(&self, volume: &VolumeRecord) -> io::Result<()> {
        self.save(Table::Volumes, &volume.volume.id, volume)
    }

    pub(crate) fn save_machine(&self, machine: &MachineRecord) -> io::Result<()> {
        self.save(Table::Machines, &machine.id, machine)
    }

    fn save(&self, table: Table, key: &str, record: &impl Serialize) -> io::Result<()> {
        let directory = self.root.join(table.directory());
        let (new, place) = (
            directory.join(format!(".{key}")),
            directory.join(format!("{key}.json")),
        );
        let bytes = serde_json::to_vec(record)?;
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(&bytes)?;
        fs::rename(&new, &place)
    }

    /// Forgets a record; one that is not there is forgotten already.
    pub(crate) fn forget(&self, table: Table, key: &str) -> io::Result<()> {
        ignore_missing(fs::remove_file(
            self.root
                .join(table.directory())
                .join(format!("{key}.json")),
        ))
    }

    /// Reads every record of a table; half-written ones of a killed life are thrown away.
    pub(crate) fn load<T: DeserializeOwned>(&self, table: Table) -> io::Result<Vec<T>> {
        let mut records = Vec::new();
        for entry in fs::read_dir(self.root.join(table.directory()))? {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                records.push(serde_json::from_slice(&fs::read(&path)?)?);
            } else {
                fs::remove_file(&path)?;
            }
        }
        Ok(records)
    }
}

/// Removes a directory with all in it; one that is not there is removed already.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    ignore_missing(fs::remove_dir_all(path))
}

/// What is not there need not be removed.
pub(crate) fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
