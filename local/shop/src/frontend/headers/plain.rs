//! Headers that every page carries.

/// The headers of every page.
#[must_use]
pub fn common() -> Vec<(&'static str, &'static str)> {
    vec![
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
    ]
}
