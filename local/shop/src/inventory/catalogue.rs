//! Which of the two sources of `inventory/catalogue.rs` runs.

pub mod batched;
pub mod per_item;

use std::sync::Arc;

use crate::{
    goods::Product,
    pool::{Pool, PoolError},
    release,
    telemetry::trace::Trace,
};

/// The products of a department, as the deployed source loads them.
pub async fn category(
    pool: &Arc<Pool>,
    trace: &Trace,
    category: &str,
) -> Result<Vec<Product>, PoolError> {
    if release::runs("catalogue", "per_item") {
        per_item::category(pool, trace, category).await
    } else {
        batched::category(pool, trace, category).await
    }
}
