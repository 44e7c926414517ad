//! Takes one tool answer into the notes, keeping the part that matters.

use nightshift_domain::EvidenceId;
use nightshift_protocol::tools::{
    Observed,
    casebook::ReportAccepted,
    codebase::{CodeMatches, Commit, Commits, FileText},
    telemetry::{
        LogLines, LogTemplateDiff, MetricAnomalies, MetricSeries, Services, TraceEdgeDiff, Traces,
    },
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    diff, flags,
    measure::{Measure, measure},
    notes::{Asked, GuardSeen, LineSeen, Notes, Seen, SeriesSeen, TraceSeen},
    number::rounded,
    shape::shape,
    transcript::Exchange,
    words::short,
};

/// How a call is remembered.
pub(crate) fn key(tool: &str, args: &Value) -> String {
    // A report is long, and there is only one.
    if tool.ends_with("submit_report") {
        return tool.to_owned();
    }
    format!("{tool} {args}")
}

/// Takes an answer in.
pub(crate) fn fold(notes: &mut Notes, exchange: &Exchange<'_>) {
    let key = key(exchange.tool, exchange.args);
    let read = exchange
        .result
        .filter(|_| !exchange.failed)
        .and_then(|text| take(notes, exchange, text));
    let state = match (read, notes.asked.get(&key)) {
        (Some(()), _) | (None, Some(Asked::Answered)) => Asked::Answered,
        (None, None) => Asked::FailedOnce,
        (None, Some(Asked::FailedOnce | Asked::Unavailable)) => Asked::Unavailable,
    };
    notes.asked.insert(key, state);
}

fn take(notes: &mut Notes, exchange: &Exchange<'_>, text: &str) -> Option<()> {
    let tool = exchange
        .tool
        .split_once('_')
        .map_or(exchange.tool, |(_, tool)| tool);
    match tool {
        "read_alert" => notes.alert = Some(alert(seen(text)?)),
        "list_related_alerts" => notes.related = Some(related(seen(text)?)),
        "read_runbook" => {
            let mut book: Seen<nightshift_protocol::tools::casebook::Runbook> = seen(text)?;
            book.got.text = short(&book.got.text, 500);
            notes.runbook = Some(book);
        }
        "list_services" => notes.services = Some(services(seen(text)?)),
        "rank_metric_anomalies" => notes.metrics = Some(anomalies(seen(text)?)),
        "compare_log_templates" => notes.logs = Some(templates(seen(text)?)),
        "compare_trace_edges" => notes.traces = Some(edges(seen(text)?)),
        "list_deploys" => notes.deploys = Some(seen(text)?),
        "list_flags" => notes.flags = Some(seen(text)?),
        "list_commits" => notes.commits = Some(commits(seen(text)?)),
        "read_commit" => commit(notes, &seen(text)?),
        "query_metrics" => series(notes, seen(text)?),
        "query_logs" => lines(notes, seen(text)?),
        "query_traces" => requests(notes, seen(text)?),
        "search_code" => guards(notes, exchange.args, seen(text)?),
        "read_file" => guarded(notes, seen(text)?),
        "submit_report" => notes.accepted = Some(json::<ReportAccepted>(text)?),
        _ => {}
    }
    Some(())
}

/// The JSON in a tool answer, whatever words stand around it.
fn json<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str(text).ok().or_else(|| {
        let from = text.find('{')?;
        let to = text.rfind('}')?;
        serde_json::from_str(text.get(from..=to)?).ok()
    })
}

fn seen<T: DeserializeOwned>(text: &str) -> Option<Seen<T>> {
    json::<Observed<T>>(text).map(Seen::new)
}

fn alert(
    mut seen: Seen<nightshift_protocol::tools::casebook::AlertView>,
) -> Seen<nightshift_protocol::tools::casebook::AlertView> {
    seen.got.details = Value::String(short(&seen.got.details.to_string(), 600));
    seen
}

fn related(
    mut seen: Seen<nightshift_protocol::tools::casebook::RelatedAlerts>,
) -> Seen<nightshift_protocol::tools::casebook::RelatedAlerts> {
    seen.got.alerts.truncate(12);
    for alert in &mut seen.got.alerts {
        alert.details = Value::Null;
        alert.title = short(&alert.title, 120);
    }
    seen
}

fn services(mut seen: Seen<Services>) -> Seen<Services> {
    for service in &mut seen.got.services {
        service
            .metrics
            .retain(|metric| measure(metric, &std::collections::BTreeMap::new()) != Measure::Other);
        service.metrics.truncate(16);
    }
    seen
}

/// Keeps what changed clearly, and always what is limited, waited for or demanded.
fn anomalies(mut seen: Seen<MetricAnomalies>) -> Seen<MetricAnomalies> {
    let mut kept = 0;
    seen.got.anomalies.retain_mut(|anomaly| {
        let telling = matches!(
            measure(&anomaly.metric, &anomaly.labels),
            Measure::Level
                | Measure::Waiting
                | Measure::Limit
                | Measure::Demand
                | Measure::CacheHits
        );
        let changed = anomaly.score.abs() >= 2.0;
        let keep = changed && (kept < 30 || (telling && kept < 50));
        if keep {
            kept += 1;
            for value in [
                &mut anomaly.before,
                &mut anomaly.spread,
                &mut anomaly.after,
                &mut anomaly.extreme,
                &mut anomaly.score,
            ] {
                *value = rounded(*value);
            }
        }
        keep
    });
    seen
}

fn templates(mut seen: Seen<LogTemplateDiff>) -> Seen<LogTemplateDiff> {
    let mut calm = 0;
    seen.got.templates.retain_mut(|line| {
        line.template = short(&line.template, 160);
        line.sample = short(&line.sample, 200);
        line.trace_ids.truncate(1);
        line.before_per_minute = rounded(line.before_per_minute);
        line.after_per_minute = rounded(line.after_per_minute);
        let complains = matches!(line.level.as_str(), "warn" | "error" | "fatal" | "critical");
        calm += usize::from(!complains);
        complains || calm <= 6
    });
    seen.got.templates.truncate(24);
    seen
}

fn edges(mut seen: Seen<TraceEdgeDiff>) -> Seen<TraceEdgeDiff> {
    seen.got.edges.truncate(30);
    seen.got.operations.truncate(36);
    for edge in &mut seen.got.edges {
        for stats in [&mut edge.before, &mut edge.after] {
            stats.calls_per_request = rounded(stats.calls_per_request);
            stats.error_share = rounded(stats.error_share);
            stats.p50_ms = rounded(stats.p50_ms);
            stats.p95_ms = rounded(stats.p95_ms);
            stats.gap_p50_ms = stats.gap_p50_ms.map(rounded);
        }
    }
    for operation in &mut seen.got.operations {
        for stats in [&mut operation.before, &mut operation.after] {
            stats.error_share = rounded(stats.error_share);
            stats.p50_ms = rounded(stats.p50_ms);
            stats.p95_ms = rounded(stats.p95_ms);
            stats.self_p50_ms = rounded(stats.self_p50_ms);
            stats.self_p95_ms = rounded(stats.self_p95_ms);
        }
    }
    seen
}

fn commits(mut seen: Seen<Commits>) -> Seen<Commits> {
    seen.got.commits.truncate(60);
    for commit in &mut seen.got.commits {
        commit.message = short(&commit.message, 80);
        commit.paths.truncate(3);
    }
    seen
}

fn commit(notes: &mut Notes, seen: &Seen<Commit>) {
    let reading = diff::read(seen.ev, &seen.got);
    notes.diffs.retain(|known| known.commit != reading.commit);
    notes.diffs.push(reading);
}

fn series(notes: &mut Notes, seen: Seen<MetricSeries>) {
    for series in seen.got.series {
        let most = series
            .points
            .iter()
            .map(|point| point.1)
            .fold(f64::MIN, f64::max);
        if series.points.is_empty() {
            continue;
        }
        notes.series.push(SeriesSeen {
            ev: seen.ev,
            shape: shape(&series.points),
            service: series.service,
            metric: series.metric,
            most: rounded(most),
        });
    }
    notes.series.truncate(40);
}

fn lines(notes: &mut Notes, seen: Seen<LogLines>) {
    let matched = seen.got.matched;
    if let Some(line) = seen.got.lines.into_iter().next() {
        notes.lines.push(LineSeen {
            ev: seen.ev,
            service: line.service,
            at: line.at,
            message: short(&line.message, 200),
            matched,
        });
    }
}

/// Keeps the slowest request and its most telling span: repeated, failed, or else the longest below
/// the root.
fn requests(notes: &mut Notes, seen: Seen<Traces>) {
    let Some(trace) = seen.got.traces.into_iter().next() else {
        return;
    };
    let telling = trace
        .spans
        .iter()
        .filter(|span| span.depth > 0)
        .max_by(|a, b| {
            let weight = |span: &nightshift_protocol::tools::telemetry::TraceSpan| {
                let repeated = if span.count >= 4 { 2_u8 } else { 0 };
                (repeated + u8::from(span.errors > 0), span.duration_ms)
            };
            weight(a)
                .partial_cmp(&weight(b))
                .unwrap_or(std::cmp::Ordering::Equal)
        });
    let shows = telling
        .or(trace.spans.first())
        .map_or_else(String::new, |span| {
            let to = span
                .peer
                .as_ref()
                .map(|peer| format!(" to {peer}"))
                .unwrap_or_default();
            let failed = if span.errors > 0 {
                format!(", {} failed", span.errors)
            } else {
                String::new()
            };
            format!(
                "{} {}{to}: {} call(s), {} in all{failed}",
                span.service,
                short(&span.operation, 60),
                span.count,
                super::number::millis(span.duration_ms)
            )
        });
    notes.requests.push(TraceSeen {
        ev: seen.ev,
        trace_id: trace.trace_id,
        duration_ms: rounded(trace.duration_ms),
        shows,
    });
}

fn guards(notes: &mut Notes, args: &Value, seen: Seen<CodeMatches>) {
    let Some(flag) = args.get("pattern").and_then(Value::as_str) else {
        return;
    };
    let places = seen
        .got
        .matches
        .into_iter()
        .map(|place| (place.path, place.line))
        .take(4)
        .collect();
    notes.guards.push(GuardSeen {
        ev: seen.ev,
        flag: flag.replace('\\', ""),
        places,
    });
}

/// Reads the code behind a flag as if it were added when the flag was switched.
fn guarded(notes: &mut Notes, seen: Seen<FileText>) {
    let FileText { path, text, .. } = seen.got;
    let Some(flag) = notes
        .guards
        .iter()
        .find(|guard| guard.places.iter().any(|(known, _)| *known == path))
        .map(|guard| guard.flag.clone())
    else {
        return;
    };
    let patch = behind(&text, &flag);
    let at = notes
        .flags
        .iter()
        .flat_map(|flags| &flags.got.changes)
        .find(|change| change.flag == flag)
        .map_or(chrono::DateTime::UNIX_EPOCH, |change| change.at);
    let ev: EvidenceId = seen.ev;
    let reading = diff::read_text(ev, &flags::reading_name(&flag), &path, &patch, at);
    notes.diffs.retain(|known| known.commit != reading.commit);
    notes.diffs.push(reading);
}

/// The lines below the line that names the flag and inside its block, as added lines.
fn behind(text: &str, flag: &str) -> String {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let lines: Vec<&str> = text.lines().collect();
    let Some(at) = lines.iter().position(|line| line.contains(flag)) else {
        return String::new();
    };
    let depth = indent(lines[at]);
    lines[at + 1..]
        .iter()
        .take_while(|line| line.trim().is_empty() || indent(line) > depth)
        .flat_map(|line| ["+", line, "\n"])
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn exchange<'a>(args: &'a Value, result: Option<&'a str>, failed: bool) -> Exchange<'a> {
        Exchange {
            tool: "codebase_list_deploys",
            args,
            result,
            failed,
        }
    }

    #[test]
    fn a_call_that_fails_twice_is_not_asked_again() {
        let mut notes = Notes::default();
        let args = json!({});
        fold(&mut notes, &exchange(&args, Some("no"), true));
        assert_eq!(notes.asked["codebase_list_deploys {}"], Asked::FailedOnce);
        fold(&mut notes, &exchange(&args, None, false));
        assert_eq!(notes.asked["codebase_list_deploys {}"], Asked::Unavailable);
    }

    #[test]
    fn an_answer_between_other_words_is_read() {
        let mut notes = Notes::default();
        let args = json!({});
        let ev = EvidenceId::generate();
        let text = format!(
            "Untrusted data follows.\n{}\nEnd.",
            json!({ "evidence": ev, "truncated": false, "answer": { "deploys": [] } })
        );
        fold(&mut notes, &exchange(&args, Some(&text), false));
        assert_eq!(notes.deploys.map(|seen| seen.ev), Some(ev));
    }

    #[test]
    fn only_the_code_behind_a_flag_is_read() {
        let text = "fn a() {\n    if on(\"fast\") {\n        x();\n    }\n    y();\n}\n";
        assert_eq!(behind(text, "fast"), "+        x();\n");
    }
}
