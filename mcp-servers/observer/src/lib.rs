//! What the servers that observe a customer's system have in common: their configuration, the connection
//! that a run's tenant has made and its credentials, and the reading of recordings.

mod config;
mod connection;
mod credentials;
mod read;

pub use config::Config;
pub use connection::{Connected, NoConnection};
pub use credentials::Credentials;
pub use read::{ReadError, json, text};
