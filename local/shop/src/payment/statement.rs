//! Which of the two sources of `payment/statement.rs` runs.

pub mod long;
pub mod short;

use crate::release;

/// What a customer reads on the card's statement, as the deployed source words it.
#[must_use]
pub fn descriptor(order: &str) -> String {
    if release::runs("statement", "long") {
        long::descriptor(order)
    } else {
        short::descriptor(order)
    }
}
