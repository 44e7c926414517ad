//! What else a customer might like: the best sellers of a department.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json, Router,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::get,
};
use http::StatusCode;
use serde_json::json;

use crate::{
    call::Peer,
    flags::Flags,
    goods::{CATEGORIES, Product},
    settings::Settings,
    telemetry::{Telemetry, trace::Trace},
    web,
};

pub mod ranking;

#[derive(Clone)]
struct Recommendation {
    telemetry: Arc<Telemetry>,
    inventory: Peer,
    flags: Flags,
}

/// Serves until SIGTERM.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let telemetry = Telemetry::open("recommendation", &settings.telemetry_dir)?;
    let limit = Duration::from_secs(3);
    let recommendation = Recommendation {
        inventory: Peer::new(&telemetry, "inventory", settings.peer("inventory")?, limit),
        flags: Flags::new(&telemetry, &settings.flags),
        telemetry: Arc::clone(&telemetry),
    };
    let admin = recommendation.flags.admin();
    let api = Router::new()
        .route("/recommendations/{category}", get(recommend))
        .with_state(recommendation);
    web::serve(&settings, telemetry, api, admin).await
}

async fn recommend(
    State(recommendation): State<Recommendation>,
    Extension(trace): Extension<Trace>,
    Path(category): Path<String>,
) -> Response {
    let Some(department) = CATEGORIES.iter().position(|name| *name == category) else {
        return web::problem(StatusCode::NOT_FOUND, "no such department");
    };
    let length = if recommendation.flags.on("long-shelf") {
        6
    } else {
        4
    };
    let ids: Vec<String> = ranking::best(department, length)
        .iter()
        .map(ToString::to_string)
        .collect();
    let path = format!("/products?ids={}", ids.join(","));
    match recommendation
        .inventory
        .get::<Vec<Product>>(&trace, "/products", &path)
        .await
    {
        Ok(products) => Json(products).into_response(),
        Err(error) => {
            let message = format!("no shelf for {category}: {error}");
            recommendation
                .telemetry
                .journal
                .error(&trace, &message, json!({}));
            web::problem(StatusCode::BAD_GATEWAY, &error.to_string())
        }
    }
}
