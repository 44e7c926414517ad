//! The supervisor as a process, against a platform and a gateway that insist on their protocols.
//! As root it has user ids for harness and agent, as in a sandbox; as an ordinary user it has one.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod attacks;
mod attesting;
mod bombs;
mod isolation;
mod platform;
mod probe;
mod refusing;
mod repeating;
mod sandboxed;
mod shelling;
mod time;
mod tokens;
mod world;
