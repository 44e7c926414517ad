//! Where control groups may be made: read from what the kernel says about this process.

use std::path::{Path, PathBuf};

use super::CONTROLLERS;

/// The two versions of cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    One,
    Two,
}

impl Version {
    /// How we call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::One => "v1",
            Self::Two => "v2",
        }
    }
}

struct Mount<'a> {
    root: &'a str,
    point: &'a str,
    kind: &'a str,
    options: &'a str,
}

/// Reads `/proc/self/mountinfo` and `/proc/self/cgroup`.
///
/// Version 2, if it has the controllers, comes with our own group and those above it, the nearest first.
/// Version 1 comes with our own group of each controller's hierarchy, in the order of [`CONTROLLERS`].
pub(super) fn find(mountinfo: &str, cgroup: &str) -> Option<(Version, Vec<PathBuf>)> {
    let mounts: Vec<_> = mountinfo.lines().filter_map(parse).collect();
    if let Some(groups) = second(&mounts, cgroup) {
        return Some((Version::Two, groups));
    }
    let first = CONTROLLERS.iter().map(|wanted| {
        let has = |list: &str| list.split(',').any(|name| name == *wanted);
        let mut first = mounts.iter().filter(|mount| mount.kind == "cgroup");
        let mount = first.find(|mount| has(mount.options))?;
        place(mount, path_of(cgroup, |_, names| has(names))?)
    });
    Some((Version::One, first.collect::<Option<_>>()?))
}

fn second(mounts: &[Mount<'_>], cgroup: &str) -> Option<Vec<PathBuf>> {
    let mount = mounts.iter().find(|mount| mount.kind == "cgroup2")?;
    let own = path_of(cgroup, |id, names| id == "0" && names.is_empty())?;
    let own = place(mount, own)?;
    let has_all = |group: &&Path| {
        let has = std::fs::read_to_string(group.join("cgroup.controllers")).unwrap_or_default();
        let has: Vec<_> = has.split_whitespace().collect();
        CONTROLLERS.iter().all(|wanted| has.contains(wanted))
    };
    let top = Path::new(mount.point);
    let groups = own.ancestors().take_while(|group| group.starts_with(top));
    let groups: Vec<_> = groups.filter(has_all).map(Path::to_owned).collect();
    (!groups.is_empty()).then_some(groups)
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
    // Joining nothing would add a slash.
    Some(match inside.trim_matches('/') {
        "" => PathBuf::from(mount.point),
        inside => PathBuf::from(mount.point).join(inside),
    })
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
    fn version_one_is_our_own_group_of_every_controller() {
        let own = "4:memory:/a/b\n3:cpu,cpuacct:/pod/x\n2:pids:/\n0::/\n";
        let expected = [
            "/sys/fs/cgroup/memory/a/b",
            "/sys/fs/cgroup/pids",
            "/sys/fs/cgroup/cpu/x",
        ];
        let expected = expected.map(PathBuf::from).to_vec();
        assert_eq!(find(FIRST, own), Some((Version::One, expected)));
        let outside = own.replace("/pod/x", "/other");
        assert_eq!(find(FIRST, &outside), None, "cpu's group is out of sight");
        assert_eq!(find("", own), None);
    }

    #[test]
    fn version_two_is_our_own_group_and_those_above_that_have_the_controllers() {
        let root = tempfile::tempdir().unwrap();
        let scope = root.path().join("slice/scope");
        std::fs::create_dir_all(&scope).unwrap();
        let all = "cpuset cpu io memory hugetlb pids\n";
        for (group, controllers) in [
            (root.path().to_owned(), all),
            (root.path().join("slice"), all),
            (scope, "memory pids\n"),
        ] {
            std::fs::write(group.join("cgroup.controllers"), controllers).unwrap();
        }
        let point = root.path().display();
        let mount = format!("33 25 0:29 / {point} rw - cgroup2 cgroup2 rw\n");
        let (version, groups) = find(&mount, "0::/slice/scope\n").unwrap();
        let expected = vec![root.path().join("slice"), root.path().to_owned()];
        assert_eq!((version, groups), (Version::Two, expected));
    }
}
