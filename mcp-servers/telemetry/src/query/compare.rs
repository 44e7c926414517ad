//! The three comparisons: metrics, log templates and trace edges before and after an onset.

use chrono::{DateTime, TimeDelta, Utc};
use nightshift_protocol::tools::telemetry::{
    CompareArgs, LogTemplateDiff, MetricAnomalies, TraceEdgeDiff, Windows,
};

use super::{known_service, limit, metrics::LEAD};
use crate::{
    analysis::{anomalies, edges, log_diff, onset, operations, trace_tree::TraceTree},
    backend::Backend,
    model::Interval,
    question::{Answered, Asked, Unanswerable, ask, calculate},
    series::{Grid, derive},
};

/// Answers `rank_metric_anomalies`.
pub async fn metrics(
    backend: &dyn Backend,
    fired_at: DateTime<Utc>,
    args: CompareArgs,
) -> Result<Answered<MetricAnomalies>, Unanswerable> {
    let (asked, windows) = windows(backend, fired_at, &args).await?;
    let read = Interval {
        from: windows.before_from - LEAD,
        to: windows.after_to,
    };
    let mut raw = backend.metrics(read).await?;
    let topology = backend.topology(asked.interval).await?;
    calculate(move || {
        let services = raw.iter().map(|series| &*series.key.service);
        known_service(args.service.as_deref(), &topology, services)?;
        raw.retain(|series| {
            args.service
                .as_deref()
                .is_none_or(|it| *series.key.service == *it)
        });
        let grid = grid(&windows);
        let step_seconds = grid.step().as_seconds_f64();
        let (compared, mut anomalies) =
            anomalies::rank(&derive(&raw, &grid), &windows, step_seconds);
        let truncated = cut(&mut anomalies, &args);
        let compared = u64::try_from(compared).unwrap_or(u64::MAX);
        Ok(Answered {
            answer: MetricAnomalies {
                windows,
                compared,
                anomalies,
            },
            truncated,
        })
    })
    .await?
}

/// Answers `compare_log_templates`.
pub async fn log_templates(
    backend: &dyn Backend,
    fired_at: DateTime<Utc>,
    args: CompareArgs,
) -> Result<Answered<LogTemplateDiff>, Unanswerable> {
    let (asked, windows) = windows(backend, fired_at, &args).await?;
    let lines = backend.logs(asked.interval).await?;
    let topology = backend.topology(asked.interval).await?;
    calculate(move || {
        let wanted = args.service.as_deref();
        known_service(wanted, &topology, lines.iter().map(|line| &*line.service))?;
        let of_service = lines
            .iter()
            .filter(|line| wanted.is_none_or(|service| *line.service == *service));
        let (lines, mut templates) = log_diff::compare(of_service, &windows, &asked.covered);
        let truncated = cut(&mut templates, &args);
        Ok(Answered {
            answer: LogTemplateDiff {
                windows,
                lines,
                templates,
            },
            truncated,
        })
    })
    .await?
}

/// Answers `compare_trace_edges`.
pub async fn trace_edges(
    backend: &dyn Backend,
    fired_at: DateTime<Utc>,
    args: CompareArgs,
) -> Result<Answered<TraceEdgeDiff>, Unanswerable> {
    let (asked, windows) = windows(backend, fired_at, &args).await?;
    let spans = backend.spans(asked.interval).await?;
    let topology = backend.topology(asked.interval).await?;
    calculate(move || {
        let wanted = args.service.as_deref();
        known_service(wanted, &topology, spans.iter().map(|span| &*span.service))?;
        let tree = TraceTree::of(spans.iter());
        let mut edges = edges::compare(&tree, &windows);
        edges.retain(|edge| wanted.is_none_or(|it| edge.from == it || edge.to == it));
        let mut operations = operations::compare(&tree, &windows);
        operations.retain(|operation| wanted.is_none_or(|it| operation.service == it));
        let edges_cut = cut(&mut edges, &args);
        let truncated = cut(&mut operations, &args) || edges_cut;
        Ok(Answered {
            answer: TraceEdgeDiff {
                windows,
                edges,
                operations,
            },
            truncated,
        })
    })
    .await?
}

fn cut<T>(rows: &mut Vec<T>, args: &CompareArgs) -> bool {
    let most = limit(args.limit, 25, 100);
    let truncated = rows.len() > most;
    rows.truncate(most);
    truncated
}

/// What is compared: one unbroken stretch of telemetry, split at the onset.
async fn windows(
    backend: &dyn Backend,
    fired_at: DateTime<Utc>,
    args: &CompareArgs,
) -> Result<(Asked, Windows), Unanswerable> {
    let asked = ask(backend, args.range, fired_at)?;
    let stretch = asked.stretch_around(args.onset.unwrap_or(fired_at));
    let (onset, onset_estimated) = match args.onset {
        Some(onset) => (onset, false),
        None => (estimated_onset(backend, stretch, fired_at).await?, true),
    };
    let windows = Windows {
        before_from: stretch.from,
        onset,
        after_to: stretch.to,
        onset_estimated,
    };
    if onset <= stretch.from || onset >= stretch.to {
        return Err(Unanswerable::OnsetOutside {
            onset,
            range: stretch,
        });
    }
    Ok((asked, windows))
}

async fn estimated_onset(
    backend: &dyn Backend,
    stretch: Interval,
    fired_at: DateTime<Utc>,
) -> Result<DateTime<Utc>, Unanswerable> {
    let searched = onset::searched(stretch, fired_at);
    let spans = backend.spans(searched).await?;
    let lines = backend.logs(searched).await?;
    let noticed = move || onset::noticed(&onset::requests(&spans), lines.iter(), searched);
    if let Some(noticed) = calculate(noticed).await? {
        return Ok(noticed);
    }
    let raw = backend
        .metrics(Interval {
            from: searched.from - LEAD,
            to: searched.to,
        })
        .await?;
    let measured = move || {
        let grid = onset::metric_grid(searched);
        onset::measured(&derive(&raw, &grid), &grid)
    };
    Ok(calculate(measured)
        .await?
        .unwrap_or(onset::assumed(searched)))
}

/// Some 70 steps, at least four of them after the onset, none of which spans it.
fn grid(windows: &Windows) -> Grid {
    let before = windows.onset - windows.before_from;
    let after = windows.after_to - windows.onset;
    let step = ((before + after) / 70)
        .min(after / 4)
        .max(TimeDelta::seconds(5));
    let steps_before = before.num_milliseconds() / step.num_milliseconds();
    let from = windows.onset - step * i32::try_from(steps_before).unwrap_or(i32::MAX);
    Grid::new(
        Interval {
            from,
            to: windows.after_to,
        },
        step,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_step_spans_the_onset() {
        let at = |seconds| DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds);
        for onset in [100, 1333, 2070] {
            let windows = Windows {
                before_from: at(0),
                onset: at(onset),
                after_to: at(2100),
                onset_estimated: false,
            };
            let grid = grid(&windows);
            let step = grid.index(at(onset)).unwrap();
            assert_eq!(grid.time(step), at(onset));
            assert_eq!(
                grid.index(at(onset) - TimeDelta::milliseconds(1)),
                step.checked_sub(1)
            );
        }
    }
}
