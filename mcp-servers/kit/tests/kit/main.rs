//! The kit as a whole: a real gate and a real transport in front of a small server.

#![expect(clippy::unwrap_used, reason = "a test ends where a fixture breaks")]

mod boundary;
mod key_sets;
mod proofs;
mod sample;
mod serving;
mod tokens;
mod tools;
