//! SQS on one machine, strict: whatever AWS refuses is refused here.
//!
//! The queues are plain state that takes the time as an argument ([`Account`]); an HTTP server
//! puts the AWS JSON protocol in front of them.

// The queues: no I/O, deterministic.
mod account;
pub mod actions;
mod deliver;
mod dials;
pub mod limits;
mod luck;
mod message;
mod message_attributes;
mod moves;
mod queue;
mod receipt;
mod redrive;
mod refusal;
mod settings;
mod shelf;

// The queues over HTTP, for many callers at once.
mod clock;
mod config;
mod http;
mod journal;
mod queues;
mod serve;

// Lambda: the Runtime API host, the event source mapping and the HTTP front.
pub mod front;
pub mod mapping;
pub mod runtime;

pub use account::{Account, Identity};
pub use clock::Clock;
pub use config::{Args, InvalidArgs};
pub use dials::{Dials, InvalidDial};
pub use http::router;
pub use journal::{Journal, JournalError};
pub use message_attributes::{MessageAttributeValue, MessageAttributes};
pub use queues::Queues;
pub use refusal::{Code, Refusal};
pub use serve::{ServeError, serve};
pub use shelf::Counts;
