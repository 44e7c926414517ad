//! The one way out: an HTTP client that goes only where it may, and takes a credential only home.
//!
//! Whoever asks an address that somebody else chose, or shows a credential there, uses [`Client`]. An
//! address is checked as it is written and again as it is resolved, and the connection is made to what was
//! checked; neither a redirect nor a proxy of the environment decides where a request goes; an answer
//! has an end. A [`Credential`] is for one [`Origin`] and is not shown to another.

pub mod address;
pub mod client;
pub mod credential;
pub mod reach;
pub mod tls;

mod answer;
mod lookup;

pub use answer::Answer;
pub use client::{Client, HttpError, Limits, Outgoing};
pub use credential::{Credential, Elsewhere, Origin, UnusableCredential};
pub use lookup::{Looking, Lookup, LookupFailed, SystemLookup};
pub use reach::{Place, Reach, UnknownReach};
