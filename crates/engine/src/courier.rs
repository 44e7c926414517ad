//! What the engine asks of whoever carries reports to those who want to be told.

use std::error::Error;

use futures_util::future::BoxFuture;

/// Something to be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    /// Where.
    pub url: String,
    /// References to the secrets that sign it; any one of them proves us, as during a rotation.
    pub secret_refs: Vec<String>,
    /// What tells a repeat from another parcel: the same for every attempt.
    pub id: String,
    /// JSON. The same bytes at every attempt.
    pub body: Vec<u8>,
    /// When this attempt was made, in seconds since 1970, signed with the body.
    pub at: i64,
}

/// An answer that ends a parcel's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipt {
    /// 2xx: taken, with this status.
    Taken(u16),
    /// 410: nobody wants it any more.
    Unwanted,
}

/// A parcel is not delivered yet.
#[derive(Debug, thiserror::Error)]
pub enum CourierError {
    /// The address is not one we deliver to.
    #[error("nothing is delivered to such an address: {0}")]
    Address(&'static str),
    /// It could not be signed.
    #[error("the parcel could not be signed")]
    Unsigned(#[source] Box<dyn Error + Send + Sync>),
    /// The receiver could not be reached, or did not answer in time.
    #[error("the receiver did not answer")]
    Unreachable(#[source] Box<dyn Error + Send + Sync>),
    /// The receiver answered neither yes nor never.
    #[error("the receiver answered {0}")]
    Refused(u16),
}

/// Whoever carries reports. A parcel may be carried more than once.
pub trait Courier: Send + Sync {
    /// Delivers a parcel, or tells why not yet.
    fn deliver<'a>(&'a self, parcel: &'a Parcel) -> BoxFuture<'a, Result<Receipt, CourierError>>;
}
