//! What the machine's configuration says: public data only, read once.

use std::{path::PathBuf, time::Duration};

use crate::{
    limits::{Limits, memory_mib},
    steps::{Step, Steps},
};

/// How the supervisor reaches the control plane.
#[derive(Debug, Clone)]
pub enum Transport {
    /// An HTTP/1.1 reverse proxy on a unix socket that routes by `Host`.
    Unix(PathBuf),
}

/// Whether the sandbox has user ids of its own for harness and agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uids {
    /// Harness and agent have their own.
    Range,
    /// There is only one: harness, agent and supervisor share it. The supervisor's memory stays
    /// unreadable, but the agent's shell can end the other two.
    Single,
}

/// The user and group of the harness.
pub const HARNESS_ID: u32 = 1001;
/// The user and group of the agent's shell.
pub const AGENT_ID: u32 = 1002;

/// What a machine has that does not say: the least that platforms give.
const SMALLEST_MACHINE_MIB: u64 = 256;

/// Everything the supervisor must be told.
#[derive(Debug, Clone)]
pub struct Config {
    /// Base of the session endpoint, e.g. `http://session.nightshift.internal`.
    pub session: String,
    /// How to reach it and the servers.
    pub transport: Transport,
    /// The platform's identity socket.
    pub identity: PathBuf,
    /// Which user ids there are.
    pub uids: Uids,
    /// Where the volume is mounted.
    pub volume: PathBuf,
    /// Where sockets live while the machine runs.
    pub run: PathBuf,
    /// The harness to run.
    pub harness: PathBuf,
    /// This program, for running itself again as another user.
    pub me: PathBuf,
    /// Where harness and agent put temporary files.
    pub tmp: PathBuf,
    /// How much the agent may take.
    pub limits: Limits,
    /// Hardening steps that need not hold.
    pub accepted: Steps,
    /// Hardening steps that are not tried; none in the program of the image.
    pub leave_out: Steps,
}

impl Config {
    /// Reads the environment.
    ///
    /// # Errors
    /// Everything that is missing or wrong, each by its variable's name.
    pub fn from_env(leave_out: Steps) -> Result<Self, String> {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is where configuration is read"
        )]
        let lookup = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self::read(lookup, leave_out)
    }

    fn read(lookup: impl Fn(&str) -> Option<String>, leave_out: Steps) -> Result<Self, String> {
        let mut wrong = Vec::new();
        let session = lookup("NIGHTSHIFT_SESSION").unwrap_or_default();
        if !session.starts_with("http://") {
            wrong.push(format!(
                "NIGHTSHIFT_SESSION must be the session endpoint's http:// base, got `{session}`"
            ));
        }
        let gateway = lookup("NIGHTSHIFT_GATEWAY_SOCKET");
        if gateway.is_none() {
            wrong.push(
                "NIGHTSHIFT_GATEWAY_SOCKET is not set; reaching the control plane without a \
                 gateway socket is not supported in this build"
                    .to_owned(),
            );
        }
        let uids = match lookup("NIGHTSHIFT_UIDS").as_deref() {
            Some("range") => Uids::Range,
            Some("single") => Uids::Single,
            other => {
                wrong.push(format!(
                    "NIGHTSHIFT_UIDS must be range or single, got {other:?}"
                ));
                Uids::Single
            }
        };
        let accepted = lookup("NIGHTSHIFT_ACCEPTED_RISKS").unwrap_or_default();
        let accepted = Steps::parse(&accepted).unwrap_or_else(|unknown| {
            let unknown = unknown.join("`, `");
            wrong.push(format!(
                "NIGHTSHIFT_ACCEPTED_RISKS names no step `{unknown}`"
            ));
            Steps::NONE
        });
        let limits = limits(&lookup, &mut wrong);
        let me = std::env::current_exe().unwrap_or_else(|error| {
            wrong.push(format!("cannot tell where this program is: {error}"));
            PathBuf::new()
        });
        if !wrong.is_empty() {
            return Err(wrong.join("; "));
        }
        let path = |name: &str, default: &str| {
            PathBuf::from(lookup(name).unwrap_or_else(|| default.to_owned()))
        };
        Ok(Self {
            session: session.trim_end_matches('/').to_owned(),
            transport: Transport::Unix(gateway.unwrap_or_default().into()),
            identity: path("NIGHTSHIFT_IDENTITY_SOCKET", "/.fly/api"),
            // Without users of their own, there is one for all.
            uids: if leave_out.has(Step::Users) {
                Uids::Single
            } else {
                uids
            },
            volume: path("NIGHTSHIFT_VOLUME", "/data"),
            run: path("NIGHTSHIFT_RUN", "/run/nightshift"),
            harness: path("NIGHTSHIFT_HARNESS", "/opt/nightshift/bin/harness"),
            tmp: path("NIGHTSHIFT_TMP", "/tmp"),
            me,
            limits,
            accepted,
            leave_out,
        })
    }

    /// The user and group that the harness runs as, where it has its own.
    #[must_use]
    pub const fn harness_id(&self) -> Option<u32> {
        match self.uids {
            Uids::Range => Some(HARNESS_ID),
            Uids::Single => None,
        }
    }

    /// The user and group that the agent's shell runs as, where it has its own.
    #[must_use]
    pub const fn agent_id(&self) -> Option<u32> {
        match self.uids {
            Uids::Range => Some(AGENT_ID),
            Uids::Single => None,
        }
    }

    /// The socket that the harness talks to.
    #[must_use]
    pub fn agent_socket(&self) -> PathBuf {
        self.run.join("agent.sock")
    }
}

/// The agent's limits: of the machine's memory, unless something else is said.
fn limits(lookup: &impl Fn(&str) -> Option<String>, wrong: &mut Vec<String>) -> Limits {
    const MIB: u64 = 1024 * 1024;
    let mut number = |name: &str| {
        let text = lookup(name)?;
        let number = text.parse::<u64>().ok().filter(|number| *number > 0);
        if number.is_none() {
            wrong.push(format!(
                "{name} must be a whole number above 0, got `{text}`"
            ));
        }
        number
    };
    let machine = number("FLY_VM_MEMORY_MB").or_else(memory_mib);
    let mut limits = Limits::of_machine(machine.unwrap_or(SMALLEST_MACHINE_MIB));
    if let Some(mib) = number("NIGHTSHIFT_AGENT_MEMORY_MB") {
        limits.memory_bytes = mib.saturating_mul(MIB);
    }
    if let Some(mib) = number("NIGHTSHIFT_AGENT_DISK_MB") {
        limits.disk_bytes = mib.saturating_mul(MIB);
    }
    if let Some(seconds) = number("NIGHTSHIFT_DEADLINE_SECONDS") {
        limits.deadline = Duration::from_secs(seconds);
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wrong_variable_is_named_at_once() {
        let told = |name: &str| match name {
            "NIGHTSHIFT_ACCEPTED_RISKS" => Some("non-dumpable,everything".to_owned()),
            "NIGHTSHIFT_AGENT_DISK_MB" => Some("much".to_owned()),
            _ => None,
        };
        let wrong = Config::read(told, Steps::NONE).unwrap_err();
        for name in [
            "NIGHTSHIFT_SESSION",
            "NIGHTSHIFT_GATEWAY_SOCKET",
            "NIGHTSHIFT_UIDS",
            "`everything`",
            "NIGHTSHIFT_AGENT_DISK_MB",
        ] {
            assert!(wrong.contains(name), "{wrong}");
        }
    }
}
