//! Pieces on stock: what holding them can come to, and putting them back.

use std::sync::Arc;

use crate::{
    goods::Line,
    pool::{Pool, PoolError, Sql},
    telemetry::trace::Trace,
};

/// What became of a reservation.
#[derive(Debug, PartialEq, Eq)]
pub enum Reservation {
    /// Everything is held.
    Held {
        /// What it costs together, in cents.
        total_cents: i32,
    },
    /// Nothing is held, because too little is left of one product.
    Short {
        /// Which product.
        product: i32,
        /// How many pieces are left, where we looked.
        left: Option<i32>,
    },
}

/// Starts a transaction.
pub const BEGIN: Sql = Sql {
    name: "begin",
    text: "begin",
};

/// Ends it.
pub const COMMIT: Sql = Sql {
    name: "commit",
    text: "commit",
};

/// Undoes it.
pub const ROLLBACK: Sql = Sql {
    name: "rollback",
    text: "rollback",
};

/// Takes pieces from the stock of a product, if there are enough, and returns its price.
pub const TAKE: Sql = Sql {
    name: "take stock",
    text: "update stock s \
              set available = s.available - $2 \
             from products p \
            where s.product_id = $1 and p.id = $1 and s.available >= $2 \
            returning p.price_cents",
};

/// How many pieces of a product are left.
pub const LEFT: Sql = Sql {
    name: "select stock left",
    text: "select available from stock where product_id = $1",
};

const PUT_BACK: Sql = Sql {
    name: "put back stock",
    text: "update stock set available = available + $2 where product_id = $1",
};

/// Puts pieces back that were held for an order.
pub async fn put_back(pool: &Arc<Pool>, trace: &Trace, lines: &[Line]) -> Result<(), PoolError> {
    let lease = pool.take(trace).await?;
    let mut outcome = Ok(());
    for line in lines {
        let put = lease
            .rows(trace, &PUT_BACK, &[&line.product, &line.quantity])
            .await;
        outcome = outcome.and(put.map(drop));
    }
    lease.give_back();
    outcome
}
