//! The route: reads the body, finds out whose it is, proves its sender, and takes it in.

use axum::{
    Extension,
    body::{Body, Bytes},
    extract::{Path, State},
    http::HeaderMap,
    response::Response,
};
use nightshift_controls::{Control, holds};
use nightshift_domain::EndpointId;
use nightshift_engine::intake::{self, Arrival, SetAside};
use nightshift_lambda::{Secrets, body};
use nightshift_store::Endpoint;
use secrecy::SecretString;

use crate::{
    IntakeState, MAX_BODY_BYTES,
    gate::Gate,
    outcome::{Failure, Outcome, Refusal},
    source::{self, Content, Delivery, Reading},
};

/// Answers one delivery, and logs what became of it, once.
pub(crate) async fn receive(
    State(state): State<IntakeState>,
    Extension(gate): Extension<Gate>,
    Path(path_token): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let body = match body::read(body, MAX_BODY_BYTES).await {
        Ok(body) => body,
        Err(problem) => return Refusal::Unreadable(problem).answer(),
    };
    // Not before the body is there: a slow sender takes nobody's place.
    let _inside = match gate.enter() {
        Ok(permit) => permit,
        Err(problem) => return Gate::refuse(problem),
    };
    let endpoint = match find(&state, &path_token, &body).await {
        Ok(endpoint) => endpoint,
        Err(refusal) => return refusal.answer(),
    };
    match take_in(&state, &endpoint, &headers, &body).await {
        Ok(outcome) => outcome.answer(&endpoint),
        Err(refusal) => refusal.answer_for(&endpoint),
    }
}

async fn find(state: &IntakeState, path_token: &str, body: &Bytes) -> Result<Endpoint, Refusal> {
    let found = if could_be_a_token(path_token) {
        let found = state.store.endpoint(path_token).await;
        found.map_err(|error| Refusal::Failed(Failure::Store(error)))?
    } else {
        None
    };
    found.ok_or_else(|| {
        source::decoy(body);
        Refusal::NoEndpoint
    })
}

/// Whether the store may be asked for it: not every text of a URL is one that PostgreSQL takes.
fn could_be_a_token(text: &str) -> bool {
    text.len() <= 200 && text.bytes().all(|byte| byte.is_ascii_graphic())
}

async fn take_in(
    state: &IntakeState,
    endpoint: &Endpoint,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Outcome, Refusal> {
    let source = source::named(&endpoint.source).ok_or(Refusal::Failed(Failure::NoSource))?;
    let secrets = secrets_of(&*state.secrets, endpoint)
        .await
        .map_err(Refusal::Failed)?;
    let delivery = Delivery {
        headers,
        body,
        now: state.clock.now(),
    };
    if !source.verify(&delivery, &secrets) {
        return Err(Refusal::NotProved);
    }
    let Reading {
        delivery_key,
        content,
    } = source.read(&delivery, endpoint.mapping.as_ref());
    let delivery_key = if holds(Control::WebhookOnce) {
        delivery_key
    } else {
        EndpointId::generate().to_string()
    };
    let set_aside = async |why: SetAside<'_>| {
        let (store, clock) = (&state.store, &*state.clock);
        intake::set_aside(store, clock, endpoint, &delivery_key, body, why).await
    };
    let taken = match content {
        Content::Signal(signal) => {
            let arrival = Arrival {
                delivery_key: &delivery_key,
                body,
                signal: *signal,
            };
            intake::accept(&state.store, &*state.clock, endpoint, arrival)
                .await
                .map(Outcome::Taken)
        }
        Content::Ignored { event } => set_aside(SetAside::Ignored { event: &event })
            .await
            .map(|()| Outcome::Ignored { event }),
        Content::Malformed { why } => set_aside(SetAside::Malformed { why: &why })
            .await
            .map(|()| Outcome::Malformed { why }),
    };
    taken.map_err(|error| Refusal::Failed(Failure::Intake(error)))
}

/// The secrets any of which may have signed. During a rotation one of them may be gone already;
/// without any, nothing can be said about the sender.
async fn secrets_of(
    secrets: &dyn Secrets,
    endpoint: &Endpoint,
) -> Result<Vec<SecretString>, Failure> {
    let mut found = Vec::with_capacity(endpoint.secret_refs.len());
    let mut missing = None;
    for reference in &endpoint.secret_refs {
        match secrets.read(reference).await {
            Ok(secret) => found.push(secret),
            Err(error) => missing = Some(error),
        }
    }
    match missing {
        Some(error) if found.is_empty() => Err(Failure::Secrets(error)),
        Some(error) => {
            let endpoint = endpoint.id;
            tracing::warn!(endpoint.id = %endpoint, %error, "Lacks one of an endpoint's secrets");
            Ok(found)
        }
        None => Ok(found),
    }
}
