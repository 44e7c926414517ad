//! The processes below this one, as `/proc` shows them: to end a whole family, and to bury its dead.
//!
//! The supervisor is a child subreaper, so whoever loses its parent becomes its child and cannot
//! leave the family by forking twice or by starting a session of its own.

use std::{collections::HashMap, fs, io, time::Duration};

use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid,
};

/// Rounds of killing before giving up on a family that forks faster than it dies.
const ROUNDS: u32 = 500;
const PAUSE: Duration = Duration::from_millis(2);

/// Makes orphans below this process its children.
///
/// # Errors
/// The kernel's refusal.
pub fn adopt_orphans() -> io::Result<()> {
    Ok(set_child_subreaper(Some(getpid()))?)
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    parent: i32,
    zombie: bool,
}

fn processes() -> HashMap<i32, Entry> {
    let Ok(directory) = fs::read_dir("/proc") else {
        return HashMap::new();
    };
    directory
        .filter_map(|entry| {
            let pid: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            Some((pid, parse(&stat)?))
        })
        .collect()
}

/// State and parent stand after the command, which may itself hold spaces and brackets.
fn parse(stat: &str) -> Option<Entry> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let zombie = fields.next()? == "Z";
    Some(Entry {
        zombie,
        parent: fields.next()?.parse().ok()?,
    })
}

/// Living descendants of `root`, leaving out `spared` and everything below it.
fn family(all: &HashMap<i32, Entry>, root: i32, spared: Option<i32>) -> Vec<i32> {
    let belongs = |mut pid: i32| {
        // A chain is never longer than the table; this ends even if the table is inconsistent.
        for _ in 0..=all.len() {
            if Some(pid) == spared {
                return false;
            }
            match all.get(&pid) {
                Some(entry) if entry.parent == root => return Some(pid) != spared,
                Some(entry) => pid = entry.parent,
                None => return false,
            }
        }
        false
    };
    let living = all
        .iter()
        .filter(|(_, entry)| !entry.zombie)
        .map(|(pid, _)| *pid);
    living.filter(|pid| belongs(*pid)).collect()
}

/// The living descendants of this process, except `spared` and what is below it.
#[must_use]
pub fn living_but(spared: Pid) -> Vec<i32> {
    let root = getpid().as_raw_nonzero().get();
    family(&processes(), root, Some(spared.as_raw_nonzero().get()))
}

/// Ends every living descendant of this process except `spared` and what is below it. Gives the
/// number of processes that are still there.
pub async fn end_all_but(spared: Option<Pid>) -> usize {
    let root = getpid().as_raw_nonzero().get();
    let spared = spared.map(|pid| pid.as_raw_nonzero().get());
    let mut left = family(&processes(), root, spared);
    for _ in 0..ROUNDS {
        if left.is_empty() {
            break;
        }
        // All are held still first: a shell whose command dies before it does goes on with the next one.
        for signal in [Signal::STOP, Signal::KILL] {
            for pid in left.iter().filter_map(|pid| Pid::from_raw(*pid)) {
                let _ = kill_process(pid, signal);
            }
        }
        tokio::time::sleep(PAUSE).await;
        left = family(&processes(), root, spared);
    }
    left.len()
}

/// Buries dead children that nobody waits for: all but `waited_for`.
pub fn bury(waited_for: &[Pid]) {
    let root = getpid().as_raw_nonzero().get();
    for (pid, entry) in processes() {
        if let Some(pid) = Pid::from_raw(pid)
            && entry.zombie
            && entry.parent == root
            && !waited_for.contains(&pid)
        {
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_brackets_does_not_hide_the_parent() {
        let entry = parse("42 (a) Z 9) (b) S 7 42 42 0 -1").unwrap();
        assert_eq!((entry.parent, entry.zombie), (7, false));
        assert!(parse("42 (dead) Z 7 0").unwrap().zombie);
    }

    #[test]
    fn a_family_has_grandchildren_but_not_the_spared_branch_nor_strangers() {
        let row = |pid, parent| {
            (
                pid,
                Entry {
                    parent,
                    zombie: false,
                },
            )
        };
        let mut all = HashMap::from([row(1, 0), row(10, 1), row(11, 10), row(12, 11)]);
        all.extend([row(20, 10), row(21, 20), row(99, 1)]);
        all.insert(
            13,
            Entry {
                parent: 10,
                zombie: true,
            },
        );
        let mut found = family(&all, 10, Some(20));
        found.sort_unstable();
        assert_eq!(found, [11, 12]);
    }
}
