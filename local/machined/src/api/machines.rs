//! `/v1/apps/APP/machines`: create, read and list.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::{
    Extension, Json,
    body::Bytes,
    extract::{Path, Query, State},
};
use chrono::{DateTime, Utc};
use nightshift_machines::{ImageRef, MachineConfig};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Struck, page::Page, parse};
use crate::{
    clock,
    faults::{Fault, FaultKind},
    host::Host,
    id, logs,
    record::MachineRecord,
    refused::Refused,
    state,
    world::{MachineCell, World},
};

#[derive(Deserialize)]
struct NewMachine {
    name: Option<String>,
    region: Option<String>,
    config: MachineConfig,
    #[serde(default)]
    skip_launch: bool,
}

pub(crate) async fn create(
    State(host): State<Arc<Host>>,
    struck: Option<Extension<Struck>>,
    Path(app): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, Refused> {
    let mut new: NewMachine = parse(&body)?;
    check(&new.config)?;
    let image = host.images.find(&new.config.image)?;
    host.backend.check(&image)?;
    let regions = new.region.as_deref().unwrap_or("any");
    let here = |region: &str| region == "any" || region == host.config.region;
    let by = struck.as_ref();
    let full = super::struck(by, FaultKind::HostFull).is_some();
    let id = id::machine();
    let shown = {
        let mut world = host.world();
        world.app(&app)?;
        let name = new.name.unwrap_or_else(|| format!("machine-{id}"));
        let namesake = world
            .machines_of(&app)
            .find(|cell| cell.record.name == name);
        if let Some(cell) = namesake {
            return Err(Refused::machine_name_taken(&cell.record.id, &name));
        }
        let existing = world.machines.values().filter(|cell| cell.exists()).count();
        if existing >= host.config.max_machines {
            return Err(Refused::limit("machine", host.config.max_machines));
        }
        let volume = new.config.mounts.first().map(|mount| mount.volume.clone());
        if let Some(volume) = &volume {
            claimable(&mut world, &app, volume)?;
        }
        match &volume {
            Some(volume) if full => return Err(Refused::volume_host_full(volume)),
            None if full => return Err(Refused::region_full(regions)),
            _ if !regions.split(',').any(here) => return Err(Refused::region_full(regions)),
            _ => {}
        }
        let slot = free_slot(&world, volume.as_deref(), host.uids.slots())
            .ok_or_else(|| Refused::limit("machine", existing))?;
        let uid_map = host.uid_map().to_owned();
        new.config.metadata.insert("uid_map".to_owned(), uid_map);
        let now = clock::now();
        let image = ImageRef {
            repository: image.repository,
            digest: image.digest,
            ..ImageRef::default()
        };
        let mut record = MachineRecord {
            id: id.clone(),
            app,
            name,
            region: host.config.region.clone(),
            version: id::ulid(),
            config: new.config,
            image,
            slot,
            skip_launch: new.skip_launch,
            state: state::State::Created,
            events: Vec::new(),
            created_at: now,
            updated_at: now,
        };
        record.become_state(state::State::Created, "launch", "user", None);
        let shown = record.shown();
        take_up(&host, &mut world, record).map_err(|error| Refused::internal(&error))?;
        shown
    };
    if super::struck(by, FaultKind::StuckCreated).is_none() {
        tokio::spawn(Arc::clone(&host).prepare(id));
    }
    Ok(Json(shown))
}

fn check(config: &MachineConfig) -> Result<(), Refused> {
    if config.mounts.len() > 1 {
        return Err(Refused::invalid("a machine has one volume at most"));
    }
    let relative = config.mounts.iter().any(|mount| {
        let path = std::path::Path::new(&mount.path);
        !path.is_absolute() || path.components().count() < 2 || mount.path.contains("..")
    });
    if relative {
        return Err(Refused::invalid("a mount's path is absolute and not /"));
    }
    let unspeakable = |text: &str| text.contains('\0');
    if config.env.iter().any(|(name, value)| {
        name.is_empty() || name.contains('=') || unspeakable(name) || unspeakable(value)
    }) {
        return Err(Refused::invalid("an environment variable cannot be set"));
    }
    Ok(())
}

fn claimable(world: &mut World, app: &str, volume: &str) -> Result<(), Refused> {
    let record = world
        .volume(app, volume)
        .map_err(|_| Refused::volume_not_found())?;
    if record.volume.state.is_leaving() {
        return Err(Refused::volume_not_found());
    }
    match &record.volume.attached_machine_id {
        Some(machine) => Err(Refused::volume_claimed(machine)),
        None => Ok(()),
    }
}

/// The range of host users for a new machine: its volume's, or one that nobody's files have.
fn free_slot(world: &World, volume: Option<&str>, slots: u32) -> Option<u32> {
    if let Some(slot) = volume.and_then(|id| world.volumes.get(id)?.slot) {
        return Some(slot);
    }
    let machines = world.machines.values().filter(|cell| cell.exists());
    let taken: BTreeSet<u32> = machines
        .map(|cell| cell.record.slot)
        .chain(world.volumes.values().filter_map(|record| record.slot))
        .collect();
    (0..slots).find(|slot| !taken.contains(slot))
}

/// Stores the machine and gives it its volume.
fn take_up(host: &Host, world: &mut World, record: MachineRecord) -> std::io::Result<()> {
    if let Some(volume) = record.volume().and_then(|id| world.volumes.get_mut(id)) {
        if volume.slot.is_none() {
            let directory = host.disk.volume_dir(&volume.volume.id);
            host.uids.give(&directory, record.slot)?;
            host.uids.give(&directory.join("data"), record.slot)?;
            volume.slot = Some(record.slot);
        }
        volume.volume.attached_machine_id = Some(record.id.clone());
        host.disk.save_volume(volume)?;
    }
    host.disk.save_machine(&record)?;
    world
        .machines
        .insert(record.id.clone(), MachineCell::new(record));
    Ok(())
}

pub(crate) async fn read(
    State(host): State<Arc<Host>>,
    Path((app, id)): Path<(String, String)>,
) -> Result<Json<Value>, Refused> {
    Ok(Json(host.world().machine(&app, &id)?.record.shown()))
}

pub(crate) async fn events(
    State(host): State<Arc<Host>>,
    Path((app, id)): Path<(String, String)>,
    Query(mut query): Query<BTreeMap<String, String>>,
) -> Result<Json<Value>, Refused> {
    let limit = query
        .remove("limit")
        .map_or(Ok(20), |limit| limit.parse::<usize>());
    let limit = limit.map_err(Refused::invalid)?.min(50);
    let mut world = host.world();
    let events = &world.machine(&app, &id)?.record.events;
    Ok(Json(json!(events.iter().take(limit).collect::<Vec<_>>())))
}

/// What the sandbox printed. The provider has no such call.
pub(crate) async fn logs(
    State(host): State<Arc<Host>>,
    Path((app, id)): Path<(String, String)>,
) -> Result<Vec<u8>, Refused> {
    host.world().machine(&app, &id)?;
    logs::read(&host.disk.machine_dir(&id)).map_err(|error| Refused::internal(&error))
}

pub(crate) async fn list(
    State(host): State<Arc<Host>>,
    struck: Option<Extension<Struck>>,
    Path(app): Path<String>,
    Query(mut query): Query<BTreeMap<String, String>>,
) -> Result<Page, Refused> {
    let filter = Filter::take(&mut query)?;
    let then = as_of(struck.as_ref());
    let world = host.world();
    world.app(&app)?;
    let machines = world.machines.values();
    let shown = machines
        .filter(|cell| cell.record.app == app)
        .filter_map(|cell| cell.record.as_of(then))
        .filter(|record| filter.admits(record));
    let entries: Vec<_> = shown
        .map(|record| (record.id.clone(), record.shown()))
        .collect();
    Page::cut(entries, filter.limit, filter.cursor.as_deref())
}

/// The moment that a list is about: now, unless it lags.
pub(crate) fn as_of(struck: Option<&Extension<Struck>>) -> DateTime<Utc> {
    let lag = super::struck(struck, FaultKind::Lagging).map(Fault::duration);
    clock::now() - lag.unwrap_or_default()
}

/// Which machines a list shows.
#[derive(Debug)]
pub(crate) struct Filter {
    include_deleted: bool,
    region: Option<String>,
    states: Option<Vec<String>>,
    metadata: BTreeMap<String, String>,
    pub(crate) limit: Option<usize>,
    pub(crate) cursor: Option<String>,
}

impl Filter {
    pub(crate) fn take(query: &mut BTreeMap<String, String>) -> Result<Self, Refused> {
        let states = query.remove("state");
        let limit = query.remove("limit").map(|limit| limit.parse()).transpose();
        let metadata = query.iter().filter_map(|(key, value)| {
            Some((key.strip_prefix("metadata.")?.to_owned(), value.clone()))
        });
        Ok(Self {
            metadata: metadata.collect(),
            include_deleted: query
                .remove("include_deleted")
                .is_some_and(|value| value == "true"),
            region: query.remove("region"),
            states: states.map(|states| states.split(',').map(str::to_owned).collect()),
            limit: limit.map_err(Refused::invalid)?,
            cursor: query.remove("cursor"),
        })
    }

    pub(crate) fn admits(&self, record: &MachineRecord) -> bool {
        let word = record.state.word();
        (self.include_deleted || record.state != state::State::Destroyed)
            && self
                .region
                .as_ref()
                .is_none_or(|region| *region == record.region)
            && self
                .states
                .as_ref()
                .is_none_or(|states| states.iter().any(|state| state == word))
            && record.has_metadata(&self.metadata)
    }
}
