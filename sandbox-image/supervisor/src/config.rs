//! What the machine's configuration says: public data only, read once.

use std::path::PathBuf;

use crate::harden::Step;

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
    /// Hardening steps that need not hold.
    pub accepted: Vec<Step>,
}

impl Config {
    /// Reads the environment.
    ///
    /// # Errors
    /// Everything that is missing or wrong, each by its variable's name.
    pub fn from_env() -> Result<Self, String> {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is where configuration is read"
        )]
        let lookup = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self::read(lookup)
    }

    fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
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
        let mut accepted = Vec::new();
        for name in lookup("NIGHTSHIFT_ACCEPT_RISK")
            .unwrap_or_default()
            .split(',')
        {
            match Step::parse(name.trim()) {
                Some(step) => accepted.push(step),
                None if name.trim().is_empty() => {}
                None => wrong.push(format!("NIGHTSHIFT_ACCEPT_RISK names no step `{name}`")),
            }
        }
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
            uids,
            volume: path("NIGHTSHIFT_VOLUME", "/data"),
            run: path("NIGHTSHIFT_RUN", "/run/nightshift"),
            harness: path("NIGHTSHIFT_HARNESS", "/opt/nightshift/bin/harness"),
            me,
            accepted,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wrong_variable_is_named_at_once() {
        let wrong = Config::read(|name| {
            (name == "NIGHTSHIFT_ACCEPT_RISK").then(|| "non-dumpable,everything".to_owned())
        })
        .unwrap_err();
        for name in [
            "NIGHTSHIFT_SESSION",
            "NIGHTSHIFT_GATEWAY_SOCKET",
            "NIGHTSHIFT_UIDS",
            "`everything`",
        ] {
            assert!(wrong.contains(name), "{wrong}");
        }
    }
}
