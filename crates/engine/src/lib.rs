//! What the platform does: one module per use case, each one transaction or a short row of them.
//!
//! No transaction is open across a network call: reserve, commit, call, confirm. Every use case is
//! written as if it will be killed after each line; what it leaves is either nothing or a row whose
//! outbox step or deadline brings it back.

pub mod attest;
mod breaker;
pub mod claim;
mod clock;
pub mod conclude;
pub mod courier;
pub mod dead_letters;
pub mod dispatch;
mod disposition;
pub mod intake;
pub mod lend;
mod lost;
pub mod message;
mod platform;
pub mod provider;
pub mod provision;
mod rate;
pub mod reconcile;
pub mod refill;
pub mod relay;
pub mod rest;
pub mod retire;
mod rotate;
pub mod steps;
pub mod sweep;
pub mod write_back;

pub use clock::{Clock, SystemClock};
pub use disposition::{Classify, Disposition, causes};
pub use platform::{Platform, Settings};
