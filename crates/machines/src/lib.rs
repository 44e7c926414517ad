//! The Machines API as its provider really behaves: calls, types, and what each refusal means.
//!
//! Nothing is retried here except reads whose connection broke. What a caller must do about a
//! failure is the variant of [`MachinesError`], or in short its [`Decision`].

mod affinity;
mod app;
mod client;
mod config;
mod decision;
mod error;
mod machine;
mod network_policy;
mod org;
mod refusal;
mod transport;
mod volume;
mod wait;

pub use app::{App, AppOrganization, CreatedApp};
pub use client::{Client, InvalidClient};
pub use config::{Guest, ImageRef, Init, MachineConfig, Mount, Restart, RestartPolicy, StopConfig};
pub use decision::Decision;
pub use error::{Failure, MachinesError};
pub use machine::{
    EventRequest, ExitEvent, Machine, MachineEvent, MachineState, NewMachine, Started,
};
pub use network_policy::{
    Direction, NetworkPolicy, NewNetworkPolicy, PolicyAction, PolicyPort, PolicyRule,
    PolicySelector, Protocol,
};
pub use org::{OrgMachine, OrgMachineConfig, OrgMachines, OrgMachinesPage};
pub use refusal::{CapacityScope, Refusal};
pub use volume::{NewVolume, Volume, VolumeState};
pub use wait::{WaitFor, Waited};
