//! The shop as a live thing: it runs until Ctrl-C, and its faults can be switched from another terminal.

use std::{fs, path::Path, sync::Arc};

use anyhow::{Context, bail};
use axum::{
    Router,
    extract::{Path as UrlPath, State},
    routing::post,
};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::Mutex,
};

use super::{
    SERVICES, VISITS,
    history::{Edit, Plan},
    http::Http,
    run::Run,
    scenario::{Cause, SCENARIOS},
    sources::SOURCES,
};
use crate::{acmepay::Behaviour, clock, progress::say, recording::write_json};

/// Runs the shop in `dir` until Ctrl-C.
pub async fn up(dir: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(dir)?;
    let dir = fs::canonicalize(dir)?;
    let mut run = Run::start(&dir, 1.0).await?;
    for service in SERVICES {
        run.deploy(service).await?;
    }
    run.fleet.admit(VISITS)?;
    let control = TcpListener::bind("127.0.0.1:0").await?;
    let state = json!({
        "frontend": format!("http://{}", run.fleet.address("frontend")),
        "control": format!("http://{}", control.local_addr()?),
        "telemetry": run.fleet.telemetry_dir(),
    });
    write_json(&dir.join("shop.json"), &state)?;
    say(&format!("the shop is open: {state}"));
    let run = Arc::new(Mutex::new(run));
    let switches = Router::new()
        .route("/faults/{name}/{switch}", post(switch))
        .with_state(Arc::clone(&run));
    tokio::select! {
        served = axum::serve(control, switches).into_future() => served?,
        () = interrupted() => {}
    }
    say("closing the shop");
    fs::remove_file(dir.join("shop.json"))?;
    match Arc::try_unwrap(run) {
        Ok(run) => Ok(run.into_inner().fleet.stop().await?),
        Err(_busy) => bail!("a switch was still being turned; processes end with us"),
    }
}

/// Returns when somebody wants us to stop: Ctrl-C or SIGTERM.
pub async fn interrupted() {
    let Ok(mut asked) = signal(SignalKind::terminate()) else {
        return;
    };
    tokio::select! {
        _ = asked.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

/// Asks the shop that runs in `dir` to switch a fault.
pub async fn fault(dir: &Path, name: &str, on: bool) -> anyhow::Result<()> {
    let state = dir.join("shop.json");
    let text = fs::read(&state).with_context(|| {
        format!(
            "no shop runs in {}: start one with `shop up`",
            dir.display()
        )
    })?;
    let state: Value = serde_json::from_slice(&text)?;
    let control = state["control"]
        .as_str()
        .context("shop.json has no `control`")?;
    let switch = if on { "on" } else { "off" };
    Http::default()
        .post(&format!("{control}/faults/{name}/{switch}"), &json!({}))
        .await?;
    Ok(())
}

async fn switch(
    State(run): State<Arc<Mutex<Run>>>,
    UrlPath((name, switch)): UrlPath<(String, String)>,
) -> Result<(), (http::StatusCode, String)> {
    let failed =
        |error: anyhow::Error| (http::StatusCode::UNPROCESSABLE_ENTITY, format!("{error:#}"));
    run.lock()
        .await
        .switch(&name, switch == "on")
        .await
        .map_err(failed)
}

impl Run {
    async fn switch(&mut self, name: &str, on: bool) -> anyhow::Result<()> {
        let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name);
        let Some(scenario) = scenario else {
            bail!("no fault {name}: `shop record --list` names them");
        };
        let (plan, service) = match scenario.cause {
            Cause::Provider => {
                let behaviour = if on {
                    Behaviour::OUTAGE
                } else {
                    Behaviour::HEALTHY
                };
                return Ok(self.fleet.provider(behaviour).await?);
            }
            Cause::Commit { plan, service, .. } => (plan, service),
        };
        if on {
            self.history.commit(plan, clock::now()).await?;
        } else {
            let Some(Edit::Source { file, .. }) = plan.edits.first() else {
                bail!("{name} cannot be taken back");
            };
            let source = SOURCES.iter().find(|source| source.file == *file);
            let first = source.map_or("", |source| source.texts[0].0);
            let message = format!("Revert \"{}\"", plan.message);
            let edits = [Edit::Source { file, name: first }];
            let back = Plan {
                author: plan.author,
                message: &message,
                edits: &edits,
            };
            self.history.commit(&back, clock::now()).await?;
        }
        self.deploy(service).await
    }
}
