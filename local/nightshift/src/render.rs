//! What a person reads in a terminal: plain text of at most 80 columns.

mod page;
mod report;

pub use nightshift_terminal::{Paint, Style, Table, WIDTH, clean, wrap};
pub use report::report;
