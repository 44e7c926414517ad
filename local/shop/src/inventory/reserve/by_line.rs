//! Holding stock for an order: all lines or none.

use std::sync::Arc;

use crate::{
    goods::Line,
    inventory::stock::{BEGIN, COMMIT, LEFT, ROLLBACK, Reservation, TAKE},
    pool::{Pool, PoolError},
    telemetry::trace::Trace,
};

/// Takes the pieces of all lines from the stock, or of none; says how many are left where they are too few.
pub async fn hold(
    pool: &Arc<Pool>,
    trace: &Trace,
    lines: &[Line],
) -> Result<Reservation, PoolError> {
    let lease = pool.take(trace).await?;
    lease.control(trace, &BEGIN).await?;
    let mut total_cents = 0;
    for line in lines {
        let taken = lease
            .rows(trace, &TAKE, &[&line.product, &line.quantity])
            .await?;
        let Some(row) = taken.first() else {
            let left = lease.rows(trace, &LEFT, &[&line.product]).await?;
            let left = left.first().map(|row| row.try_get(0)).transpose()?;
            lease.control(trace, &ROLLBACK).await?;
            return Ok(Reservation::Short {
                product: line.product,
                left,
            });
        };
        total_cents += row.try_get::<_, i32>(0)? * line.quantity;
    }
    lease.control(trace, &COMMIT).await?;
    lease.give_back();
    Ok(Reservation::Held { total_cents })
}
