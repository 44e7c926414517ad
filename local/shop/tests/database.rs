//! What the two compiled-in sources of a file do differently, on a real database.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration};

use nightshift_shop::{
    goods::Line,
    inventory::{
        catalogue::{batched, per_item},
        reserve::{by_line, whole},
        stock::Reservation,
    },
    pool::{Pool, PoolError},
    postgres::Cluster,
    stock_list,
    telemetry::{Telemetry, trace::Trace},
};

/// Nearly sold out in every shop that opens.
const SCARCE: i32 = 31;

/// On stock by the thousand.
const PLENTY: i32 = 12;

struct Shop {
    cluster: Cluster,
    pool: Arc<Pool>,
    trace: Trace,
    _dir: tempfile::TempDir,
}

impl Shop {
    async fn open(connections: usize) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("shop-").tempdir()?;
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
        let cluster = Cluster::start(&dir.path().join("postgres")).await?;
        cluster
            .connect()
            .await?
            .batch_execute(&stock_list::sql())
            .await?;
        let telemetry = Telemetry::open("inventory", dir.path())?;
        let pool = Self::pool(&telemetry, cluster.socket_dir(), connections).await?;
        Ok(Self {
            cluster,
            pool,
            trace: Trace::root(1.0),
            _dir: dir,
        })
    }

    async fn pool(
        telemetry: &Arc<Telemetry>,
        socket: &Path,
        connections: usize,
    ) -> Result<Arc<Pool>, PoolError> {
        Pool::open(telemetry, socket, connections, Duration::from_millis(50)).await
    }

    async fn available(&self, product: i32) -> anyhow::Result<i32> {
        let client = self.cluster.connect().await?;
        let query = "select available from stock where product_id = $1";
        Ok(client.query_one(query, &[&product]).await?.try_get(0)?)
    }
}

fn cart(quantities: &[(i32, i32)]) -> Vec<Line> {
    quantities
        .iter()
        .map(|&(product, quantity)| Line { product, quantity })
        .collect()
}

#[tokio::test]
async fn one_source_of_the_catalogue_asks_once_and_the_other_once_more_for_each_product() {
    let shop = Shop::open(2).await.expect("a shop");
    let first = shop.pool.take(&shop.trace).await.expect("a connection");
    let second = shop.pool.take(&shop.trace).await.expect("a connection");

    let together = batched::load(&first, &shop.trace, "toys")
        .await
        .expect("products");
    let singly = per_item::load(&second, &shop.trace, "toys")
        .await
        .expect("products");

    assert_eq!(together.len(), 60);
    assert_eq!(singly, together, "a customer sees the same page");
    assert_eq!(first.queries(), 1);
    assert_eq!(second.queries(), 61);
}

#[tokio::test]
async fn an_order_that_is_short_costs_a_connection_in_one_source_and_none_in_the_other() {
    let shop = Shop::open(3).await.expect("a shop");
    let short = cart(&[(PLENTY, 1), (SCARCE, 3)]);

    for _ in 0..5 {
        let outcome = whole::hold(&shop.pool, &shop.trace, &short)
            .await
            .expect("an answer");
        assert_eq!(
            outcome,
            Reservation::Short {
                product: SCARCE,
                left: None
            }
        );
        assert_eq!(shop.pool.in_use(), 0);
    }
    for lost in 1..=3 {
        let outcome = by_line::hold(&shop.pool, &shop.trace, &short)
            .await
            .expect("an answer");
        assert!(matches!(
            outcome,
            Reservation::Short {
                product: SCARCE,
                left: Some(_)
            }
        ));
        assert_eq!(shop.pool.in_use(), lost);
    }
    let refused = whole::hold(&shop.pool, &shop.trace, &cart(&[(PLENTY, 1)])).await;
    assert!(matches!(
        refused,
        Err(PoolError::Exhausted {
            in_use: 3,
            size: 3,
            ..
        })
    ));
}

#[tokio::test]
async fn an_order_that_can_be_held_costs_no_connection_in_either_source() {
    let shop = Shop::open(1).await.expect("a shop");
    let before = shop.available(PLENTY).await.expect("a stock");
    let order = cart(&[(PLENTY, 2)]);

    let one = whole::hold(&shop.pool, &shop.trace, &order)
        .await
        .expect("an answer");
    let other = by_line::hold(&shop.pool, &shop.trace, &order)
        .await
        .expect("an answer");

    assert!(matches!(one, Reservation::Held { total_cents } if total_cents > 0));
    assert_eq!(one, other);
    assert_eq!(shop.pool.in_use(), 0);
    assert_eq!(shop.available(PLENTY).await.expect("a stock"), before - 4);
}

#[tokio::test]
async fn an_order_that_is_short_takes_nothing_from_the_stock() {
    let shop = Shop::open(2).await.expect("a shop");
    let before = shop.available(PLENTY).await.expect("a stock");
    let short = cart(&[(PLENTY, 1), (SCARCE, 3)]);

    whole::hold(&shop.pool, &shop.trace, &short)
        .await
        .expect("an answer");
    by_line::hold(&shop.pool, &shop.trace, &short)
        .await
        .expect("an answer");

    assert_eq!(shop.available(PLENTY).await.expect("a stock"), before);
}
