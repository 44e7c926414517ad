//! `/v1/orgs/ORG/machines` and `/v1/platform/regions`.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Extension, Json,
    extract::{Path, Query, State},
};
use serde_json::{Value, json};

use super::{
    Struck,
    machines::{Filter, as_of},
    page::Page,
};
use crate::{faults::FaultKind, host::Host, refused::Refused};

pub(crate) async fn machines(
    State(host): State<Arc<Host>>,
    struck: Option<Extension<Struck>>,
    Path(org): Path<String>,
    Query(mut query): Query<BTreeMap<String, String>>,
) -> Result<Json<Value>, Refused> {
    if org != host.config.org {
        return Err(Refused::not_found("organization"));
    }
    let by = struck.as_ref();
    if super::struck(by, FaultKind::ErrorRegions).is_some() {
        return Ok(Json(
            json!({ "machines": [], "error_regions": [host.config.region] }),
        ));
    }
    let filter = Filter::take(&mut query)?;
    let then = as_of(by);
    let world = host.world();
    let shown = world
        .machines
        .values()
        .filter_map(|cell| cell.record.as_of(then))
        .filter(|record| filter.admits(record));
    let entries: Vec<_> = shown
        .map(|record| (record.id.clone(), record.shown_in_org()))
        .collect();
    let page = Page::cut(entries, filter.limit, filter.cursor.as_deref())?;
    Ok(Json(json!({
        "machines": page.items,
        "error_regions": [],
        "next_cursor": page.next_cursor,
    })))
}

pub(crate) async fn regions(State(host): State<Arc<Host>>) -> Json<Value> {
    let region = &host.config.region;
    Json(json!({ "Regions": [{ "code": region, "name": region }], "nearest": region }))
}
