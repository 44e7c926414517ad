//! Telling the person at the terminal how far we are.

use crate::clock;

/// Prints a line with the time of day.
#[expect(
    clippy::print_stderr,
    reason = "progress is for the person at the terminal"
)]
pub fn say(line: &str) {
    eprintln!("{} {line}", clock::now().format("%H:%M:%S"));
}
