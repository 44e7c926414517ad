//! The command-line program: the whole stack on one machine, the demo, and a few looks at both.
//!
//! Every error here ends in front of a person, so `anyhow` carries it there with its causes.

pub mod api;
pub mod bench;
pub mod checkout;
pub mod cli;
pub mod demo;
pub mod listing;
pub mod percentiles;
pub mod render;
pub mod session;
pub mod stack_file;
pub mod up;
pub mod webhook;

/// Tells the person at the terminal what happens; answers go to stdout, this goes to stderr.
#[expect(
    clippy::print_stderr,
    reason = "a command tells its progress on stderr"
)]
pub fn say(text: &str) {
    eprintln!("nightshift: {text}");
}

/// Answers on stdout.
#[expect(clippy::print_stdout, reason = "a command answers on stdout")]
pub fn answer(text: &str) {
    println!("{text}");
}
