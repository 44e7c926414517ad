//! What the engine asks of whoever runs the machines.

mod fly;

pub use fly::Fly;

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::BoxFuture;
use nightshift_machines::MachinesError;

/// The answer to a question to the provider.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, MachinesError>>;

/// Whoever runs the machines. Every call may be repeated: names are deterministic, and what is
/// there already is taken as made.
pub trait Provider: Send + Sync {
    /// Makes an app in a network of its own, with no way out but the ports we name.
    fn make_app<'a>(&'a self, app: &'a str) -> Answer<'a, ()>;

    /// Makes the app's one volume, or finds it; returns its id.
    fn make_volume<'a>(&'a self, app: &'a str, region: &'a str, size_gb: u64)
    -> Answer<'a, String>;

    /// Makes the app's one machine without starting it, or finds it.
    fn make_machine<'a>(&'a self, app: &'a str, machine: &'a MachinePlan) -> Answer<'a, Made>;

    /// Waits until a machine is stopped; returns the exit code of its last run, if it ran.
    fn wait_stopped<'a>(
        &'a self,
        app: &'a str,
        machine: &'a str,
        patience: Duration,
    ) -> Answer<'a, Option<i32>>;

    /// Starts a machine. A started one is left as it is.
    fn start<'a>(&'a self, app: &'a str, machine: &'a str) -> Answer<'a, ()>;

    /// Asks a machine to stop. A stopped one is left as it is.
    fn stop<'a>(&'a self, app: &'a str, machine: &'a str) -> Answer<'a, ()>;

    /// Destroys a machine, its volume and its app; what is gone already is no error.
    fn remove<'a>(&'a self, app: &'a str, parts: &'a Remains) -> Answer<'a, ()>;
}

/// A machine to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachinePlan {
    /// Where.
    pub region: String,
    /// The image by digest.
    pub image: String,
    /// The volume it gets, at `/data`.
    pub volume: String,
    /// Its environment: public addresses, never a secret.
    pub env: BTreeMap<String, String>,
    /// Words of ours to find it by.
    pub metadata: BTreeMap<String, String>,
}

/// A machine that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The provider's id of it.
    pub machine: String,
    /// The version of its configuration.
    pub version: String,
}

/// What is known of a sandbox that is to be destroyed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remains {
    /// Its machine.
    pub machine: Option<String>,
    /// Its volume.
    pub volume: Option<String>,
}
