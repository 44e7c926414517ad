//! Headers that every page carries.

/// The headers of every page. Pages are personal: shared caches must not keep them.
#[must_use]
pub fn common() -> Vec<(&'static str, &'static str)> {
    vec![
        ("cache-control", "private, max-age=0"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
    ]
}
