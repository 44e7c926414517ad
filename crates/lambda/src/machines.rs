//! Whoever makes the machines, as the environment names it.

use std::{collections::BTreeMap, str::FromStr, sync::Arc, time::Duration};

use nightshift_engine::{
    Settings,
    provider::{Answer, Fly, Inventory, MachinePlan, Made, Presence, Provider, Remains},
};
use nightshift_machines::{
    Client, Failure, Guest, InvalidClient, MachinesError, PolicyPort, Protocol, Refusal,
};

use crate::{Environment, SecretError, Secrets};

/// Where machines are made and what they are like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachinesConfig {
    url: String,
    token: String,
    organisation: String,
    egress_port: u16,
    guest: Guest,
}

/// There is no way to the machines.
#[derive(Debug, thiserror::Error)]
pub enum MachinesUnusable {
    /// The token could not be read.
    #[error("the token of the machines API cannot be had")]
    Token(#[from] SecretError),
    /// The client could not be made.
    #[error(transparent)]
    Client(#[from] InvalidClient),
}

impl MachinesConfig {
    /// Reads `NIGHTSHIFT_MACHINES_URL`, `NIGHTSHIFT_MACHINES_TOKEN` (a reference to a secret),
    /// `NIGHTSHIFT_MACHINES_ORG` and, where they are not as usual, `NIGHTSHIFT_MACHINES_EGRESS_PORT`
    /// (443), `NIGHTSHIFT_MACHINES_CPU_KIND` (`shared`), `NIGHTSHIFT_MACHINES_CPUS` (1) and
    /// `NIGHTSHIFT_MACHINES_MEMORY_MB` (512).
    pub fn from_env(env: &mut Environment) -> Option<Self> {
        let url = env.required("NIGHTSHIFT_MACHINES_URL");
        let token = env.required("NIGHTSHIFT_MACHINES_TOKEN");
        let organisation = env.required("NIGHTSHIFT_MACHINES_ORG");
        let egress_port = env.optional("NIGHTSHIFT_MACHINES_EGRESS_PORT");
        let cpu_kind: Option<String> = env.optional("NIGHTSHIFT_MACHINES_CPU_KIND");
        let cpus = env.optional("NIGHTSHIFT_MACHINES_CPUS");
        let memory_mb = env.optional("NIGHTSHIFT_MACHINES_MEMORY_MB");
        Some(Self {
            url: url?,
            token: token?,
            organisation: organisation?,
            egress_port: egress_port.unwrap_or(443),
            guest: Guest {
                cpu_kind: cpu_kind.unwrap_or_else(|| "shared".to_owned()),
                cpus: cpus.unwrap_or(1),
                memory_mb: memory_mb.unwrap_or(512),
            },
        })
    }

    /// The provider. Nothing is asked over the network but, where it is kept there, the token.
    pub async fn provider(self, secrets: &dyn Secrets) -> Result<Arc<Fly>, MachinesUnusable> {
        let token = secrets.read(&self.token).await?;
        let client = Client::new(&self.url, token)?;
        let egress = vec![PolicyPort {
            protocol: Protocol::Tcp,
            port: self.egress_port,
        }];
        Ok(Arc::new(Fly::new(
            client,
            self.organisation,
            egress,
            self.guest,
        )))
    }
}

/// The environment of every machine, as one JSON object of texts.
struct MachineEnv(BTreeMap<String, String>);

impl FromStr for MachineEnv {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // serde's own words would quote the text.
        let read = serde_json::from_str(text).map(Self);
        read.map_err(|_| "expected a JSON object of texts")
    }
}

/// What the operator chose, for whoever makes machines: `NIGHTSHIFT_MACHINE_ENV`, a JSON object of what every
/// machine is told (public addresses, never a secret), and optionally `NIGHTSHIFT_VOLUME_GB`.
pub fn settings_from_env(env: &mut Environment) -> Option<Settings> {
    let machine_env: Option<MachineEnv> = env.required("NIGHTSHIFT_MACHINE_ENV");
    let volume_gb = env.optional("NIGHTSHIFT_VOLUME_GB");
    let usual = Settings::default();
    Some(Settings {
        machine_env: machine_env?.0,
        volume_gb: volume_gb.unwrap_or(usual.volume_gb),
        ..usual
    })
}

/// The provider of a function that touches no machine and therefore holds no token for them. A step
/// that asks it anyway fails, is delivered again, and ends where somebody sees it.
#[derive(Debug, Clone, Copy)]
pub struct NoMachines;

impl NoMachines {
    fn refuse<'a, T: 'a>() -> Answer<'a, T> {
        let words = br#"{"error":"this function was given no way to the machines"}"#;
        let refusal = Refusal::read(403, words);
        Box::pin(async { Err(MachinesError::Unavailable(Failure::Answer(refusal))) })
    }
}

impl Provider for NoMachines {
    fn make_app<'a>(&'a self, _: &'a str) -> Answer<'a, ()> {
        Self::refuse()
    }

    fn make_volume<'a>(&'a self, _: &'a str, _: &'a str, _: u64) -> Answer<'a, String> {
        Self::refuse()
    }

    fn make_machine<'a>(&'a self, _: &'a str, _: &'a MachinePlan) -> Answer<'a, Made> {
        Self::refuse()
    }

    fn wait_stopped<'a>(&'a self, _: &'a str, _: &'a str, _: Duration) -> Answer<'a, Option<i32>> {
        Self::refuse()
    }

    fn start<'a>(&'a self, _: &'a str, _: &'a str) -> Answer<'a, ()> {
        Self::refuse()
    }

    fn stop<'a>(&'a self, _: &'a str, _: &'a str) -> Answer<'a, ()> {
        Self::refuse()
    }

    fn remove<'a>(&'a self, _: &'a str, _: &'a Remains) -> Answer<'a, ()> {
        Self::refuse()
    }

    fn inventory(&self) -> Answer<'_, Inventory> {
        Self::refuse()
    }

    fn presence<'a>(&'a self, _: &'a str, _: &'a str) -> Answer<'a, Presence> {
        Self::refuse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_missing_is_named_at_once() {
        let mut env = Environment::of([("NIGHTSHIFT_MACHINE_ENV", r#"{"A":["hunter2"]}"#)]);
        assert_eq!(MachinesConfig::from_env(&mut env), None);
        assert_eq!(settings_from_env(&mut env), None);
        let error = env.settle().unwrap_err().to_string();
        for name in [
            "NIGHTSHIFT_MACHINES_URL is",
            "NIGHTSHIFT_MACHINES_TOKEN is",
            "NIGHTSHIFT_MACHINES_ORG is",
            "NIGHTSHIFT_MACHINE_ENV cannot",
        ] {
            assert!(error.contains(name), "{name}: {error}");
        }
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[tokio::test]
    async fn a_function_without_machines_says_so_and_is_asked_again() {
        let remains = Remains::default();
        let asked = [
            NoMachines.make_app("a").await.map(drop),
            NoMachines.make_volume("a", "r", 1).await.map(drop),
            NoMachines.start("a", "m").await,
            NoMachines.stop("a", "m").await,
            NoMachines.remove("a", &remains).await,
            NoMachines.inventory().await.map(drop),
            NoMachines.presence("a", "m").await.map(drop),
            NoMachines
                .wait_stopped("a", "m", Duration::ZERO)
                .await
                .map(drop),
        ];
        for answer in asked {
            let error = answer.unwrap_err();
            // A step that fails so is delivered again, and given up where somebody sees it.
            assert!(matches!(error, MachinesError::Unavailable(_)), "{error:?}");
            let words = nightshift_engine::causes(&error);
            assert!(
                words.contains("was given no way to the machines"),
                "{words}"
            );
        }
    }
}
