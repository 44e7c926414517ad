//! Products as the database holds them.

use std::sync::Arc;

use tokio_postgres::Row;

use super::shelf;
use crate::{
    goods::Product,
    pool::{Lease, Pool, PoolError, Sql},
    telemetry::trace::Trace,
};

const BY_ID: Sql = Sql {
    name: "select product",
    text: "select p.id, p.name, p.category, p.price_cents, s.available \
             from products p join stock s on s.product_id = p.id \
            where p.id = $1",
};

const BY_IDS: Sql = Sql {
    name: "select products by id",
    text: "select p.id, p.name, p.category, p.price_cents, s.available \
             from products p join stock s on s.product_id = p.id \
            where p.id = any($1) \
            order by p.id",
};

/// The product of a product page.
pub async fn page(pool: &Arc<Pool>, trace: &Trace, id: i32) -> Result<Option<Product>, PoolError> {
    let lease = pool.take(trace).await?;
    let product = by_id(&lease, trace, id).await;
    lease.give_back();
    product
}

/// Several products at once, for a shelf of recommendations.
pub async fn several(
    pool: &Arc<Pool>,
    trace: &Trace,
    ids: &[i32],
) -> Result<Vec<Product>, PoolError> {
    let lease = pool.take(trace).await?;
    let rows = lease.rows(trace, &BY_IDS, &[&ids]).await;
    lease.give_back();
    rows?.iter().map(from_row).collect()
}

/// One product.
pub async fn by_id(lease: &Lease, trace: &Trace, id: i32) -> Result<Option<Product>, PoolError> {
    lease
        .rows(trace, &BY_ID, &[&id])
        .await?
        .first()
        .map(from_row)
        .transpose()
}

/// Reads `id, name, category, price_cents, available`.
pub fn from_row(row: &Row) -> Result<Product, PoolError> {
    let available = row.try_get(4)?;
    Ok(Product {
        id: row.try_get(0)?,
        name: row.try_get(1)?,
        category: row.try_get(2)?,
        price_cents: row.try_get(3)?,
        available,
        shelf: shelf::label(available).to_owned(),
    })
}
