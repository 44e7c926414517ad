//! Whether our server runs, told from its lock file and from what the kernel says of the process.

use std::path::Path;

/// A server that runs in our data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Postmaster {
    /// The port it listens on.
    pub(crate) port: u16,
}

/// What `postmaster.pid` in `data` stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// No server, no lock file.
    Absent,
    /// A lock file of a server that was killed.
    Stale,
    /// A server that is starting and has not written its port yet.
    Starting,
    /// A server.
    Running(Postmaster),
}

/// Looks at `data/postmaster.pid`: the process id stands in its first line, the port in its fourth.
///
/// A process of that id is the server only if it works in `data`; after a reboot or a long time the
/// id may be anybody's.
pub(crate) fn presence(data: &Path) -> Presence {
    let Ok(lock) = std::fs::read_to_string(data.join("postmaster.pid")) else {
        return Presence::Absent;
    };
    let mut lines = lock.lines();
    let pid: Option<u32> = lines.next().and_then(|line| line.trim().parse().ok());
    let works_in = pid.and_then(|pid| std::fs::read_link(format!("/proc/{pid}/cwd")).ok());
    let here = data.canonicalize().ok();
    if works_in.is_none() || works_in != here {
        return Presence::Stale;
    }
    match lines.nth(2).and_then(|line| line.trim().parse().ok()) {
        Some(port) => Presence::Running(Postmaster { port }),
        None => Presence::Starting,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_file_that_names_somebody_elses_process_is_stale() {
        let data = tempfile::tempdir().unwrap();
        assert_eq!(presence(data.path()), Presence::Absent);
        let lock = format!("{}\n/x\n17\n5433\n", std::process::id());
        std::fs::write(data.path().join("postmaster.pid"), lock).unwrap();
        assert_eq!(presence(data.path()), Presence::Stale);
    }

    #[test]
    fn the_process_that_works_in_the_data_directory_is_the_server() {
        let data = tempfile::tempdir().unwrap();
        let mut server = std::process::Command::new("sleep")
            .arg("60")
            .current_dir(data.path())
            .spawn()
            .unwrap();
        let lock = format!("{}\n/x\n17\n5433\n", server.id());
        std::fs::write(data.path().join("postmaster.pid"), lock).unwrap();
        let seen = presence(data.path());
        server.kill().unwrap();
        server.wait().unwrap();
        assert_eq!(seen, Presence::Running(Postmaster { port: 5433 }));
    }
}
