//! The HTTP API: which paths there are, and what every call passes on its way in.

mod apps;
mod lifecycle;
mod machines;
mod metadata;
mod org;
mod page;
mod policies;
mod volumes;
mod wait;

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    body::Bytes,
    extract::{RawPathParams, Request, State},
    http::{HeaderValue, Method, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodRouter, delete, get, patch, post},
};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use subtle::ConstantTimeEq;

use crate::{
    faults::{self, Fault, FaultKind},
    host::Host,
    id,
    refused::Refused,
    status,
};

/// What a call does; the name of its rate limit and of its faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Operation {
    CreateApp,
    GetApp,
    ListApps,
    DeleteApp,
    CreateNetworkPolicy,
    ListNetworkPolicies,
    DeleteNetworkPolicy,
    CreateVolume,
    GetVolume,
    ListVolumes,
    DeleteVolume,
    CreateMachine,
    GetMachine,
    ListMachines,
    DeleteMachine,
    Start,
    Stop,
    Suspend,
    Wait,
    ListEvents,
    GetMetadata,
    SetMetadata,
    GetLogs,
    ListOrgMachines,
}

/// A fault the handler itself must act out.
#[derive(Debug, Clone)]
pub(crate) struct Struck(Fault);

/// The fault the handler must act out, if it is of this kind.
pub(crate) fn struck(by: Option<&Extension<Struck>>, kind: FaultKind) -> Option<&Fault> {
    by.map(|struck| &struck.0.0)
        .filter(|fault| fault.kind == kind)
}

/// Every path.
pub(crate) fn router(host: &Arc<Host>) -> Router {
    let on = |operation, handlers: MethodRouter<Arc<Host>>| {
        let admission = (Arc::clone(host), operation);
        handlers.layer(middleware::from_fn_with_state(admission, admit))
    };
    let machine = "/v1/apps/{app_name}/machines/{machine_id}";
    let at = |rest: &str| format!("{machine}{rest}");
    Router::new()
        .route(
            "/v1/apps",
            on(Operation::CreateApp, post(apps::create))
                .merge(on(Operation::ListApps, get(apps::list))),
        )
        .route(
            "/v1/apps/{app_name}",
            on(Operation::GetApp, get(apps::read))
                .merge(on(Operation::DeleteApp, delete(apps::remove))),
        )
        .route(
            "/v1/apps/{app_name}/network_policies",
            on(Operation::CreateNetworkPolicy, post(policies::create))
                .merge(on(Operation::ListNetworkPolicies, get(policies::list))),
        )
        .route(
            "/v1/apps/{app_name}/network_policies/{policy_id}",
            on(Operation::DeleteNetworkPolicy, delete(policies::remove)),
        )
        .route(
            "/v1/apps/{app_name}/volumes",
            on(Operation::CreateVolume, post(volumes::create))
                .merge(on(Operation::ListVolumes, get(volumes::list))),
        )
        .route(
            "/v1/apps/{app_name}/volumes/{volume_id}",
            on(Operation::GetVolume, get(volumes::read))
                .merge(on(Operation::DeleteVolume, delete(volumes::remove))),
        )
        .route(
            "/v1/apps/{app_name}/machines",
            on(Operation::CreateMachine, post(machines::create))
                .merge(on(Operation::ListMachines, get(machines::list))),
        )
        .route(
            machine,
            on(Operation::GetMachine, get(machines::read))
                .merge(on(Operation::DeleteMachine, delete(lifecycle::remove))),
        )
        .route(&at("/start"), on(Operation::Start, post(lifecycle::start)))
        .route(&at("/stop"), on(Operation::Stop, post(lifecycle::stop)))
        .route(
            &at("/suspend"),
            on(Operation::Suspend, post(lifecycle::suspend)),
        )
        .route(&at("/wait"), on(Operation::Wait, get(wait::wait)))
        .route(
            &at("/events"),
            on(Operation::ListEvents, get(machines::events)),
        )
        .route(&at("/logs"), on(Operation::GetLogs, get(machines::logs)))
        .route(
            &at("/metadata"),
            on(Operation::GetMetadata, get(metadata::read)).merge(on(
                Operation::SetMetadata,
                patch(metadata::merge).put(metadata::merge),
            )),
        )
        .route(
            &at("/metadata/{key}"),
            on(Operation::GetMetadata, get(metadata::read_one)).merge(on(
                Operation::SetMetadata,
                post(metadata::write_one).delete(metadata::remove_one),
            )),
        )
        .route(
            "/v1/orgs/{org_slug}/machines",
            on(Operation::ListOrgMachines, get(org::machines)),
        )
        .merge(status::routes().layer(middleware::from_fn_with_state(
            Arc::clone(host),
            authenticate,
        )))
        .merge(faults::routes().layer(middleware::from_fn_with_state(
            Arc::clone(host),
            authenticate,
        )))
        .route("/v1/platform/regions", get(org::regions))
        .route("/oidc/.well-known/openid-configuration", get(discovery))
        .route("/oidc/.well-known/jwks", get(jwks))
        .fallback(|| async { Refused::not_modelled() })
        .method_not_allowed_fallback(|| async { Refused::not_modelled() })
        .layer(middleware::from_fn(name_request))
        .with_state(Arc::clone(host))
}

/// Reads a JSON body; an empty one is an empty object.
pub(crate) fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refused> {
    let body: &[u8] = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(Refused::invalid)
}

async fn discovery(State(host): State<Arc<Host>>) -> Response {
    Json(host.identity.discovery()).into_response()
}

async fn jwks(State(host): State<Arc<Host>>) -> Response {
    Json(host.identity.jwks()).into_response()
}

async fn name_request(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if let Ok(id) = HeaderValue::from_str(&id::ulid()) {
        response.headers_mut().insert("fly-request-id", id);
    }
    response
}

async fn authenticate(
    State(host): State<Arc<Host>>,
    request: Request,
    next: Next,
) -> Result<Response, Refused> {
    knows_token(&host, &request)?;
    Ok(next.run(request).await)
}

fn knows_token(host: &Host, request: &Request) -> Result<(), Refused> {
    let shown = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let shown = shown
        .and_then(|value| value.strip_prefix("Bearer "))
        .unwrap_or_default();
    let same = shown
        .as_bytes()
        .ct_eq(host.config.token.expose_secret().as_bytes());
    if bool::from(same) {
        Ok(())
    } else {
        Err(Refused::unauthenticated())
    }
}

async fn admit(
    State((host, operation)): State<(Arc<Host>, Operation)>,
    params: RawPathParams,
    mut request: Request,
    next: Next,
) -> Result<Response, Refused> {
    knows_token(&host, &request)?;
    let param = |name| {
        params
            .iter()
            .find(|param| param.0 == name)
            .map(|param| param.1.to_owned())
    };
    let (app, machine) = (param("app_name"), param("machine_id"));
    let subject = machine.clone().or_else(|| app.clone()).unwrap_or_default();
    let now = std::time::Instant::now();
    // Creating an app is about no app that exists, so the provider has nothing to count it by.
    let counted = host.config.rate_limits && operation != Operation::CreateApp;
    if counted && !host.limits.admit(operation, &subject, now) {
        return Err(Refused::rate_limited());
    }
    let writes = request.method() != Method::GET;
    let fault = host.faults.strike(operation);
    match fault.as_ref().map(|fault| fault.kind) {
        Some(FaultKind::RateLimited) => return Err(Refused::rate_limited()),
        Some(FaultKind::ErrorBefore) => return Err(Refused::unavailable()),
        Some(FaultKind::NotFoundYet) => return Err(Refused::not_found("machine")),
        Some(FaultKind::OverQuota) => return Err(Refused::over_quota(&host.config)),
        Some(FaultKind::StaleVolume) => return Err(Refused::volume_not_found()),
        Some(FaultKind::StillBound) => {
            // Of the machine that had it, nothing is left to tell.
            return Err(if operation == Operation::CreateMachine {
                Refused::volume_claimed(&"\0".repeat(14))
            } else {
                Refused::volume_bound(&"0".repeat(14))
            });
        }
        Some(FaultKind::SlowMs) => {
            let held_up = fault.as_ref().map(Fault::duration);
            tokio::time::sleep(held_up.unwrap_or_default()).await;
        }
        Some(FaultKind::LostMachine) => {
            if let Some(machine) = &machine {
                host.lose(machine).await;
            }
        }
        Some(
            FaultKind::HostFull
            | FaultKind::ErrorRegions
            | FaultKind::Lagging
            | FaultKind::StuckCreated
            | FaultKind::Lingers,
        ) => {
            if let Some(fault) = fault.clone() {
                request.extensions_mut().insert(Struck(fault));
            }
        }
        Some(FaultKind::TimeoutAfterEffect) | None => {}
    }
    let mut response = next.run(request).await;
    if fault.is_some_and(|fault| fault.kind == FaultKind::TimeoutAfterEffect) {
        return Err(Refused::timed_out());
    }
    if let Some(app) = app.filter(|_| writes)
        && let Ok(cookie) = format!("fly_flaps_affinity=local; Path=/v1/apps/{app}").parse()
    {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}
