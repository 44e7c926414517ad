//! How an order that was placed reads in the log.

/// What the log says about an order that was placed.
#[must_use]
pub fn line(number: &str, lines: usize, total_cents: i32) -> String {
    let (euros, cents) = (total_cents / 100, total_cents % 100);
    format!("order {number} placed: {lines} lines, EUR {euros}.{cents:02}")
}
