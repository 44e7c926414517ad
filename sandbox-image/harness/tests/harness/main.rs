//! The harness against a model, servers and a supervisor's socket that insist on their protocols.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cases;
mod compaction;
mod fakes;
mod followup;
mod killed;
mod model_fake;
mod tools_fake;
mod world;
