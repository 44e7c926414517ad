//! Which of the two sources of `frontend/headers.rs` runs.

pub mod cached;
pub mod plain;

use crate::release;

/// The headers of every page, as the deployed source has them.
#[must_use]
pub fn common() -> Vec<(&'static str, &'static str)> {
    if release::runs("headers", "cached") {
        cached::common()
    } else {
        plain::common()
    }
}
