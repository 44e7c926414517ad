//! One recorded incident from the alert to the report.

pub mod expected;
pub mod recordings;
