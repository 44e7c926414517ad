//! The shop's sources as its own repository holds them.

/// A file that a story changes, with all its compiled-in texts; the first is what the shop opens with.
#[derive(Debug)]
pub struct Source {
    /// What a process calls it on its command line.
    pub file: &'static str,
    /// Where it stands in the shop's repository.
    pub path: &'static str,
    /// Names and texts.
    pub texts: [(&'static str, &'static str); 2],
}

macro_rules! source {
    ($file:literal, $path:literal, $first:literal, $second:literal) => {
        Source {
            file: $file,
            path: concat!("src/", $path, ".rs"),
            texts: [
                (
                    $first,
                    include_str!(concat!("../", $path, "/", $first, ".rs")),
                ),
                (
                    $second,
                    include_str!(concat!("../", $path, "/", $second, ".rs")),
                ),
            ],
        }
    };
}

/// Files with more than one text.
pub const SOURCES: &[Source] = &[
    source!("catalogue", "inventory/catalogue", "batched", "per_item"),
    source!("reserve", "inventory/reserve", "whole", "by_line"),
    source!("shelf", "inventory/shelf", "five", "three"),
    source!("headers", "frontend/headers", "plain", "cached"),
    source!("receipt", "checkout/receipt", "cents", "euros"),
    source!("statement", "payment/statement", "short", "long"),
    source!("ranking", "recommendation/ranking", "best_first", "rotated"),
];

macro_rules! files {
    ($($path:literal),+ $(,)?) => {
        &[$((concat!("src/", $path), include_str!(concat!("../", $path)))),+,
          ("README.md", include_str!("../../repository/README.md")),
          ("docs/on-call.md", include_str!("../../repository/docs/on-call.md")),
          ("deploy/services.toml", include_str!("../../repository/deploy/services.toml"))]
    };
}

/// Files with one text; some words of the last three change now and then.
pub const FILES: &[(&str, &str)] = files![
    "call.rs",
    "checkout.rs",
    "clock.rs",
    "flags.rs",
    "frontend.rs",
    "goods.rs",
    "inventory.rs",
    "inventory/product.rs",
    "inventory/stock.rs",
    "payment.rs",
    "pool.rs",
    "recommendation.rs",
    "telemetry.rs",
    "telemetry/journal.rs",
    "telemetry/metrics.rs",
    "telemetry/spans.rs",
    "telemetry/trace.rs",
    "web.rs",
];
