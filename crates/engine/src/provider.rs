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

    /// Lists every app and its machines, as far as the provider can tell. The list lags behind, so neither
    /// what is in it nor what is missing proves anything by itself.
    fn inventory(&self) -> Answer<'_, Inventory>;

    /// Asks after one machine; unlike a list, the answer is the truth.
    fn presence<'a>(&'a self, app: &'a str, machine: &'a str) -> Answer<'a, Presence>;
}

/// What the provider has, as far as it could tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Apps by name, whoever's they are.
    pub apps: BTreeMap<String, Vec<Listed>>,
    /// Regions that did not answer: what is there is missing here.
    pub silent_regions: Vec<String>,
}

/// A machine in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The provider's id of it.
    pub machine: String,
    /// The version of its configuration.
    pub version: String,
    /// The words it was given to be found by.
    pub metadata: BTreeMap<String, String>,
}

/// Whether a machine exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It does, whatever it does.
    There,
    /// It does not, or is on its way out.
    Gone,
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
