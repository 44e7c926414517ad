//! The outside card provider: a process that is not ours, whose inside we cannot see, and that an operator can make fail.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::post,
};
use http::StatusCode;
use rand::Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{goods::Paid, settings::Settings, telemetry::Telemetry, web};

/// How the provider behaves. Healthy is the default: a fault in a thousand, a declined card in fifty.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Behaviour {
    /// Share of charges that end in 503.
    pub unavailable: f64,
    /// Shortest time to an answer, in milliseconds.
    pub fastest_ms: u64,
    /// Longest time to an answer, in milliseconds.
    pub slowest_ms: u64,
}

impl Behaviour {
    /// An ordinary day.
    pub const HEALTHY: Self = Self {
        unavailable: 0.001,
        fastest_ms: 45,
        slowest_ms: 120,
    };
    /// An outage: most charges are refused, all are slow.
    pub const OUTAGE: Self = Self {
        unavailable: 0.75,
        fastest_ms: 350,
        slowest_ms: 1300,
    };
}

type Shared = Arc<Mutex<Behaviour>>;

/// Serves until SIGTERM.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let telemetry = Telemetry::open("acmepay", &settings.telemetry_dir)?;
    let behaviour: Shared = Arc::new(Mutex::new(Behaviour::HEALTHY));
    let switched = Arc::clone(&behaviour);
    let admin = Router::new().route(
        "/behaviour",
        post(async move |Json(wanted): Json<Behaviour>| {
            *switched.lock().unwrap_or_else(PoisonError::into_inner) = wanted;
        }),
    );
    let api = Router::new()
        .route("/v1/charges", post(charge))
        .with_state(behaviour);
    web::serve(&settings, telemetry, api, admin).await
}

async fn charge(State(behaviour): State<Shared>, Json(_charge): Json<Value>) -> Response {
    let behaviour = *behaviour.lock().unwrap_or_else(PoisonError::into_inner);
    let (wait, refused, declined, number) = {
        let mut rng = rand::rng();
        (
            rng.random_range(behaviour.fastest_ms..=behaviour.slowest_ms),
            rng.random_bool(behaviour.unavailable),
            rng.random_bool(0.02),
            rng.random::<u32>(),
        )
    };
    tokio::time::sleep(Duration::from_millis(wait)).await;
    if refused {
        return web::problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "service temporarily unavailable",
        );
    }
    if declined {
        let body = Json(json!({"problem": "card declined"}));
        return (StatusCode::PAYMENT_REQUIRED, body).into_response();
    }
    Json(Paid {
        charge: format!("ch_{number:08x}"),
    })
    .into_response()
}
