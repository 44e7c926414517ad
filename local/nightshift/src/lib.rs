//! The command-line program: the whole stack on one machine, the demo, and a few looks at both.
//!
//! Every error here ends in front of a person, so `anyhow` carries it there with its causes.

pub mod api;
pub mod bench;
pub mod checkout;
pub mod cli;
pub mod demo;
mod keys;
pub mod listing;
pub mod render;
pub mod session;
pub mod stack_file;
pub mod up;
pub mod webhook;
mod zips;

pub use nightshift_terminal::answer;

/// Tells the person at the terminal what happens; answers go to stdout, this goes to stderr.
pub fn say(text: &str) {
    nightshift_terminal::say("nightshift", text);
}
