//! `/v1/apps/APP/volumes`.

use std::{fs::DirBuilder, os::unix::fs::DirBuilderExt, sync::Arc};

use axum::{
    Extension, Json,
    body::Bytes,
    extract::{Path, Query, State},
};
use nightshift_machines::{Volume, VolumeState};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Struck, machines::as_of, page::Page, parse};
use crate::{clock, faults::FaultKind, host::Host, id, record::VolumeRecord, refused::Refused};

/// Sizes the provider sells, in GB.
const SIZES_GB: std::ops::RangeInclusive<u64> = 1..=500;

#[derive(Deserialize)]
struct NewVolume {
    #[serde(default)]
    name: String,
    region: Option<String>,
    #[serde(default = "three")]
    size_gb: u64,
}

const fn three() -> u64 {
    3
}

#[derive(Deserialize)]
pub(crate) struct Listed {
    limit: Option<usize>,
    cursor: Option<String>,
}

pub(crate) async fn create(
    State(host): State<Arc<Host>>,
    struck: Option<Extension<Struck>>,
    Path(app): Path<String>,
    body: Bytes,
) -> Result<Json<Volume>, Refused> {
    let new: NewVolume = parse(&body)?;
    let legal = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
    if new.name.len() > 30 || !new.name.bytes().all(legal) {
        return Err(Refused::invalid(
            "volume names are lowercase letters, digits, underscores",
        ));
    }
    if !SIZES_GB.contains(&new.size_gb) {
        return Err(Refused::invalid(
            "volume size must be inside range [1, 500] GB",
        ));
    }
    let elsewhere = new
        .region
        .as_ref()
        .is_some_and(|region| *region != host.config.region);
    let full = super::struck(struck.as_ref(), FaultKind::HostFull).is_some();
    let mut world = host.world();
    world.app(&app)?;
    let most = host.config.max_volumes;
    let volumes = world.volumes.values();
    if volumes.filter(|one| !one.volume.state.is_leaving()).count() >= most {
        return Err(Refused::limit("volume", most));
    }
    if elsewhere || full {
        return Err(Refused::no_capacity());
    }
    let volume = Volume {
        id: id::volume(),
        name: new.name,
        state: VolumeState::Created,
        region: host.config.region.clone(),
        size_gb: new.size_gb,
        attached_machine_id: None,
        created_at: clock::now(),
    };
    let record = VolumeRecord {
        app,
        volume: volume.clone(),
        slot: None,
    };
    let directory = host.disk.volume_dir(&volume.id);
    DirBuilder::new()
        .mode(0o700)
        .create(&directory)
        .and_then(|()| DirBuilder::new().mode(0o755).create(directory.join("data")))
        .and_then(|()| host.disk.save_volume(&record))
        .map_err(|error| Refused::internal(&error))?;
    world.volumes.insert(volume.id.clone(), record);
    Ok(Json(volume))
}

pub(crate) async fn read(
    State(host): State<Arc<Host>>,
    Path((app, id)): Path<(String, String)>,
) -> Result<Json<Value>, Refused> {
    Ok(Json(shown_volume(host.world().volume(&app, &id)?)))
}

pub(crate) async fn list(
    State(host): State<Arc<Host>>,
    struck: Option<Extension<Struck>>,
    Path(app): Path<String>,
    Query(listed): Query<Listed>,
) -> Result<Page, Refused> {
    let then = as_of(struck.as_ref());
    let lags = super::struck(struck.as_ref(), FaultKind::Lagging).is_some();
    let world = host.world();
    world.app(&app)?;
    let volumes = world.volumes.values();
    let shown = volumes.filter(|record| record.app == app && record.volume.created_at <= then);
    let entries = shown.map(|record| {
        let mut record = record.clone();
        if lags && record.volume.state.is_leaving() {
            // Deleted ones are listed for a while as if nothing had happened.
            record.volume.state = VolumeState::Created;
        }
        (record.volume.id.clone(), shown_volume(&record))
    });
    Page::cut(entries, listed.limit, listed.cursor.as_deref())
}

pub(crate) async fn remove(
    State(host): State<Arc<Host>>,
    Path((app, id)): Path<(String, String)>,
) -> Result<Json<Volume>, Refused> {
    host.delete_volume(&app, &id).await.map(Json)
}

fn shown_volume(record: &VolumeRecord) -> Value {
    let mut shown = json!(record.volume);
    shown["host_status"] = json!("ok");
    shown["zone"] = json!("local");
    shown["encrypted"] = json!(false);
    shown
}
