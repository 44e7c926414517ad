//! Turns a cart into an order: holds the stock, takes the payment, says so in the log.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::post,
};
use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    call::{CallError, Peer},
    goods::{Held, Order, Paid, PaymentOrder, Placed},
    settings::Settings,
    telemetry::{Telemetry, trace::Trace},
    web,
};

pub mod receipt;

#[derive(Clone)]
struct Checkout {
    telemetry: Arc<Telemetry>,
    inventory: Peer,
    payment: Peer,
}

/// Serves until SIGTERM.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let telemetry = Telemetry::open("checkout", &settings.telemetry_dir)?;
    let peer = |name: &str, limit| -> anyhow::Result<Peer> {
        Ok(Peer::new(
            &telemetry,
            name,
            settings.peer(name)?,
            Duration::from_millis(limit),
        ))
    };
    let checkout = Checkout {
        inventory: peer("inventory", 3500)?,
        payment: peer("payment", 6000)?,
        telemetry: Arc::clone(&telemetry),
    };
    let api = Router::new()
        .route("/orders", post(place))
        .with_state(checkout);
    web::serve(&settings, telemetry, api, Router::new()).await
}

async fn place(
    State(checkout): State<Checkout>,
    Extension(trace): Extension<Trace>,
    Json(order): Json<Order>,
) -> Response {
    let number = format!("{:010x}", rand::random::<u64>() >> 24);
    let held: Held = match checkout
        .inventory
        .post(&trace, "/reservations", &order.lines)
        .await
    {
        Ok(held) => held,
        Err(error) => return checkout.refused(&trace, &number, "stock", &error),
    };
    let payment = PaymentOrder {
        order: number.clone(),
        amount_cents: held.total_cents,
        card: order.card,
    };
    let paid: Paid = match checkout.payment.post(&trace, "/payments", &payment).await {
        Ok(paid) => paid,
        Err(error) => {
            let released = checkout
                .inventory
                .post::<Value>(&trace, "/releases", &order.lines);
            if let Err(error) = released.await {
                let message = format!("order {number} still holds stock: {error}");
                checkout
                    .telemetry
                    .journal
                    .error(&trace, &message, json!({"order": number}));
            }
            return checkout.refused(&trace, &number, "payment", &error);
        }
    };
    let message = receipt::line(&number, order.lines.len(), held.total_cents);
    let fields = json!({"order": number, "charge": paid.charge, "total_cents": held.total_cents});
    checkout.telemetry.journal.info(&trace, &message, fields);
    checkout
        .telemetry
        .metrics
        .count("orders_placed_total", &[], 1.0);
    Json(Placed {
        order: number,
        total_cents: held.total_cents,
    })
    .into_response()
}

impl Checkout {
    fn refused(&self, trace: &Trace, number: &str, step: &str, error: &CallError) -> Response {
        let message = format!("order {number} not placed, {step} failed: {error}");
        let fields = json!({"order": number, "step": step});
        self.telemetry
            .metrics
            .count("orders_refused_total", &[("step", step)], 1.0);
        match error.status() {
            Some(status) if status.is_client_error() => {
                self.telemetry.journal.info(trace, &message, fields);
                web::problem(status, &error.to_string())
            }
            Some(_) | None => {
                self.telemetry.journal.error(trace, &message, fields);
                web::problem(StatusCode::BAD_GATEWAY, &error.to_string())
            }
        }
    }
}
