//! What the shop says about stock.

/// What the shop says about a product of which so many pieces are left.
#[must_use]
pub fn label(available: i32) -> &'static str {
    match available {
        ..=0 => "sold out",
        1..=3 => "last pieces",
        4.. => "in stock",
    }
}
