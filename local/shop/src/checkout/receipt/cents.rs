//! How an order that was placed reads in the log.

/// What the log says about an order that was placed.
#[must_use]
pub fn line(number: &str, lines: usize, total_cents: i32) -> String {
    format!("order {number} placed: {lines} lines, {total_cents} cents")
}
