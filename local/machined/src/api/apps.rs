//! `/v1/apps`.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{Path, Query, State},
    http::StatusCode,
};
use nightshift_machines::{App, AppOrganization};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{page::Page, parse};
use crate::{clock, host::Host, id, record::AppRecord, refused::Refused, world::World};

#[derive(Deserialize)]
struct NewApp {
    #[serde(alias = "app_name")]
    name: String,
    org_slug: String,
    network: Option<String>,
    idempotency_key: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Listed {
    org_slug: String,
    limit: Option<usize>,
    cursor: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Removal {
    #[serde(default)]
    force: bool,
}

pub(crate) async fn create(
    State(host): State<Arc<Host>>,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), Refused> {
    let new: NewApp = parse(&body)?;
    if new.org_slug != host.config.org {
        return Err(Refused::not_found("organization"));
    }
    let legal = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    if new.name.is_empty() || new.name.len() > 62 || !new.name.bytes().all(legal) {
        return Err(Refused::app_name_invalid());
    }
    let network = new.network.unwrap_or_else(|| "default".to_owned());
    let mut world = host.world();
    if let Some(app) = world.apps.get(&new.name) {
        let repeated = new.idempotency_key.is_some()
            && app.idempotency_key == new.idempotency_key
            && !app.deleting;
        return if repeated {
            Ok(created(app))
        } else {
            Err(Refused::app_name_taken())
        };
    }
    let other = |app: &AppRecord| {
        new.idempotency_key.is_some() && app.idempotency_key == new.idempotency_key
    };
    if world.apps.values().any(other) {
        return Err(Refused::invalid(
            "idempotency_key was used for another name",
        ));
    }
    if world.apps.len() >= host.config.max_apps {
        return Err(Refused::limit("app", host.config.max_apps));
    }
    let app = AppRecord {
        id: id::app(),
        name: new.name.clone(),
        network,
        idempotency_key: new.idempotency_key,
        policies: Vec::new(),
        created_at: clock::now(),
        deleting: false,
    };
    host.disk
        .save_app(&app)
        .map_err(|error| Refused::internal(&error))?;
    let answer = created(&app);
    world.apps.insert(new.name, app);
    Ok(answer)
}

fn created(app: &AppRecord) -> (StatusCode, Json<Value>) {
    let created_at = app.created_at.timestamp_millis();
    (
        StatusCode::CREATED,
        Json(json!({ "id": app.id, "created_at": created_at })),
    )
}

pub(crate) async fn read(
    State(host): State<Arc<Host>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Refused> {
    let world = host.world();
    Ok(Json(shown(&host, &world, world.app(&name)?)))
}

pub(crate) async fn list(
    State(host): State<Arc<Host>>,
    Query(listed): Query<Listed>,
) -> Result<Json<Value>, Refused> {
    if listed.org_slug != host.config.org {
        return Err(Refused::not_found("organization"));
    }
    let world = host.world();
    let apps = world.apps.values().filter(|app| !app.deleting);
    let entries = apps.map(|app| (app.name.as_str(), shown(&host, &world, app)));
    let page = Page::cut(entries, listed.limit, listed.cursor.as_deref())?;
    Ok(Json(json!({
        "apps": page.items,
        "total_apps": world.apps.len(),
        "next_cursor": page.next_cursor,
    })))
}

pub(crate) async fn remove(
    State(host): State<Arc<Host>>,
    Path(name): Path<String>,
    Query(removal): Query<Removal>,
) -> Result<StatusCode, Refused> {
    host.delete_app(&name, removal.force)?;
    Ok(StatusCode::ACCEPTED)
}

fn shown(host: &Host, world: &World, app: &AppRecord) -> Value {
    let volumes = world.volumes.values();
    let volumes = volumes.filter(|one| one.app == app.name && !one.volume.state.is_leaving());
    let machine_count = world.machines_of(&app.name).count() as u64;
    let organization = AppOrganization {
        name: host.config.org.clone(),
        slug: host.config.org.clone(),
    };
    json!(App {
        id: app.id.clone(),
        name: app.name.clone(),
        status: if machine_count == 0 {
            "pending"
        } else {
            "deployed"
        }
        .to_owned(),
        organization,
        network: app.network.clone(),
        machine_count,
        volume_count: volumes.count() as u64,
    })
}
