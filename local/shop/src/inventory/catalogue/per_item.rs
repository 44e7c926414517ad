//! The products of a department.

use std::sync::Arc;

use crate::{
    goods::Product,
    inventory::product,
    pool::{Lease, Pool, PoolError, Sql},
    telemetry::trace::Trace,
};

const IN_CATEGORY: Sql = Sql {
    name: "select ids of category",
    text: "select id from products where category = $1 order by name",
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

/// Loads them over a connection that the caller holds. List and product page share one lookup.
pub async fn load(lease: &Lease, trace: &Trace, category: &str) -> Result<Vec<Product>, PoolError> {
    let rows = lease.rows(trace, &IN_CATEGORY, &[&category]).await?;
    let mut products = Vec::with_capacity(rows.len());
    for row in &rows {
        let found = product::by_id(lease, trace, row.try_get(0)?).await?;
        products.extend(found);
    }
    Ok(products)
}
