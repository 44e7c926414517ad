//! A rough count of tokens where no provider counts them: four bytes of JSON are one token.

use serde::Serialize;

/// Roughly how many tokens a value is.
#[must_use]
pub fn of<T: Serialize + ?Sized>(value: &T) -> u64 {
    let bytes = serde_json::to_vec(value).map_or(0, |json| json.len());
    u64::try_from(bytes / 4).unwrap_or(u64::MAX)
}
