//! `/v1/apps/APP/network_policies`: stored and shown. Sandboxes have no network to apply them to.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
};
use nightshift_machines::{NetworkPolicy, NewNetworkPolicy};

use super::parse;
use crate::{host::Host, id, record::AppRecord, refused::Refused};

pub(crate) async fn create(
    State(host): State<Arc<Host>>,
    Path(app): Path<String>,
    body: Bytes,
) -> Result<Json<NetworkPolicy>, Refused> {
    let policy = NetworkPolicy {
        id: id::policy(),
        policy: parse::<NewNetworkPolicy>(&body)?,
    };
    change(&host, &app, |app| {
        app.policies.push(policy.clone());
        Ok(())
    })?;
    Ok(Json(policy))
}

pub(crate) async fn list(
    State(host): State<Arc<Host>>,
    Path(app): Path<String>,
) -> Result<Json<Vec<NetworkPolicy>>, Refused> {
    Ok(Json(host.world().app(&app)?.policies.clone()))
}

pub(crate) async fn remove(
    State(host): State<Arc<Host>>,
    Path((app, id)): Path<(String, String)>,
) -> Result<StatusCode, Refused> {
    change(&host, &app, |app| {
        let at = app.policies.iter().position(|policy| policy.id == id);
        app.policies
            .remove(at.ok_or_else(|| Refused::not_found("network policy"))?);
        Ok(())
    })?;
    Ok(StatusCode::NO_CONTENT)
}

fn change(
    host: &Host,
    name: &str,
    change: impl FnOnce(&mut AppRecord) -> Result<(), Refused>,
) -> Result<(), Refused> {
    let mut world = host.world();
    world.app(name)?;
    let Some(app) = world.apps.get_mut(name) else {
        return Ok(());
    };
    change(app)?;
    host.disk
        .save_app(app)
        .map_err(|error| Refused::internal(&error))
}
