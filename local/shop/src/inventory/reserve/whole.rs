//! Holding stock for an order: all lines or none.

use std::sync::Arc;

use crate::{
    goods::Line,
    inventory::stock::{BEGIN, COMMIT, ROLLBACK, Reservation, TAKE},
    pool::{Lease, Pool, PoolError},
    telemetry::trace::Trace,
};

/// Takes the pieces of all lines from the stock, or of none.
pub async fn hold(
    pool: &Arc<Pool>,
    trace: &Trace,
    lines: &[Line],
) -> Result<Reservation, PoolError> {
    let lease = pool.take(trace).await?;
    let outcome = take(&lease, trace, lines).await;
    let end = match &outcome {
        Ok(Reservation::Held { .. }) => COMMIT,
        Ok(Reservation::Short { .. }) | Err(_) => ROLLBACK,
    };
    let ended = lease.control(trace, &end).await;
    lease.give_back();
    ended.and(outcome)
}

async fn take(lease: &Lease, trace: &Trace, lines: &[Line]) -> Result<Reservation, PoolError> {
    lease.control(trace, &BEGIN).await?;
    let mut total_cents = 0;
    for line in lines {
        let taken = lease
            .rows(trace, &TAKE, &[&line.product, &line.quantity])
            .await?;
        let Some(row) = taken.first() else {
            return Ok(Reservation::Short {
                product: line.product,
                left: None,
            });
        };
        total_cents += row.try_get::<_, i32>(0)? * line.quantity;
    }
    Ok(Reservation::Held { total_cents })
}
