//! Leads a conversation: answers the analyst's tool calls from a world and checks each call.

use std::collections::BTreeSet;

use nightshift_domain::{
    Evidence, EvidenceId, EvidenceKind,
    report::{Report, settle::settle},
};
use nightshift_llm_gateway::analyst;
use nightshift_protocol::{
    messages::{Block, Message, MessagesRequest, Role, StopReason, Tool},
    tools::{
        Observed,
        casebook::{NoArgs, RelatedAlerts, ReportAccepted, Runbook, SubmitReportArgs},
        codebase::{
            CodeMatches, Deploys, FlagChanges, ListChangesArgs, ReadCommitArgs, ReadFileArgs,
            SearchCodeArgs,
        },
        telemetry::{
            CompareArgs, ListServicesArgs, LogLines, LogTemplateDiff, MetricAnomalies,
            MetricSeries, QueryLogsArgs, QueryMetricsArgs, QueryTracesArgs, Series, Traces,
        },
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    answers::{alert, services, summaries, traced, windows},
    world::World,
};

/// Every tool that a run with all scopes is offered.
pub(crate) const TOOLS: &[&str] = &[
    "casebook_read_alert",
    "casebook_list_related_alerts",
    "casebook_read_runbook",
    "casebook_submit_report",
    "telemetry_list_services",
    "telemetry_query_logs",
    "telemetry_query_metrics",
    "telemetry_query_traces",
    "telemetry_rank_metric_anomalies",
    "telemetry_compare_log_templates",
    "telemetry_compare_trace_edges",
    "codebase_list_deploys",
    "codebase_list_flags",
    "codebase_list_commits",
    "codebase_read_commit",
    "codebase_search_code",
    "codebase_read_file",
];

/// A finished conversation.
pub(crate) struct Finished {
    pub(crate) messages: Vec<Message>,
    pub(crate) report: Option<Report>,
    pub(crate) turns: usize,
    pub(crate) words: String,
}

/// A question with these tools offered.
pub(crate) fn request(messages: &[Message], tools: &[&str]) -> MessagesRequest {
    MessagesRequest {
        model: "analyst".to_owned(),
        max_tokens: 8_192,
        system: Some("Find the cause.".to_owned()),
        messages: messages.to_vec(),
        tools: tools
            .iter()
            .map(|name| Tool {
                name: (*name).to_owned(),
                description: String::new(),
                input_schema: json!({ "type": "object" }),
            })
            .collect(),
        stream: false,
    }
}

/// What the harness says first.
pub(crate) fn task() -> Message {
    Message {
        role: Role::User,
        content: vec![Block::Text {
            text: "Investigate the alert.".to_owned(),
        }],
    }
}

/// Leads a conversation to its end. With `forget`, all results but the latest become stubs, as a harness
/// does to stay within its context.
pub(crate) fn investigate(world: &World, tools: &[&str], forget: bool) -> Finished {
    let mut desk = Desk {
        world,
        log: Vec::new(),
        report: None,
    };
    let mut messages = vec![task()];
    for turn in 1..=14 {
        if forget {
            compact(&mut messages);
        }
        let answer = analyst::answer(&request(&messages, tools));
        messages.push(Message {
            role: Role::Assistant,
            content: answer.content.clone(),
        });
        if answer.stop_reason == Some(StopReason::EndTurn) {
            let words = answer.content.iter().map(words).collect();
            return Finished {
                messages,
                report: desk.report,
                turns: turn,
                words,
            };
        }
        let mut results = Vec::new();
        for block in &answer.content {
            if let Block::ToolUse { id, name, input } = block {
                assert!(tools.contains(&name.as_str()), "{name} was not offered");
                let result = desk.tool(name, input);
                results.push(Block::ToolResult {
                    tool_use_id: id.clone(),
                    is_error: result.is_err(),
                    content: result.unwrap_or_else(|error| error),
                });
            }
        }
        assert!(!results.is_empty(), "a turn that waits for tools calls one");
        messages.push(Message {
            role: Role::User,
            content: results,
        });
    }
    panic!("no end after 14 turns");
}

fn words(block: &Block) -> String {
    match block {
        Block::Text { text } => text.clone(),
        Block::ToolUse { .. } | Block::ToolResult { .. } => String::new(),
    }
}

fn compact(messages: &mut [Message]) {
    let last = messages.len() - 1;
    for message in &mut messages[..last] {
        for block in &mut message.content {
            if let Block::ToolResult { content, .. } = block {
                "[removed to save space]".clone_into(content);
            }
        }
    }
}

struct Desk<'a> {
    world: &'a World,
    log: Vec<Evidence>,
    report: Option<Report>,
}

/// Arguments as the tool's own type; what the type does not know is an error, as in a strict schema.
fn args<T: DeserializeOwned + Serialize>(input: &Value) -> T {
    let read: T =
        serde_json::from_value(input.clone()).unwrap_or_else(|error| panic!("{error}: {input}"));
    let again = serde_json::to_value(&read).unwrap();
    for (field, value) in input.as_object().unwrap() {
        assert_eq!(again.get(field), Some(value), "argument {field}");
    }
    read
}

impl Desk<'_> {
    fn observed<T: Serialize>(
        &mut self,
        kind: EvidenceKind,
        tool: &str,
        input: &Value,
        answer: T,
    ) -> String {
        let evidence = EvidenceId::generate();
        let content = serde_json::to_value(Observed {
            evidence,
            truncated: false,
            redacted: 0,
            answer,
        })
        .unwrap();
        let text = content.to_string();
        self.log.push(Evidence {
            id: evidence,
            kind,
            tool: tool.to_owned(),
            arguments: input.clone(),
            content,
            digest: String::new(),
            truncated: false,
            recorded_at: self.world.fired_at,
        });
        text
    }

    fn tool(&mut self, tool: &str, input: &Value) -> Result<String, String> {
        match tool.split_once('_').map(|(server, _)| server) {
            Some("telemetry") => self.telemetry(tool, input),
            Some("codebase") => self.codebase(tool, input),
            _ => self.casebook(tool, input),
        }
    }

    fn telemetry(&mut self, tool: &str, input: &Value) -> Result<String, String> {
        let world = self.world;
        let answer = match tool {
            "telemetry_list_services" => {
                args::<ListServicesArgs>(input);
                self.observed(EvidenceKind::Topology, tool, input, services(world))
            }
            "telemetry_rank_metric_anomalies" => {
                args::<CompareArgs>(input);
                let mut anomalies = world.extra.clone();
                anomalies.sort_by(|a, b| b.score.abs().total_cmp(&a.score.abs()));
                let answer = MetricAnomalies {
                    windows: windows(world),
                    compared: 90,
                    anomalies,
                };
                self.observed(EvidenceKind::Metrics, tool, input, answer)
            }
            "telemetry_compare_log_templates" => {
                args::<CompareArgs>(input);
                let answer = LogTemplateDiff {
                    windows: windows(world),
                    lines: 9_000,
                    templates: world.templates.clone(),
                };
                self.observed(EvidenceKind::Logs, tool, input, answer)
            }
            "telemetry_compare_trace_edges" => {
                args::<CompareArgs>(input);
                self.observed(EvidenceKind::Traces, tool, input, traced(world))
            }
            "telemetry_query_logs" => {
                args::<QueryLogsArgs>(input);
                self.observed(EvidenceKind::Logs, tool, input, LogLines::default())
            }
            "telemetry_query_traces" => {
                args::<QueryTracesArgs>(input);
                self.observed(EvidenceKind::Traces, tool, input, Traces::default())
            }
            "telemetry_query_metrics" => {
                let asked: QueryMetricsArgs = args(input);
                let series = world
                    .series
                    .iter()
                    .filter(|((service, metric), _)| {
                        asked
                            .service
                            .as_ref()
                            .is_none_or(|wanted| wanted == service)
                            && asked
                                .metric
                                .as_ref()
                                .is_none_or(|wanted| metric.contains(wanted))
                    })
                    .map(|((service, metric), points)| Series {
                        service: service.clone(),
                        metric: metric.clone(),
                        labels: std::collections::BTreeMap::new(),
                        points: points.clone(),
                    })
                    .collect();
                self.observed(
                    EvidenceKind::Metrics,
                    tool,
                    input,
                    MetricSeries { matched: 1, series },
                )
            }
            other => return Err(format!("unknown tool {other}")),
        };
        Ok(answer)
    }

    fn codebase(&mut self, tool: &str, input: &Value) -> Result<String, String> {
        let world = self.world;
        let answer = match tool {
            "codebase_list_deploys" => {
                args::<ListChangesArgs>(input);
                self.observed(
                    EvidenceKind::Changes,
                    tool,
                    input,
                    Deploys {
                        deploys: world.deploys.clone(),
                    },
                )
            }
            "codebase_list_flags" => {
                args::<ListChangesArgs>(input);
                self.observed(
                    EvidenceKind::Changes,
                    tool,
                    input,
                    FlagChanges {
                        changes: world.flags.clone(),
                    },
                )
            }
            "codebase_list_commits" => {
                args::<ListChangesArgs>(input);
                self.observed(EvidenceKind::Changes, tool, input, summaries(world))
            }
            "codebase_read_commit" => {
                let asked: ReadCommitArgs = args(input);
                let commit = world
                    .commits
                    .iter()
                    .find(|commit| commit.commit == asked.commit);
                match commit {
                    Some(commit) => self.observed(EvidenceKind::Code, tool, input, commit.clone()),
                    None => return Err("no such commit".to_owned()),
                }
            }
            "codebase_search_code" => {
                args::<SearchCodeArgs>(input);
                self.observed(EvidenceKind::Code, tool, input, CodeMatches::default())
            }
            "codebase_read_file" => {
                args::<ReadFileArgs>(input);
                return Err("no such file".to_owned());
            }
            other => return Err(format!("unknown tool {other}")),
        };
        Ok(answer)
    }

    fn casebook(&mut self, tool: &str, input: &Value) -> Result<String, String> {
        let world = self.world;
        let answer = match tool {
            "casebook_read_alert" => {
                args::<NoArgs>(input);
                self.observed(EvidenceKind::Case, tool, input, alert(world))
            }
            "casebook_list_related_alerts" => {
                args::<NoArgs>(input);
                self.observed(
                    EvidenceKind::Case,
                    tool,
                    input,
                    RelatedAlerts { alerts: Vec::new() },
                )
            }
            "casebook_read_runbook" => {
                args::<NoArgs>(input);
                let book = Runbook {
                    name: "default".to_owned(),
                    text: "Look, compare, decide.".to_owned(),
                };
                self.observed(EvidenceKind::Case, tool, input, book)
            }
            "casebook_submit_report" => {
                let submitted: SubmitReportArgs = args(input);
                let report = settle(submitted.report, &self.log, &BTreeSet::new());
                let accepted = ReportAccepted {
                    outcome: report.outcome,
                    confidence: report.root_cause.as_ref().map(|cause| cause.confidence),
                    dropped: report.dropped.clone(),
                };
                self.report = Some(report);
                serde_json::to_string(&accepted).unwrap()
            }
            other => return Err(format!("unknown tool {other}")),
        };
        Ok(answer)
    }
}
