//! Which of the two sources of `inventory/shelf.rs` runs.

pub mod five;
pub mod three;

use crate::release;

/// What the shop says about a product's stock, as the deployed source words it.
#[must_use]
pub fn label(available: i32) -> &'static str {
    if release::runs("shelf", "three") {
        three::label(available)
    } else {
        five::label(available)
    }
}
