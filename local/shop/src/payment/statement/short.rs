//! What a customer reads on the card's statement.

/// The text for one order.
#[must_use]
pub fn descriptor(order: &str) -> String {
    let tail = order.get(..6).unwrap_or(order);
    format!("SHOP*{tail}")
}
