//! Which of the two sources of `inventory/reserve.rs` runs.

pub mod by_line;
pub mod whole;

use std::sync::Arc;

use super::stock::Reservation;
use crate::{
    goods::Line,
    pool::{Pool, PoolError},
    release,
    telemetry::trace::Trace,
};

/// Holds the stock of an order, as the deployed source does it.
pub async fn hold(
    pool: &Arc<Pool>,
    trace: &Trace,
    lines: &[Line],
) -> Result<Reservation, PoolError> {
    if release::runs("reserve", "by_line") {
        by_line::hold(pool, trace, lines).await
    } else {
        whole::hold(pool, trace, lines).await
    }
}
