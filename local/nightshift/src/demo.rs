//! One recorded incident from the signed alert to the report.

pub mod expected;
mod follow;
mod outcome;
pub mod recordings;

pub use follow::{Follower, follow};
pub use outcome::Outcome;

use anyhow::{Context, Result, bail};
use nightshift_domain::InvestigationId;
use nightshift_engine::{Clock, SystemClock};

use crate::{
    answer,
    checkout::Checkout,
    render::{Paint, Style, report},
    say,
    session::Session,
    up::{Interrupt, Size},
    webhook,
};
use expected::{Expected, found_line};

/// What the person asked for.
#[derive(Debug, Clone)]
pub struct Demo {
    /// Which recording; the first unless given.
    pub recording: Option<String>,
    /// One JSON object as the last line instead of the report.
    pub json: bool,
    /// Whether a stack of our own stays up afterwards, until Ctrl-C.
    pub keep: bool,
}

/// Runs the demo. `true` if the report names the cause that the recording has.
pub async fn run(checkout: &Checkout, demo: &Demo, size: Size) -> Result<bool> {
    let mut interrupted = Interrupt::new()?;
    let names = recordings::names(checkout)?;
    let name = recordings::choose(&names, demo.recording.as_deref())?;
    let session = tokio::select! {
        session = Session::any(checkout, size) => session?,
        () = interrupted.wait() => bail!("interrupted before an alert was sent; nothing was lost"),
    };
    let result = tokio::select! {
        outcome = investigate(checkout, &session, &name, demo) => outcome,
        () = interrupted.wait() => Err(anyhow::anyhow!(
            "interrupted; what was accepted is kept and goes on at the next start of the stack"
        )),
    };
    if demo.json
        && let Ok(outcome) = &result
    {
        answer(&serde_json::to_string(outcome)?);
    }
    if demo.keep && result.is_ok() && session.is_own() {
        say("the stack stays up (--keep); .local/stack.json says where. Ctrl-C ends it");
        interrupted.wait().await;
    }
    session.end().await?;
    Ok(result?.correct)
}

async fn investigate(
    checkout: &Checkout,
    session: &Session,
    name: &str,
    demo: &Demo,
) -> Result<Outcome> {
    let alert = recordings::alert(checkout, name)?;
    let expected: Expected = recordings::read(&checkout.expected(name))?;
    session.wait_for_pool().await?;
    let follower = Follower::new(demo.json);
    follower.line(&format!("recording {name}: {}", alert.title));
    let id = send(session, &alert).await?;
    follower.line(&format!("PagerDuty webhook accepted: {id}"));
    follow(&session.api, id, &follower).await?;
    let investigation = session.api.investigation(id).await?;
    let found = investigation.report.clone().with_context(|| {
        format!(
            "{id} ended without a report: it is {} ({}); `nightshift investigations show {id}` \
             has its events and .local/logs the rest",
            investigation.state,
            investigation.reason.as_deref().unwrap_or("no reason given"),
        )
    })?;
    let outcome = Outcome::of(&investigation, found, expected);
    if !demo.json {
        show(&outcome);
    }
    Ok(outcome)
}

async fn send(session: &Session, alert: &webhook::RecordedAlert) -> Result<InvestigationId> {
    let endpoint = session.file.endpoint("pagerduty")?;
    let fresh = || uuid::Uuid::new_v4().simple().to_string().to_uppercase();
    let body = webhook::pagerduty_body(alert, &fresh(), &fresh());
    let body = serde_json::to_vec(&body)?;
    let now = SystemClock.now();
    let accepted = webhook::post(session.api.http(), endpoint, body, now).await?;
    accepted.investigation.with_context(|| {
        format!(
            "the alert is kept, but it opened no investigation: {}",
            accepted.disposition
        )
    })
}

fn show(outcome: &Outcome) {
    let paint = Paint::for_stdout();
    answer(&report(&outcome.report, paint));
    let expected = format!("expected  {}", outcome.expected.line());
    let found = format!("found     {}", found_line(&outcome.report));
    answer(&paint.paint(Style::Heading, "SCORE"));
    answer(&format!("  {expected}\n  {found}"));
    let (style, verdict) = if outcome.correct {
        (Style::Good, "correct")
    } else {
        (Style::Bad, "not correct")
    };
    answer(&format!("  {}", paint.paint(style, verdict)));
}
