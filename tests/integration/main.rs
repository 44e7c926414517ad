//! The platform against a real PostgreSQL, one file per use case.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod attest;
mod claim;
mod intake;
mod layers;
mod measures;
mod message;
mod pool;
mod pool_bugs;
mod provider;
mod publish;
mod queues;
mod relay;
mod rotation;
mod row_security;
mod sweep;
mod two_tenants;
mod web_identity;
mod write_back;
