//! The programs between us and bubblewrap: each does one thing to the process and becomes the next.

use nightshift_controls::{Control, holds};
use std::{path::Path, process::Command, time::Duration};

use crate::volumes::{self, Backing};

/// Becomes another user and dies with its parent.
const SETPRIV: &str = "/usr/bin/setpriv";
/// Ends what it starts when its time is over, whether or not we still live.
const TIMEOUT: &str = "/usr/bin/timeout";
/// Sets limits and becomes the program it is given.
const PRLIMIT: &str = "/usr/bin/prlimit";

/// How one sandbox is launched.
#[derive(Debug)]
pub(super) struct Launch<'a> {
    /// bubblewrap.
    pub(super) bwrap: &'a str,
    /// The host user that is root inside, where that is not us.
    pub(super) root: Option<u32>,
    /// Whether the sandbox's users are nobody else's.
    pub(super) own_users: bool,
    /// How long it may run.
    pub(super) ttl: Duration,
    /// Its volume.
    pub(super) volume: Option<&'a Backing>,
}

impl Launch<'_> {
    /// The command, up to and with bubblewrap's own name.
    pub(super) fn command(&self) -> Command {
        let words = self.words();
        let image = self.volume.and_then(|volume| volume.image.as_ref());
        let mut command = if let (Some(image), Some(volume)) = (image, self.volume) {
            let mut command = volumes::mounting(image, &volume.files);
            command.args(&words);
            command
        } else {
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]);
            command
        };
        command.env_clear();
        command
    }

    fn words(&self) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        let mut say = |more: &[&str]| words.extend(more.iter().map(|&word| word.to_owned()));
        say(&[SETPRIV, "--pdeathsig", "KILL"]);
        if let Some(root) = self.root {
            let root = root.to_string();
            say(&["--reuid", &root, "--regid", &root, "--clear-groups"]);
        }
        say(&["--", TIMEOUT, "--signal=KILL"]);
        // None at all is spelled 0.
        let seconds = if holds(Control::SandboxTtl) {
            self.ttl.as_secs()
        } else {
            0
        };
        say(&[&format!("{seconds}s")]);
        say(&[PRLIMIT, "--core=0", "--nofile=4096"]);
        if self.own_users {
            // Counted per user, so only where the users are the sandbox's own.
            say(&["--nproc=1024"]);
        }
        say(&["--", self.bwrap]);
        words
    }
}

/// What must be installed for it.
pub(super) fn missing() -> Option<&'static str> {
    [SETPRIV, TIMEOUT, PRLIMIT]
        .into_iter()
        .find(|path| !Path::new(path).exists())
}
