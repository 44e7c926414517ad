//! What to ask next. Questions that do not depend on each other are asked in one turn.

use chrono::TimeDelta;
use nightshift_protocol::tools::{
    TimeRange,
    casebook::{NoArgs, SubmitReportArgs},
    codebase::{ListChangesArgs, ReadCommitArgs, ReadFileArgs, SearchCodeArgs},
    telemetry::{
        CompareArgs, ListServicesArgs, QueryLogsArgs, QueryMetricsArgs, QueryTracesArgs,
        ServiceKind,
    },
};
use serde::Serialize;
use serde_json::Value;

use super::{
    changes, flags, fold,
    graph::Graph,
    measure::{Measure, measure},
    notes::{Asked, Notes},
    report,
    signature::{Diagnosis, Signature, diagnose},
    verdict::{Verdict, decide},
};

/// A tool to call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    /// Its name.
    pub(crate) tool: String,
    /// Its arguments.
    pub(crate) args: Value,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Next {
    /// Say this and call these.
    Call(String, Vec<Call>),
    /// Say this and end.
    End(String),
}

/// What one stage wants to know, given what is known.
type Stage = fn(&Notes) -> Vec<Call>;

/// After this many turns the analyst reports what it has.
const TURNS: u32 = 9;

/// Diffs read before the way from the alert is known, and in all.
const FIRST_DIFFS: usize = 10;
const ALL_DIFFS: usize = 24;

/// What to do next; writes the verdict into the notes when it is time to report.
pub(crate) fn next(notes: &mut Notes, offered: &[&str]) -> Next {
    if notes.turn < TURNS {
        let stages: [(&str, Stage); 4] = [
            (
                "I read the case, what changed in the metrics, and what was deployed.",
                opening,
            ),
            (
                "I compare logs and traces before and after the onset and read the diffs.",
                comparing,
            ),
            ("I look closer where the trouble seems to start.", focusing),
            (
                "I read the code behind a flag that was switched just before.",
                reading_flags,
            ),
        ];
        for (words, stage) in stages {
            let calls: Vec<Call> = stage(notes)
                .into_iter()
                .filter(|call| open(notes, call, offered))
                .collect();
            if !calls.is_empty() {
                return Next::Call(words.to_owned(), calls);
            }
        }
    }
    if notes.verdict.is_none() {
        let verdict = decide(notes);
        if !notes.back && notes.turn + 4 < TURNS && !verdict.as_ref().is_some_and(explains) {
            notes.back = true;
            let wider = ranking(notes);
            if open(notes, &wider, offered) {
                let words = "Nothing explains it nearby, so I look further back.";
                return Next::Call(words.to_owned(), vec![wider]);
            }
        }
        notes.verdict = verdict;
    }
    let draft = report::draft(notes);
    let submit = call(
        "casebook_submit_report",
        &SubmitReportArgs { report: draft },
    );
    if notes.accepted.is_none() && open(notes, &submit, offered) {
        return Next::Call("I submit the report.".to_owned(), vec![submit]);
    }
    Next::End(report::closing(notes))
}

/// Whether there is a cause that deserves the name.
fn explains(verdict: &Verdict) -> bool {
    verdict
        .cause
        .as_ref()
        .is_some_and(|cause| cause.confidence >= 0.5)
}

/// Which part of the past is compared: what the tools choose, or the two hours before the alert.
fn compared(notes: &Notes) -> TimeRange {
    let far = notes.fired_at().filter(|_| notes.back);
    TimeRange {
        from: far.map(|at| at - TimeDelta::hours(2)),
        to: far.map(|at| at + TimeDelta::minutes(5)),
    }
}

fn ranking(notes: &Notes) -> Call {
    call(
        "telemetry_rank_metric_anomalies",
        &CompareArgs {
            range: compared(notes),
            limit: Some(100),
            ..CompareArgs::default()
        },
    )
}

fn open(notes: &Notes, call: &Call, offered: &[&str]) -> bool {
    offered.contains(&call.tool.as_str())
        && !matches!(
            notes.asked.get(&fold::key(&call.tool, &call.args)),
            Some(Asked::Answered | Asked::Unavailable)
        )
}

/// A call whose arguments are those of the protocol, without what is not said.
fn call<T: Serialize>(tool: &str, args: &T) -> Call {
    let mut args =
        serde_json::to_value(args).unwrap_or_else(|_| Value::Object(serde_json::Map::new()));
    if let Value::Object(fields) = &mut args {
        fields.retain(|_, value| !value.is_null());
    }
    Call {
        tool: tool.to_owned(),
        args,
    }
}

fn opening(notes: &Notes) -> Vec<Call> {
    vec![
        call("casebook_read_alert", &NoArgs {}),
        call("casebook_list_related_alerts", &NoArgs {}),
        call("casebook_read_runbook", &NoArgs {}),
        call("telemetry_list_services", &ListServicesArgs::default()),
        ranking(notes),
        call("codebase_list_deploys", &ListChangesArgs::default()),
        call("codebase_list_flags", &ListChangesArgs::default()),
        call("codebase_list_commits", &ListChangesArgs::default()),
    ]
}

fn comparing(notes: &Notes) -> Vec<Call> {
    let compare = CompareArgs {
        range: compared(notes),
        onset: notes.metrics.as_ref().map(|seen| seen.got.windows.onset),
        limit: Some(60),
        ..CompareArgs::default()
    };
    let mut calls = vec![
        call("telemetry_compare_log_templates", &compare),
        call("telemetry_compare_trace_edges", &compare),
    ];
    let recent = changes::candidates(notes);
    calls.extend(recent.iter().take(FIRST_DIFFS).map(|candidate| {
        call(
            "codebase_read_commit",
            &ReadCommitArgs {
                commit: candidate.commit.clone(),
            },
        )
    }));
    calls
}

fn focusing(notes: &Notes) -> Vec<Call> {
    let Some(diagnosis) = diagnose(notes) else {
        return Vec::new();
    };
    let mut calls = shapes(notes, &diagnosis);
    let graph = Graph::new(notes);
    let speaks = if graph.kind(&diagnosis.component) == ServiceKind::Service {
        diagnosis.component.clone()
    } else {
        caller_of(graph, &diagnosis)
    };
    if notes.lines.is_empty() && graph.complaints().any(|line| line.service == speaks) {
        calls.push(call(
            "telemetry_query_logs",
            &QueryLogsArgs {
                service: Some(speaks.clone()),
                level: Some("warn".to_owned()),
                range: since_onset(notes),
                limit: Some(5),
                ..QueryLogsArgs::default()
            },
        ));
    }
    if notes.requests.is_empty() && !graph.edges().is_empty() {
        let failing = matches!(
            diagnosis.signature,
            Signature::Errors { .. } | Signature::Outside { .. }
        );
        calls.push(call(
            "telemetry_query_traces",
            &QueryTracesArgs {
                service: Some(speaks),
                range: since_onset(notes),
                errors_only: failing.then_some(true),
                limit: Some(1),
                ..QueryTracesArgs::default()
            },
        ));
    }
    let suspects = changes::suspects(notes, &diagnosis);
    let unread = changes::candidates(notes)
        .into_iter()
        .filter(|candidate| changes::is_suspect(&suspects, &candidate.service))
        .filter(|candidate| notes.reading(&candidate.commit).is_none())
        .take(ALL_DIFFS.saturating_sub(notes.diffs.len()))
        .map(|candidate| {
            call(
                "codebase_read_commit",
                &ReadCommitArgs {
                    commit: candidate.commit,
                },
            )
        });
    calls.extend(unread);
    let began = changes::began(notes, &diagnosis);
    for change in flags::suspected(notes, &diagnosis, began)
        .into_iter()
        .take(2)
    {
        let pattern = change.flag.replace('.', "\\.");
        calls.push(call(
            "codebase_search_code",
            &SearchCodeArgs {
                pattern,
                path: None,
                limit: Some(4),
            },
        ));
    }
    calls
}

fn caller_of(graph: Graph<'_>, diagnosis: &Diagnosis) -> String {
    let path = &diagnosis.walk.path;
    let previous = path
        .iter()
        .rev()
        .find(|name| graph.kind(name) == ServiceKind::Service)
        .cloned();
    previous.unwrap_or_else(|| diagnosis.component.clone())
}

/// From the onset on, so that an example shows the trouble and not the day before it.
fn since_onset(notes: &Notes) -> TimeRange {
    TimeRange {
        from: notes.onset(),
        to: None,
    }
}

/// Series of limited things on the way, over time: when they began to fill tells more than when it hurt.
fn shapes(notes: &Notes, diagnosis: &Diagnosis) -> Vec<Call> {
    let graph = Graph::new(notes);
    let mut services: Vec<&str> = diagnosis
        .walk
        .path
        .iter()
        .rev()
        .map(String::as_str)
        .collect();
    services.truncate(3);
    let callers = graph.callers(diagnosis.walk.end());
    if graph.kind(diagnosis.walk.end()) == ServiceKind::Database {
        services.extend(callers);
    }
    services.dedup();
    let (reach, step) = if notes.back {
        (TimeDelta::hours(2), 30)
    } else {
        (TimeDelta::hours(1), 15)
    };
    let mut calls = Vec::new();
    for service in services {
        let mut asked = 0;
        let mut names: Vec<&str> = graph
            .anomalies(service)
            .filter(|(measure, anomaly)| {
                matches!(measure, Measure::Level | Measure::Waiting) && anomaly.score >= 2.0
            })
            .map(|(_, anomaly)| anomaly.metric.as_str())
            .collect();
        // A fill that began before the compared windows is no anomaly in them.
        let known = notes.services.iter().flat_map(|seen| &seen.got.services);
        for seen in known.filter(|seen| seen.name == service) {
            names.extend(seen.metrics.iter().map(String::as_str).filter(|metric| {
                measure(metric, &std::collections::BTreeMap::new()) == Measure::Level
            }));
        }
        let mut bare: Vec<&str> = Vec::new();
        for name in names {
            let name = name.split(':').next().unwrap_or(name);
            if !bare.contains(&name) {
                bare.push(name);
            }
        }
        for metric in bare {
            if asked == 4 {
                break;
            }
            asked += 1;
            calls.push(call(
                "telemetry_query_metrics",
                &QueryMetricsArgs {
                    range: TimeRange {
                        from: notes.fired_at().map(|at| at - reach),
                        to: notes.fired_at().map(|at| at + TimeDelta::minutes(2)),
                    },
                    service: Some(service.to_owned()),
                    metric: Some(metric.to_owned()),
                    step_seconds: Some(step),
                },
            ));
        }
    }
    calls
}

fn reading_flags(notes: &Notes) -> Vec<Call> {
    notes
        .guards
        .iter()
        .filter(|guard| {
            let name = flags::reading_name(&guard.flag);
            !notes.diffs.iter().any(|reading| reading.commit == name)
        })
        .filter_map(|guard| guard.places.first())
        .map(|(path, line)| {
            call(
                "codebase_read_file",
                &ReadFileArgs {
                    path: path.clone(),
                    from_line: Some((*line).saturating_sub(2).max(1)),
                    lines: Some(60),
                },
            )
        })
        .collect()
}
