//! What the servers that observe a customer's system have in common: their configuration, the connection
//! that a run's tenant has made, and the reading of recordings.

mod config;
mod connection;
mod read;

pub use config::Config;
pub use connection::{Connected, NoConnection};
pub use read::{ReadError, json, text};
