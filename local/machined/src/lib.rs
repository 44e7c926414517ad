//! The Machines API on one machine: the same calls, states and refusals, over bubblewrap.
//!
//! It is meant to be as awkward as the provider it stands in for. What it does not model is in
//! its README.

#![cfg(target_os = "linux")]

mod api;
mod backend;
mod cgroups;
mod clock;
mod config;
mod destroy;
mod disk;
mod ending;
mod faults;
mod gateway;
mod host;
mod id;
mod identity;
mod images;
mod leftovers;
mod lifecycle;
mod limits;
mod logs;
mod qemu;
mod record;
mod refused;
mod restart;
mod sandbox;
mod serve;
mod staging;
mod state;
mod status;
mod suspend;
mod volumes;
mod world;

pub use backend::BackendName;
pub use config::{Args, Config, Egress, InvalidConfig};
pub use qemu::Accelerator;
pub use serve::{ServeError, serve};
pub use staging::{StagingError, stage};
pub use status::probe;
