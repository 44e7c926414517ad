//! What the servers that observe a customer's system have in common: their configuration, the connection
//! that a run's tenant has made and its credentials, kept in AWS, and the reading of recordings.

mod config;
mod connection;
mod credentials;
mod identity;
mod link;
mod read;

pub use config::Config;
pub use connection::{Connected, NoConnection, credential_of};
pub use credentials::Credentials;
pub use identity::{IdentityClient, UnusableLink};
pub use link::SecretsLink;
pub use read::{ReadError, json, text};
