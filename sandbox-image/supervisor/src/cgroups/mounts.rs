//! Where this process's own control groups are mounted.

use std::path::PathBuf;

use super::CONTROLLERS;

/// The two versions of cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

/// The supervisor's own groups: one of version 2, or one for each controller of version 1.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) version: Version,
    pub(super) directories: Vec<PathBuf>,
}

struct Mount<'a> {
    root: &'a str,
    point: &'a str,
    kind: &'a str,
    options: &'a str,
}

/// Reads `/proc/self/mountinfo` and `/proc/self/cgroup`. Version 2 counts only if it has the controllers: on
/// machines with both, version 1 often keeps them.
pub(super) fn find(mountinfo: &str, cgroup: &str) -> Option<Found> {
    let mounts: Vec<_> = mountinfo.lines().filter_map(parse).collect();
    let second = mounts
        .iter()
        .find(|mount| mount.kind == "cgroup2")
        .and_then(|mount| {
            let own = place(
                mount,
                path_of(cgroup, |id, names| id == "0" && names.is_empty())?,
            )?;
            let has = std::fs::read_to_string(own.join("cgroup.controllers")).ok()?;
            let has: Vec<_> = has.split_whitespace().collect();
            CONTROLLERS
                .iter()
                .all(|wanted| has.contains(wanted))
                .then_some(own)
        });
    if let Some(own) = second {
        return Some(Found {
            version: Version::Two,
            directories: vec![own],
        });
    }
    let first = CONTROLLERS.iter().map(|wanted| {
        let has = |list: &str| list.split(',').any(|name| name == *wanted);
        let mut first = mounts.iter().filter(|mount| mount.kind == "cgroup");
        let mount = first.find(|mount| has(mount.options))?;
        place(mount, path_of(cgroup, |_, names| has(names))?)
    });
    Some(Found {
        version: Version::One,
        directories: first.collect::<Option<_>>()?,
    })
}

fn parse(line: &str) -> Option<Mount<'_>> {
    let (before, after) = line.split_once(" - ")?;
    let mut before = before.split(' ').skip(3);
    let mut after = after.split(' ');
    Some(Mount {
        root: before.next()?,
        point: before.next()?,
        kind: after.next()?,
        options: after.nth(1)?,
    })
}

fn path_of(cgroup: &str, is: impl Fn(&str, &str) -> bool) -> Option<&str> {
    cgroup.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (id, names) = (fields.next()?, fields.next()?);
        is(id, names).then(|| fields.next()).flatten()
    })
}

/// A mount may show only a part of the hierarchy; a group outside of it has no directory.
fn place(mount: &Mount<'_>, path: &str) -> Option<PathBuf> {
    let inside = path.strip_prefix(mount.root.trim_end_matches('/'))?;
    Some(PathBuf::from(mount.point).join(inside.trim_start_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "\
30 25 0:26 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
31 25 0:27 /pod /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct
32 25 0:28 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
33 25 0:29 / /nowhere/unified rw,relatime - cgroup2 cgroup2 rw
";

    #[test]
    fn version_one_is_found_controller_by_controller_below_what_is_mounted() {
        let own = "4:memory:/a/b\n3:cpu,cpuacct:/pod/x\n2:pids:/\n0::/\n";
        let directories = [
            "/sys/fs/cgroup/memory/a/b",
            "/sys/fs/cgroup/pids/",
            "/sys/fs/cgroup/cpu/x",
        ];
        assert_eq!(
            find(FIRST, own),
            Some(Found {
                version: Version::One,
                directories: directories.map(PathBuf::from).to_vec(),
            })
        );
        let outside = own.replace("/pod/x", "/other");
        assert_eq!(
            find(FIRST, &outside),
            None,
            "one controller is out of sight"
        );
        assert_eq!(find("", own), None);
    }

    #[test]
    fn version_two_counts_where_it_has_the_controllers() {
        let root = tempfile::TempDir::new().unwrap();
        let own = root.path().join("machine");
        std::fs::create_dir(&own).unwrap();
        let mount = format!(
            "33 25 0:29 / {} rw - cgroup2 cgroup2 rw\n",
            root.path().display()
        );
        let controllers = own.join("cgroup.controllers");
        std::fs::write(&controllers, "hugetlb\n").unwrap();
        assert_eq!(find(&mount, "0::/machine\n"), None);
        std::fs::write(&controllers, "cpuset cpu io memory hugetlb pids\n").unwrap();
        let found = find(&mount, "0::/machine\n").unwrap();
        assert_eq!(
            (found.version, found.directories),
            (Version::Two, vec![own])
        );
    }
}
