//! The shop's face: department pages, product pages and the checkout button.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json, Router,
    extract::{Path, State},
    response::{AppendHeaders, IntoResponse, Response},
    routing::{get, post},
};
use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    call::{CallError, Peer},
    flags::Flags,
    goods::{Order, Placed, Product},
    settings::Settings,
    telemetry::{Telemetry, trace::Trace},
    web,
};

pub mod headers;

#[derive(Clone)]
struct Frontend {
    telemetry: Arc<Telemetry>,
    inventory: Peer,
    recommendation: Peer,
    checkout: Peer,
    flags: Flags,
}

/// Serves until SIGTERM.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let telemetry = Telemetry::open("frontend", &settings.telemetry_dir)?;
    let peer = |name: &str, limit| -> anyhow::Result<Peer> {
        Ok(Peer::new(
            &telemetry,
            name,
            settings.peer(name)?,
            Duration::from_millis(limit),
        ))
    };
    let frontend = Frontend {
        inventory: peer("inventory", 4000)?,
        recommendation: peer("recommendation", 4000)?,
        checkout: peer("checkout", 8000)?,
        flags: Flags::new(&telemetry, &settings.flags),
        telemetry: Arc::clone(&telemetry),
    };
    let admin = frontend.flags.admin();
    let api = Router::new()
        .route("/browse/{category}", get(browse))
        .route("/products/{id}", get(product))
        .route("/checkout", post(checkout))
        .with_state(frontend);
    web::serve(&settings, telemetry, api, admin).await
}

async fn browse(
    State(shop): State<Frontend>,
    Extension(trace): Extension<Trace>,
    Path(category): Path<String>,
) -> Response {
    let path = format!("/catalogue/{category}");
    let products = shop
        .inventory
        .get::<Vec<Product>>(&trace, "/catalogue/{category}", &path);
    let (products, shelf) = tokio::join!(products, shop.recommended(&trace, &category));
    match products {
        Ok(products) => shop.page(json!({"products": products, "recommended": shelf})),
        Err(error) => shop.failed(&trace, "department page", &error),
    }
}

async fn product(
    State(shop): State<Frontend>,
    Extension(trace): Extension<Trace>,
    Path(id): Path<i32>,
) -> Response {
    let path = format!("/products/{id}");
    match shop
        .inventory
        .get::<Product>(&trace, "/products/{id}", &path)
        .await
    {
        Ok(product) => {
            let shelf = shop.recommended(&trace, &product.category).await;
            shop.page(json!({"product": product, "recommended": shelf}))
        }
        Err(error) => shop.failed(&trace, "product page", &error),
    }
}

async fn checkout(
    State(shop): State<Frontend>,
    Extension(trace): Extension<Trace>,
    Json(order): Json<Order>,
) -> Response {
    match shop
        .checkout
        .post::<Placed>(&trace, "/orders", &order)
        .await
    {
        Ok(placed) => shop.page(json!({"order": placed.order, "total_cents": placed.total_cents})),
        Err(error) => shop.failed(&trace, "checkout", &error),
    }
}

impl Frontend {
    /// A page without recommendations is better than no page.
    async fn recommended(&self, trace: &Trace, category: &str) -> Vec<Product> {
        let path = format!("/recommendations/{category}");
        let products = self
            .recommendation
            .get(trace, "/recommendations/{category}", &path)
            .await;
        products.unwrap_or_else(|error| {
            let message = format!("page without recommendations: {error}");
            self.telemetry.journal.warn(trace, &message, json!({}));
            Vec::new()
        })
    }

    fn page(&self, mut page: Value) -> Response {
        if self.flags.on("free-shipping-banner") {
            page["banner"] = json!("Free shipping from 40 euros");
        }
        (AppendHeaders(headers::common()), Json(page)).into_response()
    }

    fn failed(&self, trace: &Trace, what: &str, error: &CallError) -> Response {
        let status = match error.status() {
            Some(status) if status.is_client_error() => status,
            Some(_) | None => StatusCode::BAD_GATEWAY,
        };
        if status.is_server_error() {
            let message = format!("no {what}: {error}");
            self.telemetry.journal.error(trace, &message, json!({}));
        }
        web::problem(status, &error.to_string())
    }
}
