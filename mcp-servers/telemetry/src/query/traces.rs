//! `query_traces`: the slowest traces that match, folded.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use nightshift_protocol::tools::telemetry::{QueryTracesArgs, Trace, Traces};

use super::{fold::fold, known_service, limit};
use crate::{
    analysis::trace_tree::TraceTree,
    backend::Backend,
    model::{Batch, Interval, Span},
    question::{Answered, Unanswerable, ask, calculate},
    stats::{number_u64, rounded},
};

/// Read around the range, so that traces at its edges are whole.
const MARGIN: TimeDelta = TimeDelta::minutes(1);

/// Answers `query_traces`.
pub async fn answer(
    backend: &dyn Backend,
    fired_at: DateTime<Utc>,
    args: QueryTracesArgs,
) -> Result<Answered<Traces>, Unanswerable> {
    let asked = ask(backend, args.range, fired_at)?;
    let spans = backend.spans(asked.interval.widened(MARGIN)).await?;
    let topology = backend.topology(asked.interval).await?;
    calculate(move || {
        known_service(
            args.service.as_deref(),
            &topology,
            spans.iter().map(|span| &*span.service),
        )?;
        select(&spans, asked.interval, &args)
    })
    .await?
}

/// The spans of one trace in order of their start.
struct Candidate<'a> {
    spans: Vec<&'a Span>,
    duration_us: u64,
}

fn select(
    spans: &Batch<Span>,
    interval: Interval,
    args: &QueryTracesArgs,
) -> Result<Answered<Traces>, Unanswerable> {
    let mut traces: HashMap<&str, Vec<&Span>> = HashMap::new();
    for span in spans.iter() {
        if args
            .trace_id
            .as_deref()
            .is_none_or(|id| *span.trace_id == *id)
        {
            traces.entry(&span.trace_id).or_default().push(span);
        }
    }
    if let (Some(id), true) = (&args.trace_id, traces.is_empty()) {
        let close = Vec::new();
        return Err(Unanswerable::Unknown {
            what: "trace",
            asked: id.clone(),
            close,
        });
    }
    let mut matching: Vec<Candidate<'_>> = traces
        .into_values()
        .map(|mut spans| {
            spans.sort_by_key(|span| span.start);
            Candidate {
                duration_us: duration_us(&spans),
                spans,
            }
        })
        .filter(|trace| args.trace_id.is_some() || interval.contains(trace.spans[0].start))
        .filter(|trace| wanted(trace, args))
        .collect();
    matching.sort_by(|a, b| {
        let identity =
            |trace: &Candidate<'_>| (trace.spans[0].start, trace.spans[0].trace_id.clone());
        b.duration_us
            .cmp(&a.duration_us)
            .then_with(|| identity(a).cmp(&identity(b)))
    });
    let shown = limit(args.limit, 5, 20);
    let mut truncated = matching.len() > shown;
    let answer = Traces {
        matched: u64::try_from(matching.len()).unwrap_or(u64::MAX),
        traces: matching
            .iter()
            .take(shown)
            .map(|trace| show(trace, &mut truncated))
            .collect(),
    };
    Ok(Answered { answer, truncated })
}

/// How long the root took; without a root, from the first start to the last end.
fn duration_us(spans: &[&Span]) -> u64 {
    if let Some(root) = spans.iter().find(|span| span.parent_id.is_none()) {
        return root.duration_us;
    }
    let since_first = |span: &&Span| {
        let offset = (span.start - spans[0].start)
            .num_microseconds()
            .unwrap_or(0);
        u64::try_from(offset).unwrap_or(0) + span.duration_us
    };
    spans.iter().map(since_first).max().unwrap_or(0)
}

fn wanted(trace: &Candidate<'_>, args: &QueryTracesArgs) -> bool {
    let any = |matches: &dyn Fn(&Span) -> bool| trace.spans.iter().any(|span| matches(span));
    args.min_duration_ms
        .is_none_or(|ms| trace.duration_us >= ms.saturating_mul(1000))
        && (args.errors_only != Some(true) || any(&|span| span.failed))
        && args
            .service
            .as_deref()
            .is_none_or(|name| any(&|span| *span.service == *name))
        && args
            .operation
            .as_deref()
            .is_none_or(|text| any(&|span| span.operation.contains(text)))
}

fn show(trace: &Candidate<'_>, truncated: &mut bool) -> Trace {
    let tree = TraceTree::of(trace.spans.iter().copied());
    let (spans, cut) = fold(&tree);
    *truncated |= cut;
    Trace {
        trace_id: trace.spans[0].trace_id.to_string(),
        start: trace.spans[0].start,
        duration_ms: rounded(number_u64(trace.duration_us) / 1000.0),
        spans,
    }
}
