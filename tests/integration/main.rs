//! The platform against a real PostgreSQL, one file per use case.

mod attest;
mod claim;
mod intake;
mod layers;
mod message;
mod relay;
mod sweep;
