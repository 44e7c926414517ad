//! What a machine is made of. Only what we use: the provider ignores fields it does not know.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A machine's configuration. The provider keeps it and shows it to every reader of the app, so
/// nothing secret may stand in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineConfig {
    /// The image, by digest: `registry/name@sha256:…`.
    pub image: String,
    /// The environment of the entrypoint.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Processors and memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest: Option<Guest>,
    /// What runs, if not the image's entrypoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<Init>,
    /// At most one volume.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// What follows an exit. The provider's own default is on-failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<Restart>,
    /// Whether the machine destroys itself when it exits and is not restarted. A machine that must
    /// survive an exit, as a sandbox in the pool must, says no.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub auto_destroy: bool,
    /// Words of ours to find it by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// How it is asked to stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_config: Option<StopConfig>,
}

/// Processors and memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guest {
    /// `shared` or `performance`.
    pub cpu_kind: String,
    /// How many.
    pub cpus: u32,
    /// Memory in MB; shared processors have 256 to 2048 each, in steps of 256.
    pub memory_mb: u32,
}

/// What runs in a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Init {
    /// The program and its arguments, in place of the image's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<Vec<String>>,
}

/// A volume in a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The volume's id.
    pub volume: String,
    /// Where it appears; absolute.
    pub path: String,
}

/// What follows an exit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restart {
    /// When to start again.
    pub policy: RestartPolicy,
    /// How often at most within five minutes, for on-failure; 10 if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_retries: Option<u32>,
}

/// When an exited machine starts again by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Never.
    No,
    /// After an exit code other than 0.
    OnFailure,
    /// After every exit that was not asked for.
    Always,
}

/// How a machine is asked to stop.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopConfig {
    /// For example `SIGTERM`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// How long until it is killed, as a Go duration: `5s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
}

/// Which image a machine really has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRef {
    /// For example `registry.fly.io`.
    #[serde(default)]
    pub registry: String,
    /// The image's name.
    #[serde(default)]
    pub repository: String,
    /// Its tag, if it was named by one.
    #[serde(default)]
    pub tag: String,
    /// `sha256:…`.
    #[serde(default)]
    pub digest: String,
}
