//! SQS on one machine, strict: whatever AWS refuses is refused here.
//!
//! The queues are plain state that takes the time as an argument ([`Account`]): a simulation owns
//! one and decides about time and faults. [`Queues`] shares one between many callers, with a clock,
//! a journal and receives that wait; [`router`] puts the AWS JSON protocol in front of it.
//!
//! ```
//! use chrono::{DateTime, TimeDelta};
//! use nightshift_queues::actions::{CreateQueue, ReceiveMessage, SendMessage};
//! use nightshift_queues::{Account, Dials, Identity};
//!
//! let identity = Identity {
//!     account: "000000000000".to_owned(),
//!     region: "eu-west-1".to_owned(),
//!     endpoint: "http://127.0.0.1:9324".to_owned(),
//! };
//! let dials = Dials { duplicate: 0.1, ..Dials::default() };
//! let mut account = Account::new(identity, 42, dials);
//! let mut now = DateTime::UNIX_EPOCH;
//! let create = CreateQueue { queue_name: "steps".to_owned(), ..CreateQueue::default() };
//! let queue_url = account.perform(now, create)?.queue_url;
//! let message_body = "a step".to_owned();
//! account.perform(now, SendMessage { queue_url: queue_url.clone(), message_body, ..SendMessage::default() })?;
//! let receive = ReceiveMessage { queue_url, ..ReceiveMessage::default() };
//! assert_eq!(account.perform(now, receive.clone())?.messages.len(), 1);
//! now += TimeDelta::seconds(30); // the visibility timeout
//! assert_eq!(account.perform(now, receive)?.messages.len(), 1);
//! # Ok::<(), nightshift_queues::Refusal>(())
//! ```

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
