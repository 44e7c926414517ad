//! Progress of an investigation, one line a stage, as it happens.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, bail};
use chrono::{DateTime, Utc};
use nightshift_domain::InvestigationId;

use crate::{
    answer,
    api::{Api, Event},
    render::{Paint, Style, clean},
    say,
};

/// How long an investigation may stay silent until we stop watching it.
const PATIENCE: Duration = Duration::from_mins(5);
/// How many requests for news may fail one after the other.
const MOST_FAILURES: u32 = 5;

/// Where progress goes.
#[derive(Debug, Clone, Copy)]
pub struct Follower {
    to_stderr: bool,
    paint: Paint,
}

/// What was told so far.
#[derive(Debug, Default)]
struct Seen {
    accepted_at: Option<DateTime<Utc>>,
    tools: BTreeMap<String, u32>,
    evidence: u32,
}

impl Follower {
    /// Progress on stderr where stdout is for JSON, else on stdout.
    #[must_use]
    pub fn new(json: bool) -> Self {
        let paint = if json {
            Paint::for_stderr()
        } else {
            Paint::for_stdout()
        };
        Self {
            to_stderr: json,
            paint,
        }
    }

    /// One line.
    pub fn line(self, text: &str) {
        let text = clean(text);
        let cut: String = text.chars().take(crate::render::WIDTH).collect();
        if self.to_stderr {
            say(&cut);
        } else {
            answer(&cut);
        }
    }

    fn stage(self, ms: i64, name: &str, detail: &str) {
        let at = format!("{ms:>7} ms  ");
        let room = crate::render::WIDTH - at.len();
        let text: String = format!("{name:<10} {}", clean(detail))
            .trim_end()
            .chars()
            .take(room)
            .collect();
        let at = self.paint.paint(Style::Dim, &at);
        if self.to_stderr {
            say(&format!("{at}{text}"));
        } else {
            answer(&format!("{at}{text}"));
        }
    }
}

/// Follows an investigation until it has reported or ended.
pub async fn follow(api: &Api, id: InvestigationId, follower: &Follower) -> Result<()> {
    let (mut seq, mut seen, mut failures) = (0, Seen::default(), 0);
    let mut heard = std::time::Instant::now();
    loop {
        let events = match api.events(id, seq).await {
            Ok(events) => {
                failures = 0;
                events
            }
            Err(error) if failures < MOST_FAILURES => {
                failures += 1;
                tracing::warn!(?error, "Asking for news failed");
                tokio::time::sleep(Duration::from_millis(500)).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        if !events.is_empty() {
            heard = std::time::Instant::now();
        }
        for event in events {
            seq = event.seq;
            if tell(*follower, &mut seen, &event) {
                return Ok(());
            }
        }
        if heard.elapsed() > PATIENCE {
            bail!(
                "{id} said nothing for {} minutes. The alert and all evidence are kept; \
                 `nightshift investigations show {id}` tells its state, .local/logs why",
                PATIENCE.as_secs() / 60
            );
        }
    }
}

/// Tells one event; whether it was the last that matters.
fn tell(follower: Follower, seen: &mut Seen, event: &Event) -> bool {
    let accepted_at = *seen.accepted_at.get_or_insert(event.at);
    let ms = (event.at - accepted_at).num_milliseconds();
    let word = |name: &str| event.detail[name].as_str().unwrap_or_default().to_owned();
    match event.kind.as_str() {
        "heartbeat" => {}
        "accepted" => follower.stage(
            ms,
            "accepted",
            "the alert is stored, a sandbox is asked for",
        ),
        "claimed" => follower.stage(ms, "claimed", "a ready sandbox is granted"),
        "started" => follower.stage(ms, "started", "its machine was told to start"),
        "attested" => follower.stage(ms, "attested", "it proved which machine it is"),
        "working" => {
            let detail = format!("first model request, answered by {}", word("provider"));
            follower.stage(ms, "working", &detail);
        }
        "evidence" => {
            let tool = word("tool");
            seen.evidence += 1;
            *seen.tools.entry(tool.clone()).or_default() += 1;
            follower.stage(ms, "evidence", &format!("{:>2}  {tool}", seen.evidence));
        }
        "reported" => {
            let detail = format!(
                "{} pieces of evidence, {} tools",
                seen.evidence,
                seen.tools.len()
            );
            follower.stage(ms, "reported", &detail);
            return true;
        }
        "failed" | "cancelled" => {
            follower.stage(ms, &event.kind, &word("reason"));
            return true;
        }
        other => follower.stage(ms, other, ""),
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, ms: i64) -> Event {
        Event {
            seq: ms,
            at: DateTime::UNIX_EPOCH + chrono::TimeDelta::milliseconds(ms),
            kind: kind.to_owned(),
            detail: serde_json::json!({"tool": "telemetry.query_logs"}),
        }
    }

    #[test]
    fn only_a_report_or_an_end_ends_the_watch() {
        let follower = Follower::new(true);
        let mut seen = Seen::default();
        for kind in [
            "accepted",
            "claimed",
            "evidence",
            "evidence",
            "heartbeat",
            "restarted",
        ] {
            assert!(!tell(follower, &mut seen, &event(kind, 1)), "{kind}");
        }
        assert_eq!((seen.evidence, seen.tools["telemetry.query_logs"]), (2, 2));
        for kind in ["reported", "failed", "cancelled"] {
            assert!(tell(follower, &mut seen, &event(kind, 2)), "{kind}");
        }
    }
}
