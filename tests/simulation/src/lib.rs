//! The crash explorer: seeded schedules of everything that can go wrong, on a real PostgreSQL.
//!
//! Every actor is a future that parks at named points. One scheduler lets one of them go at a time, and
//! by the numbers of a seed decides which, whether it dies there, stands still, or loses an answer. The
//! use cases, their SQL and their transactions are the real ones; queues, machines and the time are
//! simulated. After every commit the invariants are held against the whole database.

#![expect(
    clippy::missing_errors_doc,
    reason = "errors are reported to whoever runs a test"
)]

pub mod actors;
pub mod carrier;
pub mod cell;
pub mod clock;
pub mod cloud;
pub mod core;
pub mod database;
mod explore;
pub mod invariants;
mod plants;
pub mod post;
pub mod queues;
pub mod rest;
pub mod rng;
pub mod scenario;
mod seed;
pub mod snapshot;
pub mod trace;
pub mod world;

pub use database::Database;
pub use explore::{Exploration, Explored, explore};
pub use plants::{Bug, bugs, plant};
pub use seed::{Outcome, corpus, run};
pub use world::World;
