//! As whom PostgreSQL runs: it refuses root, so root's cluster belongs to another user.

use std::{
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::Path,
    process::Command,
};

use crate::PostgresError;

/// The user that runs the cluster and owns its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Whoever runs us.
    Caller,
    /// We are root and hand the cluster to this user.
    Other {
        /// User id.
        uid: u32,
        /// Group id.
        gid: u32,
    },
}

impl Owner {
    /// The caller, unless the caller is root.
    pub(crate) fn of_this_process() -> Result<Self, PostgresError> {
        let me = std::fs::metadata("/proc/self").map_err(PostgresError::file("/proc/self"))?;
        if me.uid() != 0 {
            return Ok(Self::Caller);
        }
        let passwd =
            std::fs::read_to_string("/etc/passwd").map_err(PostgresError::file("/etc/passwd"))?;
        ["postgres", "nobody"]
            .iter()
            .find_map(|name| user(&passwd, name))
            .ok_or(PostgresError::NoUnprivilegedUser)
    }

    /// Makes `command` run as this user.
    pub(crate) fn apply(self, command: &mut Command) {
        if let Self::Other { uid, gid } = self {
            command.uid(uid).gid(gid);
        }
    }

    /// Gives `path` to this user.
    pub(crate) fn own(self, path: &Path) -> Result<(), PostgresError> {
        match self {
            Self::Caller => Ok(()),
            Self::Other { uid, gid } => std::os::unix::fs::chown(path, Some(uid), Some(gid))
                .map_err(PostgresError::file(path)),
        }
    }

    /// Whether this user can work in `folder`; a checkout below root's 0700 home is out of reach.
    pub(crate) fn reaches(self, folder: &Path) -> bool {
        let mut probe = Command::new("test");
        probe.arg("-w").arg(folder).current_dir("/");
        self.apply(&mut probe);
        probe.status().is_ok_and(|status| status.success())
    }
}

/// Reads one user from the text of `/etc/passwd`.
fn user(passwd: &str, name: &str) -> Option<Owner> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Owner::Other { uid, gid })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_read_by_its_whole_name() {
        let passwd = "postgresql:x:7:8::/:/bin/sh\npostgres:x:101:102:,,,:/var:/bin/bash\n";
        let expected = Owner::Other { uid: 101, gid: 102 };
        assert_eq!(user(passwd, "postgres"), Some(expected));
        assert_eq!(user(passwd, "nobody"), None);
    }
}
