//! `/status`: which bounds machines have on this host, and how much of what may exist does.

use std::sync::Arc;

use axum::{Json, Router, extract::State, routing::get};
use serde_json::{Value, json};

use crate::{
    backend::BackendName,
    cgroups::{Cgroups, Version},
    host::Host,
    sandbox::UidPolicy,
    volumes::VolumePolicy,
};

/// What machines can have on this host, found out by trying: `cgroups` and `uids`, as in `/status`.
#[must_use]
pub fn probe(backend: BackendName) -> Value {
    if backend == BackendName::Qemu {
        // A kernel of its own has both, whatever ours has.
        return json!({ "cgroups": { "version": Version::Two.name() }, "uids": UidPolicy::Range.name() });
    }
    let version = Cgroups::probe();
    let version = version.as_ref().map(|&version| version);
    json!({
        "cgroups": groups(version.map_err(String::as_str)),
        "uids": UidPolicy::detect().name(),
    })
}

/// The path.
pub(crate) fn routes() -> Router<Arc<Host>> {
    Router::new().route("/status", get(status))
}

async fn status(State(host): State<Arc<Host>>) -> Json<Value> {
    let config = &host.config;
    let volumes = match &host.volumes {
        VolumePolicy::FileSystem => json!({ "bounded": "file system" }),
        VolumePolicy::Watched { why } => json!({ "bounded": "watched", "why": why }),
    };
    let world = host.world();
    let machines = world.machines.values();
    let kept = world.volumes.values();
    let of = |used: usize, most: usize| json!({ "used": used, "most": most });
    Json(json!({
        "backend": host.backend.name(),
        "accelerator": host.backend.accelerator(),
        "cgroups": groups(host.cgroups.version()),
        "uids": host.uid_map(),
        "volume_size": volumes,
        "ttl_seconds": config.ttl.as_secs(),
        "apps": of(world.apps.len(), config.max_apps),
        "volumes": of(kept.filter(|one| !one.volume.state.is_leaving()).count(), config.max_volumes),
        "machines": of(machines.clone().filter(|cell| cell.exists()).count(), config.max_machines),
        "running": machines.filter(|cell| cell.live.is_some()).count(),
    }))
}

fn groups(version: Result<Version, &str>) -> Value {
    match version {
        Ok(version) => json!({ "version": version.name() }),
        Err(why) => json!({ "version": null, "why": why }),
    }
}
