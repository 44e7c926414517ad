//! Differences between before and after an onset. Pure: telemetry in, answer out.

pub mod anomalies;
pub mod edges;
pub mod log_diff;
pub mod onset;
pub mod operations;
pub mod trace_tree;

use nightshift_protocol::tools::telemetry::Windows;

use crate::model::Interval;

/// The two windows of a comparison as intervals; the onset itself belongs to "after".
#[must_use]
pub const fn before_and_after(windows: &Windows) -> (Interval, Interval) {
    (
        Interval {
            from: windows.before_from,
            to: windows.onset,
        },
        Interval {
            from: windows.onset,
            to: windows.after_to,
        },
    )
}
