//! One JSON line per event on standard error, which the platform collects.

use std::error::Error;

use tracing::level_filters::LevelFilter;

/// Starts logging. The level is fixed: below `INFO`, libraries would print headers and bodies, and
/// those carry tokens.
pub fn start() {
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_max_level(LevelFilter::INFO)
        .with_writer(std::io::stderr)
        .init();
}

/// An error and everything that caused it, on one line.
#[must_use]
pub fn causes(error: &dyn Error) -> String {
    std::iter::successors(Some(error), |&error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
