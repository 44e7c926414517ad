//! Takes payments through the card provider, `acmepay`.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::post,
};
use http::StatusCode;
use serde_json::json;

use crate::{
    call::{CallError, Peer},
    goods::{Paid, PaymentOrder},
    settings::Settings,
    telemetry::{Telemetry, trace::Trace},
    web,
};

pub mod statement;

/// How often we ask the provider before we give up.
const ATTEMPTS: u32 = 2;

#[derive(Clone)]
struct Payment {
    telemetry: Arc<Telemetry>,
    provider: Peer,
}

/// Serves until SIGTERM.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let telemetry = Telemetry::open("payment", &settings.telemetry_dir)?;
    let limit = Duration::from_millis(2500);
    let provider = Peer::new(&telemetry, "acmepay", settings.peer("acmepay")?, limit);
    let payment = Payment {
        provider,
        telemetry: Arc::clone(&telemetry),
    };
    let api = Router::new()
        .route("/payments", post(pay))
        .with_state(payment);
    web::serve(&settings, telemetry, api, Router::new()).await
}

async fn pay(
    State(payment): State<Payment>,
    Extension(trace): Extension<Trace>,
    Json(order): Json<PaymentOrder>,
) -> Response {
    let charge = json!({
        "amount": order.amount_cents,
        "currency": "EUR",
        "card": order.card,
        "descriptor": statement::descriptor(&order.order),
    });
    let mut attempt = 1;
    loop {
        let error = match payment
            .provider
            .post::<Paid>(&trace, "/v1/charges", &charge)
            .await
        {
            Ok(paid) => return payment.paid(&trace, &order, paid),
            Err(error) => error,
        };
        if error.status() == Some(StatusCode::PAYMENT_REQUIRED) {
            let message = format!("order {}: card declined", order.order);
            payment
                .telemetry
                .journal
                .info(&trace, &message, json!({"order": order.order}));
            return web::problem(StatusCode::PAYMENT_REQUIRED, "card declined");
        }
        if attempt == ATTEMPTS {
            return payment.gave_up(&trace, &order, &error);
        }
        let message = format!("{error}, trying again");
        let fields = json!({"order": order.order, "attempt": attempt});
        payment.telemetry.journal.warn(&trace, &message, fields);
        attempt += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

impl Payment {
    fn paid(&self, trace: &Trace, order: &PaymentOrder, paid: Paid) -> Response {
        let message = format!("order {} paid, charge {}", order.order, paid.charge);
        let fields = json!({"order": order.order, "amount_cents": order.amount_cents});
        self.telemetry.journal.info(trace, &message, fields);
        Json(paid).into_response()
    }

    fn gave_up(&self, trace: &Trace, order: &PaymentOrder, error: &CallError) -> Response {
        let message = format!(
            "order {} not paid after {ATTEMPTS} attempts: {error}",
            order.order
        );
        let fields = json!({"order": order.order, "amount_cents": order.amount_cents});
        self.telemetry.journal.error(trace, &message, fields);
        web::problem(
            StatusCode::BAD_GATEWAY,
            "the card provider did not take the payment",
        )
    }
}
