//! What the shop sells and how much of it is left: the one service with a database.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json, Router,
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use crate::{
    goods::{Held, Line},
    inventory::stock::Reservation,
    pool::{Pool, PoolError},
    settings::Settings,
    telemetry::{Telemetry, trace::Trace},
    web,
};

pub mod catalogue;
pub mod product;
pub mod reserve;
pub mod shelf;
pub mod stock;

/// Connections to the database.
const CONNECTIONS: usize = 12;

/// How long a request waits for one of them.
const CONNECTION_WAIT: Duration = Duration::from_secs(2);

#[derive(Clone)]
struct Inventory {
    telemetry: Arc<Telemetry>,
    pool: Arc<Pool>,
}

/// Serves until SIGTERM.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let telemetry = Telemetry::open("inventory", &settings.telemetry_dir)?;
    let socket = settings.database.clone();
    let socket = socket.ok_or_else(|| anyhow::anyhow!("--database DIR is missing"))?;
    let pool = Pool::open(&telemetry, &socket, CONNECTIONS, CONNECTION_WAIT).await?;
    let inventory = Inventory {
        telemetry: Arc::clone(&telemetry),
        pool,
    };
    let api = Router::new()
        .route("/catalogue/{category}", get(category))
        .route("/products/{id}", get(one))
        .route("/products", get(several))
        .route("/reservations", post(hold))
        .route("/releases", post(release))
        .with_state(inventory);
    web::serve(&settings, telemetry, api, Router::new()).await
}

async fn category(
    State(inventory): State<Inventory>,
    Extension(trace): Extension<Trace>,
    Path(category): Path<String>,
) -> Response {
    match catalogue::category(&inventory.pool, &trace, &category).await {
        Ok(products) => Json(products).into_response(),
        Err(error) => inventory.failed(&trace, &error),
    }
}

async fn one(
    State(inventory): State<Inventory>,
    Extension(trace): Extension<Trace>,
    Path(id): Path<i32>,
) -> Response {
    match product::page(&inventory.pool, &trace, id).await {
        Ok(Some(product)) => Json(product).into_response(),
        Ok(None) => web::problem(StatusCode::NOT_FOUND, "no such product"),
        Err(error) => inventory.failed(&trace, &error),
    }
}

#[derive(Deserialize)]
struct Several {
    ids: String,
}

async fn several(
    State(inventory): State<Inventory>,
    Extension(trace): Extension<Trace>,
    Query(query): Query<Several>,
) -> Response {
    let ids: Vec<i32> = query
        .ids
        .split(',')
        .filter_map(|id| id.parse().ok())
        .collect();
    match product::several(&inventory.pool, &trace, &ids).await {
        Ok(products) => Json(products).into_response(),
        Err(error) => inventory.failed(&trace, &error),
    }
}

async fn hold(
    State(inventory): State<Inventory>,
    Extension(trace): Extension<Trace>,
    Json(mut lines): Json<Vec<Line>>,
) -> Response {
    // Everybody locks rows in the same order, so that two orders cannot wait for each other.
    lines.sort_by_key(|line| line.product);
    match reserve::hold(&inventory.pool, &trace, &lines).await {
        Ok(Reservation::Held { total_cents }) => Json(Held { total_cents }).into_response(),
        Ok(Reservation::Short { product, left }) => {
            let left = left.map_or_else(String::new, |left| format!(", {left} left"));
            let message = format!("product {product} is short{left}");
            inventory
                .telemetry
                .metrics
                .count("reservations_short_total", &[], 1.0);
            inventory
                .telemetry
                .journal
                .warn(&trace, &message, json!({"product": product}));
            web::problem(StatusCode::CONFLICT, &message)
        }
        Err(error) => inventory.failed(&trace, &error),
    }
}

async fn release(
    State(inventory): State<Inventory>,
    Extension(trace): Extension<Trace>,
    Json(lines): Json<Vec<Line>>,
) -> Response {
    match stock::put_back(&inventory.pool, &trace, &lines).await {
        Ok(()) => Json(json!({})).into_response(),
        Err(error) => inventory.failed(&trace, &error),
    }
}

impl Inventory {
    fn failed(&self, trace: &Trace, error: &PoolError) -> Response {
        self.telemetry
            .journal
            .error(trace, &error.to_string(), json!({}));
        let status = match error {
            PoolError::Exhausted { .. } => StatusCode::SERVICE_UNAVAILABLE,
            PoolError::Database(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        web::problem(status, &error.to_string())
    }
}
