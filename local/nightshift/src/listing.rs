//! Small looks at a running stack, as tables of 80 columns or as JSON.

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use nightshift_domain::InvestigationId;
use nightshift_engine::{Clock, SystemClock};
use serde_json::Value;

use crate::{
    answer,
    api::Api,
    demo::{Follower, follow},
    render::{Paint, Table, report},
    session::Session,
    webhook,
};

/// Rows that a listing shows, the newest; the API has the pages after them.
const MOST: usize = 50;

/// Investigations, newest first.
pub async fn investigations(api: &Api, state: Option<&str>, json: bool) -> Result<()> {
    let filter: Vec<(&str, &str)> = state.map(|state| ("state", state)).into_iter().collect();
    let items = api.list("/v1/investigations", &filter, MOST).await?;
    let mut table = Table::new(["investigation", "state", "since", "alert"]);
    for item in &items {
        table.row(&[
            text(item, "id"),
            text(item, "state"),
            clock(item, "created_at"),
            text(item, "title"),
        ]);
    }
    show(json, &items, &table)
}

/// One investigation: its stages and its report.
pub async fn investigation(api: &Api, id: InvestigationId, json: bool) -> Result<()> {
    if json {
        let whole: Value = api.ask(&format!("/v1/investigations/{id}"), &[]).await?;
        answer(&serde_json::to_string(&whole)?);
        return Ok(());
    }
    let found = api.investigation(id).await?;
    answer(&format!("{id} is {}", found.state));
    if let Some(reason) = &found.reason {
        answer(&format!("because {}", crate::render::clean(reason)));
    }
    if let Some(place) = found.waiting_place {
        answer(&format!("waiting for a sandbox, place {place}"));
    }
    let mut stages: Vec<_> = found.timings.iter().collect();
    stages.sort_by_key(|(_, ms)| **ms);
    for (kind, ms) in stages {
        answer(&format!("{ms:>7} ms  {kind}"));
    }
    if let Some(found) = &found.report {
        answer(&report(found, Paint::for_stdout()));
    }
    Ok(())
}

/// Follows an investigation until its report.
pub async fn follow_one(api: &Api, id: InvestigationId, json: bool) -> Result<()> {
    follow(api, id, &Follower::new(json)).await?;
    investigation(api, id, json).await
}

/// Sandboxes that exist, newest first.
pub async fn sandboxes(api: &Api, json: bool) -> Result<()> {
    let items = api.list("/v1/sandboxes", &[], MOST).await?;
    let mut table = Table::new(["sandbox", "state", "epoch", "investigation"]);
    for item in &items {
        table.row(&[
            text(item, "id"),
            text(item, "state"),
            text(item, "epoch"),
            text(item, "investigation"),
        ]);
    }
    show(json, &items, &table)
}

/// Pools and who waits.
pub async fn pool(api: &Api, json: bool) -> Result<()> {
    let items = api.list("/v1/pool", &[], MOST).await?;
    let mut table = Table::new([
        "pool", "target", "ready", "coming", "claimed", "retiring", "waiting",
    ]);
    let mut why = Vec::new();
    for item in &items {
        why.extend(reasons(item));
        let number = |name: &str| item[name].as_i64().unwrap_or(0);
        table.row(&[
            text(item, "name"),
            text(&item["supply"], "target"),
            text(item, "ready"),
            (number("planned") + number("provisioning")).to_string(),
            text(item, "claimed"),
            text(item, "retiring"),
            text(item, "waiting"),
        ]);
    }
    show(json, &items, &table)?;
    if !json {
        for line in why {
            answer(&line);
        }
    }
    Ok(())
}

/// Why a pool's target is what it is, and what holds its supply up, a line each.
fn reasons(pool: &Value) -> Vec<String> {
    let (name, supply) = (text(pool, "name"), &pool["supply"]);
    let mut lines = Vec::new();
    if let (Some(claims), Some(provision)) = (
        supply["claims_per_s"].as_f64(),
        supply["provision_s"].as_f64(),
    ) {
        let floor = text(pool, "target_ready");
        lines.push(format!(
            "{name}: floor {floor}, {claims:.2} claims a second, {provision:.1} s to make one"
        ));
    }
    if supply["ready_of_other_images"].as_i64().unwrap_or(0) > 0 {
        let others = text(supply, "ready_of_other_images");
        lines.push(format!(
            "{name}: {others} ready of an image that is being replaced"
        ));
    }
    if !supply["paused_until"].is_null() {
        let until = clock(supply, "paused_until");
        lines.push(format!(
            "{name}: the provider asked to be left alone until {until}"
        ));
    }
    let breakers = supply["breakers"].as_array().map_or(&[][..], Vec::as_slice);
    for breaker in breakers.iter().filter(|one| one["state"] != "closed") {
        lines.push(crate::render::clean(&format!(
            "{name}: image {} is not made until {}, {} of the last {} failed: {}",
            text(breaker, "generation"),
            clock(breaker, "until"),
            text(breaker, "recent").matches('x').count(),
            text(breaker, "recent").len(),
            text(breaker, "last_failure"),
        )));
    }
    lines
}

/// Steps that were given up.
pub async fn dead_letters(api: &Api, json: bool) -> Result<()> {
    let items = api.list("/v1/dead-letters", &[], MOST).await?;
    let mut table = Table::new(["id", "step", "given up", "tries", "last error"]);
    for item in &items {
        table.row(&[
            text(item, "id"),
            text(item, "kind"),
            clock(item, "dead_at"),
            text(item, "attempts"),
            text(item, "last_error"),
        ]);
    }
    show(json, &items, &table)
}

/// Sends steps that were given up on their way again: one, or every one that is listed now.
pub async fn redrive(api: &Api, id: Option<i64>) -> Result<()> {
    let ids: Vec<i64> = if let Some(id) = id {
        vec![id]
    } else {
        let items = api.list("/v1/dead-letters", &[], usize::MAX).await?;
        let listed = items.iter().filter_map(|item| item["id"].as_i64());
        listed.collect()
    };
    for id in &ids {
        api.tell(&format!("/v1/dead-letters/{id}/redrive")).await?;
    }
    answer(&match ids[..] {
        [one] => format!("step {one} is on its way again"),
        _ => format!("{} steps are on their way again", ids.len()),
    });
    Ok(())
}

/// Signs a body as a sender would and posts it.
pub async fn send(session: &Session, source: &str, body: Vec<u8>, json: bool) -> Result<()> {
    let endpoint = session.file.endpoint(source)?;
    let now = SystemClock.now();
    let accepted = webhook::post(session.api.http(), endpoint, body, now).await?;
    let id = accepted.investigation.map(|id| id.to_string());
    if json {
        let whole = serde_json::json!({
            "disposition": accepted.disposition, "investigation": id,
        });
        answer(&whole.to_string());
    } else {
        let id = id.unwrap_or_else(|| "no investigation".to_owned());
        answer(&format!("{}: {id}", accepted.disposition));
    }
    Ok(())
}

fn show(json: bool, items: &[Value], table: &Table) -> Result<()> {
    if json {
        answer(&serde_json::to_string(items).context("the answer is not JSON")?);
    } else {
        answer(table.show(Paint::for_stdout()).trim_end());
    }
    Ok(())
}

fn text(item: &Value, name: &str) -> String {
    match &item[name] {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            item[name].to_string()
        }
    }
}

fn clock(item: &Value, name: &str) -> String {
    let at: Option<DateTime<Utc>> = item[name].as_str().and_then(|at| at.parse().ok());
    at.map_or_else(
        || "-".to_owned(),
        |at| at.format("%m-%d %H:%M:%S").to_string(),
    )
}
