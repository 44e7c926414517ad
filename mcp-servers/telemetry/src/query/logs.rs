//! `query_logs`: the newest lines that match.

use chrono::{DateTime, Utc};
use nightshift_protocol::tools::telemetry::{LogLine, LogLines, QueryLogsArgs};
use serde_json::Value;

use super::{known_service, limit};
use crate::{
    backend::Backend,
    model::{Batch, Level, LogRecord},
    question::{Answered, Unanswerable, ask, calculate},
};

/// Characters of a message that are shown.
const MESSAGE_CHARS: usize = 2000;

/// Answers `query_logs`.
pub async fn answer(
    backend: &dyn Backend,
    fired_at: DateTime<Utc>,
    args: QueryLogsArgs,
) -> Result<Answered<LogLines>, Unanswerable> {
    let level = match &args.level {
        Some(text) => {
            Some(Level::parse(text).ok_or_else(|| Unanswerable::UnknownLevel(text.clone()))?)
        }
        None => None,
    };
    let asked = ask(backend, args.range, fired_at)?;
    let lines = backend.logs(asked.interval).await?;
    let topology = backend.topology(asked.interval).await?;
    calculate(move || {
        known_service(
            args.service.as_deref(),
            &topology,
            lines.iter().map(|line| &*line.service),
        )?;
        Ok(select(&lines, level, &args))
    })
    .await?
}

fn select(
    lines: &Batch<LogRecord>,
    level: Option<Level>,
    args: &QueryLogsArgs,
) -> Answered<LogLines> {
    let sought = args.contains.as_deref().map(Sought::new);
    let mut matching: Vec<&LogRecord> = lines
        .iter()
        .filter(|line| {
            args.service
                .as_deref()
                .is_none_or(|service| *line.service == *service)
                && level.is_none_or(|level| line.level >= level)
                && args
                    .trace_id
                    .as_deref()
                    .is_none_or(|id| line.trace_id.as_deref() == Some(id))
                && sought.as_ref().is_none_or(|sought| sought.is_in(line))
        })
        .collect();
    // Recordings may overlap, so their lines may interleave.
    matching.sort_by_key(|line| std::cmp::Reverse(line.at));
    let shown = limit(args.limit, 50, 200);
    let mut truncated = matching.len() > shown;
    let answer = LogLines {
        matched: u64::try_from(matching.len()).unwrap_or(u64::MAX),
        lines: matching
            .iter()
            .take(shown)
            .map(|line| show(line, &mut truncated))
            .collect(),
    };
    Answered { answer, truncated }
}

fn show(line: &LogRecord, truncated: &mut bool) -> LogLine {
    let message: String = line.message.chars().take(MESSAGE_CHARS).collect();
    *truncated |= message.len() < line.message.len();
    LogLine {
        at: line.at,
        service: line.service.to_string(),
        level: line.level.as_str().to_owned(),
        message,
        trace_id: line.trace_id.as_deref().map(str::to_owned),
        span_id: line.span_id.as_deref().map(str::to_owned),
        fields: line.fields.clone(),
    }
}

/// A text that is looked for whatever the case.
struct Sought {
    lower: String,
}

impl Sought {
    fn new(text: &str) -> Self {
        Self {
            lower: text.to_lowercase(),
        }
    }

    fn is_in(&self, line: &LogRecord) -> bool {
        self.is_in_text(&line.message)
            || line.fields.iter().any(|(name, value)| {
                self.is_in_text(name)
                    || match value {
                        Value::String(text) => self.is_in_text(text),
                        Value::Null
                        | Value::Bool(_)
                        | Value::Number(_)
                        | Value::Array(_)
                        | Value::Object(_) => self.is_in_text(&value.to_string()),
                    }
            })
    }

    fn is_in_text(&self, text: &str) -> bool {
        let sought = self.lower.as_bytes();
        if sought.is_ascii() && text.is_ascii() {
            return sought.is_empty()
                || text
                    .as_bytes()
                    .windows(sought.len())
                    .any(|part| part.eq_ignore_ascii_case(sought));
        }
        text.to_lowercase().contains(&self.lower)
    }
}

#[cfg(test)]
mod tests {
    use super::Sought;

    #[test]
    fn text_is_found_whatever_the_case_of_its_letters() {
        assert!(Sought::new("TIMED out").is_in_text("query Timed Out"));
        assert!(Sought::new("größe").is_in_text("falsche GRÖSSE, GRÖßE"));
        assert!(Sought::new("").is_in_text("anything"));
        assert!(!Sought::new("timeout").is_in_text("timed out"));
        assert!(!Sought::new("longer than the text").is_in_text("text"));
    }
}
