//! What commands show in a terminal: text that fits the page and does no harm, tables, and
//! percentiles of what was measured.

mod paint;
mod percentiles;
mod table;
mod wrap;

pub use paint::{Paint, Style};
pub use percentiles::Percentiles;
pub use table::Table;
pub use wrap::{clean, wrap};

/// Columns of a page.
pub const WIDTH: usize = 80;

/// Answers on stdout.
#[expect(clippy::print_stdout, reason = "a command answers on stdout")]
pub fn answer(text: &str) {
    println!("{text}");
}

/// Tells the person at the terminal what `program` does; answers go to stdout, this goes to stderr.
#[expect(
    clippy::print_stderr,
    reason = "a command tells its progress on stderr"
)]
pub fn say(program: &str, text: &str) {
    eprintln!("{program}: {text}");
}
