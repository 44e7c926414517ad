//! The one place that asks what time it is.

use chrono::{DateTime, SecondsFormat, Utc};

/// The current time.
#[must_use]
pub fn now() -> DateTime<Utc> {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    Utc::now()
}

/// RFC 3339 in UTC with microseconds, as all our telemetry writes time.
#[must_use]
pub fn stamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}
