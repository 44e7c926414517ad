//! Which of the two sources of `recommendation/ranking.rs` runs.

pub mod best_first;
pub mod rotated;

use crate::release;

/// The numbers of a department's best sellers, as the deployed source ranks them.
#[must_use]
pub fn best(department: usize, length: usize) -> Vec<i32> {
    if release::runs("ranking", "rotated") {
        rotated::best(department, length)
    } else {
        best_first::best(department, length)
    }
}
