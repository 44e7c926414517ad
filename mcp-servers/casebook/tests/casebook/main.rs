//! The casebook on a real PostgreSQL, through both of its doors.

#![expect(clippy::unwrap_used, reason = "a test ends where a fixture breaks")]

mod fixture;
mod internal;
mod life;
mod reading;
mod report;
mod tenants;
