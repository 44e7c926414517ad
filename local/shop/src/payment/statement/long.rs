//! What a customer reads on the card's statement.

/// Longest text that card networks print.
const LONGEST: usize = 22;

/// The text for one order.
#[must_use]
pub fn descriptor(order: &str) -> String {
    let mut text = format!("CORNERSHOP*{order}");
    text.truncate(LONGEST);
    text
}
