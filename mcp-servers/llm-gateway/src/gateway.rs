//! The one route: who may ask, what may be asked, how much, and by whom it is answered.

pub mod budget;
pub mod policy;

pub(crate) mod door;
mod refusal;

use nightshift_controls::{Control, holds};
use std::{sync::Arc, time::Duration};

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
use nightshift_mcp_kit::{
    Clock, EvidenceLog, Gate, Grant, ModelLog,
    hosts::{self, Hosts},
    limits::{self, RequestLimits},
    protect, secrets,
    serve::with_health,
};
use nightshift_protocol::{
    messages::Usage,
    run::{RecordCall, RecordModelUse},
};
use serde_json::{Value, json};

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
/// How long a request may take to arrive.
const REQUEST_TIME: Duration = Duration::from_secs(30);

/// Everything that the route needs.
#[derive(Clone)]
pub struct Gateway {
    providers: Arc<Providers>,
    models: Arc<Models>,
    budget: Budget,
    log: Arc<dyn ModelLog>,
    audit: Arc<dyn EvidenceLog>,
    clock: Arc<dyn Clock>,
}

impl Gateway {
    /// A gateway to these providers. What was used goes to `log`, what was refused to `audit`.
    #[must_use]
    pub fn new(
        providers: Providers,
        models: Models,
        limits: RunLimits,
        log: Arc<dyn ModelLog>,
        audit: Arc<dyn EvidenceLog>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            providers: Arc::new(providers),
            models: Arc::new(models),
            budget: Budget::new(limits),
            log,
            audit,
            clock,
        }
    }

    async fn answer(
        &self,
        grant: &Grant,
        arrived: DateTime<Utc>,
        request: Request,
    ) -> Result<Response, Refusal> {
        if !grant.allows(Scope::ModelUse) {
            return Err(Refusal::Scope);
        }
        let beta = request.headers().get("anthropic-beta").cloned();
        let limits = RequestLimits {
            bytes: REQUEST_BYTES,
            time: REQUEST_TIME,
        };
        let body = limits::read(request.into_body(), limits).await?;
        let body: Value = serde_json::from_slice(&body)
            .map_err(|error| Refusal::Invalid(format!("the body is not JSON: {error}")))?;
        let admitted = policy::admit(body, &self.models)?;
        let reserved =
            self.budget
                .reserve(grant.tenant(), grant.investigation(), admitted.worst_case())?;
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

    /// Control: `audit`. A row for a request that was refused or came to nothing; the others have theirs as a
    /// use of the model.
    async fn note(&self, grant: &Grant, arrived: DateTime<Utc>, refusal: &Refusal) {
        let took = (self.clock.now() - arrived).num_milliseconds();
        let call = RecordCall {
            epoch: grant.epoch(),
            tool: "llm.messages".to_owned(),
            arguments: json!({}),
            outcome: refusal.outcome().to_owned(),
            detail: Some(secrets::scrub_text(&refusal.to_string()).0),
            took_ms: u64::try_from(took).unwrap_or(0),
        };
        if let Err(missing) = self.audit.call(grant.investigation(), call).await {
            tracing::error!(
                investigation.id = %grant.investigation(),
                %refusal,
                %missing,
                "A refused request to the model is missing from the audit"
            );
        }
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

/// `POST /v1/messages` behind the gate; everything else is unknown. Sandboxes ask for it as `public_host`.
///
/// Control: `model-paths`.
pub fn routes(gateway: Gateway, gate: Arc<Gate>, public_host: &str) -> Router {
    let guarded = Router::new()
        .route("/v1/messages", post(messages))
        .method_not_allowed_fallback(unknown);
    let guarded = if holds(Control::ModelPaths) {
        guarded.fallback(unknown)
    } else {
        guarded.fallback(messages)
    }
    .with_state(gateway);
    // Seen from outside: the names we have, our own error shape, one token in one header, the gate.
    let routes = protect(guarded, gate)
        .layer(from_fn(door::one_token))
        .layer(from_fn(door::in_their_shape));
    with_health(hosts::only(routes, Hosts::named(public_host)))
}

async fn messages(
    State(gateway): State<Gateway>,
    Extension(grant): Extension<Grant>,
    request: Request<Body>,
) -> Response {
    let arrived = gateway.clock.now();
    match gateway.answer(&grant, arrived, request).await {
        Ok(response) => response,
        Err(refusal) => {
            tracing::warn!(
                investigation.id = %grant.investigation(),
                %refusal,
                "Refused a request to the model"
            );
            gateway.note(&grant, arrived, &refusal).await;
            refusal.into_response()
        }
    }
}

async fn unknown() -> Refusal {
    Refusal::UnknownPath
}
