//! Which host users stand behind a sandbox's users.
//!
//! Root gives every sandbox 65,536 host users of its own that nobody else has. An ordinary user
//! gives it the few that `/etc/subuid` allows, or only himself.

use std::{fs, io, os::unix::fs::lchown, path::Path, process::Command};

/// First host user given to sandboxes: above all ranges in common use, below 2^31.
const FIRST: u32 = 1_879_048_192;
/// Host users per sandbox, as root.
const RANGE: u32 = 65_536;
/// Sandboxes at most, as root.
const SLOTS: u32 = 4_096;
/// First user inside that an ordinary user's sandbox has besides root.
const SUB_FIRST: u32 = 1_000;
/// Users besides root that an ordinary user's sandbox has.
const SUB_RANGE: u32 = 16;

/// How users are mapped on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UidPolicy {
    /// We are root: a whole range per sandbox.
    Range,
    /// `newuidmap` may give a sandbox some users and groups of ours.
    SubRange {
        /// Our own user and group, which are root inside.
        own: (u32, u32),
        /// The first subordinate user and group.
        first: (u32, u32),
        /// Sandboxes that serves.
        slots: u32,
    },
    /// A sandbox has one user, us.
    Single,
}

impl UidPolicy {
    /// What this process may do.
    pub(crate) fn detect() -> Self {
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        if uid.is_root() {
            return Self::Range;
        }
        let subordinate = |path: &str| {
            let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
            parse_subordinate(&fs::read_to_string(path).ok()?, uid.as_raw(), &passwd)
        };
        let ranges = subordinate("/etc/subuid").zip(subordinate("/etc/subgid"));
        let tools = ["/usr/bin/newuidmap", "/usr/bin/newgidmap"];
        match ranges {
            Some((users, groups))
                if tools.iter().all(|tool| Path::new(tool).exists())
                    && users.1.min(groups.1) >= SUB_RANGE =>
            {
                Self::SubRange {
                    own: (uid.as_raw(), gid.as_raw()),
                    first: (users.0, groups.0),
                    slots: users.1.min(groups.1) / SUB_RANGE,
                }
            }
            _ => Self::Single,
        }
    }

    /// What sandboxes are told: whether they have several users.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Range | Self::SubRange { .. } => "range",
            Self::Single => "single",
        }
    }

    /// Sandboxes that can be told apart.
    pub(crate) const fn slots(&self) -> u32 {
        match self {
            Self::Range => SLOTS,
            Self::SubRange { slots, .. } => *slots,
            Self::Single => u32::MAX,
        }
    }

    /// The host user that is root inside, where it is not us.
    pub(crate) const fn root_of(&self, slot: u32) -> Option<u32> {
        match self {
            Self::Range => Some(FIRST + RANGE * slot),
            Self::SubRange { .. } | Self::Single => None,
        }
    }

    /// Whether bubblewrap must hold still until the users are mapped.
    pub(crate) const fn maps_from_outside(&self) -> bool {
        !matches!(self, Self::Single)
    }

    /// Maps the users of a sandbox that holds still.
    pub(crate) fn map(&self, pid: u32, slot: u32) -> io::Result<()> {
        match self {
            Self::Range => {
                let map = format!("0 {} {RANGE}\n", FIRST + RANGE * slot);
                fs::write(format!("/proc/{pid}/uid_map"), &map)?;
                fs::write(format!("/proc/{pid}/gid_map"), &map)
            }
            Self::SubRange { own, first, .. } => {
                let mine = SUB_RANGE * slot;
                map_with("/usr/bin/newuidmap", pid, own.0, first.0 + mine)?;
                map_with("/usr/bin/newgidmap", pid, own.1, first.1 + mine)
            }
            Self::Single => Ok(()),
        }
    }

    /// Makes a file or directory of ours that of root inside.
    pub(crate) fn give(&self, path: &Path, slot: u32) -> io::Result<()> {
        match self.root_of(slot) {
            Some(root) => lchown(path, Some(root), Some(root)),
            None => Ok(()),
        }
    }
}

fn map_with(tool: &str, pid: u32, own: u32, first: u32) -> io::Result<()> {
    let numbers = [pid, 0, own, 1, SUB_FIRST, first, SUB_RANGE].map(|number| number.to_string());
    let output = Command::new(tool).args(numbers).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(
        String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    ))
}

/// The first range of a user in a file like `/etc/subuid`: `name-or-uid:first:count`.
fn parse_subordinate(file: &str, uid: u32, passwd: &str) -> Option<(u32, u32)> {
    let number = uid.to_string();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == number).then_some(name)
    });
    file.lines().find_map(|line| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        if owner != number && Some(owner) != name {
            return None;
        }
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_sandboxes_share_a_host_user_and_none_is_root() {
        let roots: Vec<u32> = (0..SLOTS)
            .filter_map(|slot| UidPolicy::Range.root_of(slot))
            .collect();
        assert!(roots.windows(2).all(|pair| pair[1] - pair[0] == RANGE) && roots[0] > 0);
        let last = roots.last().unwrap();
        assert!(
            last.checked_add(RANGE - 1)
                .is_some_and(|last| last < 1 << 31)
        );
    }

    #[test]
    fn a_subordinate_range_is_found_by_name_or_by_number_and_only_ones_own() {
        let passwd = "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/:/bin/sh\n";
        let file = "bob:100000:65536\nann:165536:65536\n1001:9:3\n";
        assert_eq!(
            parse_subordinate(file, 1000, passwd),
            Some((165_536, 65_536))
        );
        assert_eq!(parse_subordinate(file, 1001, passwd), Some((9, 3)));
        assert_eq!(parse_subordinate(file, 1002, passwd), None);
    }
}
