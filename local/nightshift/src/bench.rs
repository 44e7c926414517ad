//! How long it takes from an alert to a working agent, measured on a stack with a ready pool.

use anyhow::{Context, Result};
use nightshift_domain::InvestigationId;
use nightshift_engine::{Clock, SystemClock};
use nightshift_terminal::Percentiles;
use serde::Serialize;

use crate::{
    answer,
    checkout::Checkout,
    demo::recordings,
    render::{Paint, Table},
    say,
    session::Session,
    up::Size,
    webhook::{self, RecordedAlert},
};

/// What is measured: the event that ends each span, and its name in the JSON.
const STAGES: [(&str, &str); 5] = [
    ("claimed", "alert_to_claim_ms"),
    ("started", "alert_to_start_ms"),
    ("attested", "alert_to_attested_ms"),
    ("working", "alert_to_working_ms"),
    ("reported", "alert_to_report_ms"),
];

#[derive(Serialize)]
struct Figures {
    runs: usize,
    #[serde(flatten)]
    stages: std::collections::BTreeMap<&'static str, Percentiles>,
}

/// Runs `runs` alerts one after the other; each waits until the pool is ready again.
pub async fn dispatch(checkout: &Checkout, runs: usize, json: bool, size: Size) -> Result<()> {
    let session = Session::any(checkout, size).await?;
    let measured = measure(checkout, &session, runs).await;
    session.end().await?;
    let figures = measured?;
    let mut table = Table::new(["ms", "p50", "p90", "p99", "max"]);
    for (_, name) in STAGES {
        if let Some(found) = figures.stages.get(name) {
            let name = name.trim_end_matches("_ms").replace('_', " ");
            let value = |value: f64| format!("{value:.0}");
            table.row(&[
                name,
                value(found.p50),
                value(found.p90),
                value(found.p99),
                value(found.max),
            ]);
        }
    }
    answer(table.show(Paint::for_stdout()).trim_end());
    if json {
        answer(&serde_json::to_string(&figures)?);
    }
    Ok(())
}

async fn measure(checkout: &Checkout, session: &Session, runs: usize) -> Result<Figures> {
    let name = recordings::choose(&recordings::names(checkout)?, None)?;
    let alert = recordings::alert(checkout, &name)?;
    let mut spans: Vec<Vec<f64>> = vec![Vec::new(); STAGES.len()];
    for run in 1..=runs {
        session.wait_for_pool().await?;
        let id = one(session, &alert).await?;
        let found = session.api.investigation(id).await?;
        for ((kind, _), values) in STAGES.iter().zip(&mut spans) {
            let ms = found
                .after(kind)
                .with_context(|| format!("{id} is {} and was never {kind}", found.state))?;
            values.push(f64::from(i32::try_from(ms)?));
        }
        let working = spans.get(3).and_then(|values| values.last());
        say(&format!(
            "run {run} of {runs}: working after {} ms",
            working.unwrap_or(&0.0)
        ));
    }
    let stages = STAGES
        .iter()
        .zip(&spans)
        .filter_map(|((_, name), values)| Some((*name, Percentiles::of(values)?)))
        .collect();
    Ok(Figures { runs, stages })
}

/// One alert until its report.
async fn one(session: &Session, alert: &RecordedAlert) -> Result<InvestigationId> {
    let fresh = || uuid::Uuid::new_v4().simple().to_string().to_uppercase();
    let body = webhook::pagerduty_body(alert, &fresh(), &fresh());
    let endpoint = session.file.endpoint("pagerduty")?;
    let now = SystemClock.now();
    let body = serde_json::to_vec(&body)?;
    let accepted = webhook::post(session.api.http(), endpoint, body, now).await?;
    let id = accepted
        .investigation
        .context("the alert opened no investigation")?;
    let (mut seq, mut over) = (0, false);
    while !over {
        for event in session.api.events(id, seq).await? {
            seq = event.seq;
            over |= matches!(event.kind.as_str(), "reported" | "failed" | "cancelled");
        }
    }
    Ok(id)
}
