//! The one route: who may ask, what may be asked, how much, and by whom it is answered.

pub mod budget;
pub mod policy;

pub(crate) mod door;
mod refusal;

use std::sync::Arc;

use axum::{
    Extension, Router,
    body::Body,
    extract::{Request, State},
    middleware::from_fn,
    response::{IntoResponse, Response},
    routing::post,
};
use chrono::{DateTime, Utc};
use nightshift_domain::Scope;
use nightshift_mcp_kit::{Clock, Gate, Grant, ModelLog, protect, serve::with_health};
use nightshift_protocol::{messages::Usage, run::RecordModelUse};
use serde_json::Value;

pub(crate) use self::door::FromProvider;
use self::{
    budget::{Budget, Reservation, RunLimits},
    policy::Admitted,
    refusal::Refusal,
};
use crate::{
    config::Models,
    provider::{Ask, Providers, Settle},
};

/// A request may have this many bytes.
pub const REQUEST_BYTES: usize = 8 * 1024 * 1024;

/// Everything that the route needs.
#[derive(Clone)]
pub struct Gateway {
    providers: Arc<Providers>,
    models: Arc<Models>,
    budget: Budget,
    log: Arc<dyn ModelLog>,
    clock: Arc<dyn Clock>,
}

impl Gateway {
    /// A gateway to these providers.
    #[must_use]
    pub fn new(
        providers: Providers,
        models: Models,
        limits: RunLimits,
        log: Arc<dyn ModelLog>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            providers: Arc::new(providers),
            models: Arc::new(models),
            budget: Budget::new(limits),
            log,
            clock,
        }
    }

    async fn answer(&self, grant: &Grant, request: Request) -> Result<Response, Refusal> {
        let arrived = self.clock.now();
        if !grant.allows(Scope::ModelUse) {
            return Err(Refusal::Scope);
        }
        let beta = request.headers().get("anthropic-beta").cloned();
        let body = axum::body::to_bytes(request.into_body(), REQUEST_BYTES)
            .await
            .map_err(|_| Refusal::TooLarge)?;
        let body: Value = serde_json::from_slice(&body)
            .map_err(|error| Refusal::Invalid(format!("the body is not JSON: {error}")))?;
        let admitted = policy::admit(body, &self.models)?;
        let reserved = self
            .budget
            .reserve(grant.investigation(), admitted.worst_case())?;
        let choice = self.providers.choose(grant.investigation(), &admitted);
        if reserved.is_first() && choice.name() != "analyst" {
            // What it uses is known only when the answer ends; that the run works is known now.
            self.record(
                grant,
                arrived,
                choice.name(),
                &admitted.model,
                Usage::default(),
            );
        }
        let settle = self.settle(grant, arrived, choice.name(), &admitted, reserved);
        let ask = Ask {
            admitted,
            run: grant.investigation(),
            beta,
            settle,
        };
        choice.answer(ask).await.map_err(Refusal::from)
    }

    /// What happens when it is known what a request used: the budget is settled and the use recorded,
    /// both without holding the answer up.
    fn settle(
        &self,
        grant: &Grant,
        arrived: DateTime<Utc>,
        provider: &'static str,
        admitted: &Admitted,
        reserved: Reservation,
    ) -> Settle {
        let (gateway, grant) = (self.clone(), grant.clone());
        let asked_for = admitted.model.clone();
        Settle::new(move |model: Option<String>, usage: Usage| {
            reserved.settle(usage.input_tokens + usage.output_tokens);
            let model = model.unwrap_or(asked_for);
            gateway.record(&grant, arrived, provider, &model, usage);
        })
    }

    fn record(
        &self,
        grant: &Grant,
        arrived: DateTime<Utc>,
        provider: &str,
        model: &str,
        usage: Usage,
    ) {
        let (log, investigation) = (Arc::clone(&self.log), grant.investigation());
        let used = RecordModelUse {
            epoch: grant.epoch(),
            at: arrived,
            provider: provider.to_owned(),
            model: model.to_owned(),
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
        };
        tokio::spawn(async move {
            if let Err(refusal) = log.model_use(investigation, used).await {
                tracing::warn!(
                    investigation.id = %investigation,
                    %refusal,
                    "Could not record a request to the model"
                );
            }
        });
    }
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway")
            .field("models", &self.models)
            .finish_non_exhaustive()
    }
}

/// `POST /v1/messages` behind the gate; everything else is unknown.
pub fn routes(gateway: Gateway, gate: Arc<Gate>) -> Router {
    let guarded = Router::new()
        .route("/v1/messages", post(messages))
        .method_not_allowed_fallback(unknown)
        .fallback(unknown)
        .with_state(gateway);
    // Seen from outside: our own error shape, then one token in one header, then the gate.
    with_health(
        protect(guarded, gate)
            .layer(from_fn(door::one_token))
            .layer(from_fn(door::in_their_shape)),
    )
}

async fn messages(
    State(gateway): State<Gateway>,
    Extension(grant): Extension<Grant>,
    request: Request<Body>,
) -> Response {
    gateway
        .answer(&grant, request)
        .await
        .unwrap_or_else(|refusal| {
            tracing::warn!(
                investigation.id = %grant.investigation(),
                %refusal,
                "Refused a request to the model"
            );
            refusal.into_response()
        })
}

async fn unknown() -> Refusal {
    Refusal::UnknownPath
}
