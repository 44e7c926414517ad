//! `…/machines/ID/metadata`: words to find a machine by. Changing them restarts nothing.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::parse;
use crate::{clock, host::Host, refused::Refused};

#[derive(Deserialize)]
struct Merge {
    metadata: BTreeMap<String, Option<String>>,
    machine_version: Option<String>,
}

#[derive(Deserialize)]
struct One {
    value: String,
}

type Words = BTreeMap<String, String>;

pub(crate) async fn read(
    State(host): State<Arc<Host>>,
    Path((app, id)): Path<(String, String)>,
) -> Result<Json<Words>, Refused> {
    Ok(Json(
        host.world()
            .machine(&app, &id)?
            .record
            .config
            .metadata
            .clone(),
    ))
}

pub(crate) async fn merge(
    State(host): State<Arc<Host>>,
    Path((app, id)): Path<(String, String)>,
    body: Bytes,
) -> Result<StatusCode, Refused> {
    let new: Merge = parse(&body)?;
    change(&host, &app, &id, new.machine_version.as_deref(), |words| {
        for (key, value) in new.metadata {
            match value.filter(|value| !value.is_empty()) {
                Some(value) => words.insert(key, value),
                None => words.remove(&key),
            };
        }
    })
}

pub(crate) async fn read_one(
    State(host): State<Arc<Host>>,
    Path((app, id, key)): Path<(String, String, String)>,
) -> Result<Json<Value>, Refused> {
    let mut world = host.world();
    let value = world.machine(&app, &id)?.record.config.metadata.get(&key);
    Ok(Json(
        json!({ "value": value.ok_or_else(|| Refused::not_found("metadata key"))? }),
    ))
}

pub(crate) async fn write_one(
    State(host): State<Arc<Host>>,
    Path((app, id, key)): Path<(String, String, String)>,
    body: Bytes,
) -> Result<StatusCode, Refused> {
    let one: One = parse(&body)?;
    change(&host, &app, &id, None, |words| {
        words.insert(key, one.value);
    })
}

pub(crate) async fn remove_one(
    State(host): State<Arc<Host>>,
    Path((app, id, key)): Path<(String, String, String)>,
) -> Result<StatusCode, Refused> {
    change(&host, &app, &id, None, |words| {
        words.remove(&key);
    })
}

fn change(
    host: &Host,
    app: &str,
    id: &str,
    version: Option<&str>,
    change: impl FnOnce(&mut Words),
) -> Result<StatusCode, Refused> {
    let mut world = host.world();
    let cell = world.machine(app, id)?;
    if !cell.exists() {
        return Err(Refused::not_found("machine"));
    }
    if version.is_some_and(|version| version != cell.record.version) {
        return Err(Refused::version_stale());
    }
    change(&mut cell.record.config.metadata);
    cell.record.updated_at = clock::now();
    host.disk
        .save_machine(&cell.record)
        .map_err(|error| Refused::internal(&error))?;
    Ok(StatusCode::NO_CONTENT)
}
