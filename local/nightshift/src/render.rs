//! What a person reads in a terminal: plain text of at most 80 columns.

mod page;
mod paint;
mod report;
mod table;
mod wrap;

pub use page::WIDTH;
pub use paint::{Paint, Style};
pub use report::report;
pub use table::Table;
pub use wrap::{clean, wrap};
