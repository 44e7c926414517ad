//! The products of a department.

use std::sync::Arc;

use crate::{
    goods::Product,
    inventory::product,
    pool::{Lease, Pool, PoolError, Sql},
    telemetry::trace::Trace,
};

const IN_CATEGORY: Sql = Sql {
    name: "select products of category",
    text: "select p.id, p.name, p.category, p.price_cents, s.available \
             from products p join stock s on s.product_id = p.id \
            where p.category = $1 \
            order by p.name",
};

/// The products of a department, by name.
pub async fn category(
    pool: &Arc<Pool>,
    trace: &Trace,
    category: &str,
) -> Result<Vec<Product>, PoolError> {
    let lease = pool.take(trace).await?;
    let products = load(&lease, trace, category).await;
    lease.give_back();
    products
}

/// Loads them over a connection that the caller holds.
pub async fn load(lease: &Lease, trace: &Trace, category: &str) -> Result<Vec<Product>, PoolError> {
    let rows = lease.rows(trace, &IN_CATEGORY, &[&category]).await?;
    rows.iter().map(product::from_row).collect()
}
