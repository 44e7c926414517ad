//! The analyst on the recorded incidents, through the real telemetry and codebase servers: gate,
//! transport, tools and all. Only the casebook is played here.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test says what broke by ending, and prints what it found"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use nightshift_codebase::CodebaseServer;
use nightshift_domain::{
    AlertId, Evidence, EvidenceId, EvidenceKind, IncidentId,
    alert::{AlertStatus, Severity},
    report::{Change, Report, settle::settle},
};
use nightshift_llm_gateway::analyst;
use nightshift_mcp_kit::testing::{FakeCasebook, TestServer};
use nightshift_protocol::{
    messages::{Block, Message, MessagesRequest, Role, StopReason, Tool},
    tools::{
        Observed,
        casebook::{AlertView, RelatedAlerts, ReportAccepted, Runbook, SubmitReportArgs},
    },
};
use nightshift_telemetry::TelemetryServer;
use serde_json::{Value, json};

struct Desk {
    telemetry: (TestServer, Arc<FakeCasebook>),
    codebase: (TestServer, Arc<FakeCasebook>),
    case: Vec<Evidence>,
    alert: Value,
    fired_at: DateTime<Utc>,
    report: Option<Report>,
}

impl Desk {
    fn open(recordings: &Path, name: &str) -> Self {
        let alert: Value = read(&recordings.join(name).join("alert.json"));
        let fired_at: DateTime<Utc> = serde_json::from_value(alert["fired_at"].clone()).unwrap();
        let stores = [("shop".to_owned(), recordings.display().to_string())];
        let connection = json!({ "backend": "recording", "store": "shop" });
        let connections = BTreeMap::from([
            ("telemetry".to_owned(), connection.clone()),
            ("codebase".to_owned(), connection),
        ]);
        let telemetry = nightshift_telemetry::Connections::index(&stores).unwrap();
        let codebase = nightshift_codebase::Connections::index(&stores).unwrap();
        Self {
            telemetry: TestServer::new(
                TelemetryServer::new(telemetry).unwrap(),
                fired_at,
                connections.clone(),
            ),
            codebase: TestServer::new(
                CodebaseServer::new(codebase).unwrap(),
                fired_at,
                connections,
            ),
            case: Vec::new(),
            alert,
            fired_at,
            report: None,
        }
    }

    async fn tools(&self) -> Vec<String> {
        let mut tools: Vec<String> = [
            "read_alert",
            "list_related_alerts",
            "read_runbook",
            "submit_report",
        ]
        .map(|tool| format!("casebook_{tool}"))
        .into();
        for (prefix, (server, _)) in [("telemetry", &self.telemetry), ("codebase", &self.codebase)]
        {
            let all = nightshift_domain::Scope::ALL;
            tools.extend(
                server
                    .list_as(all)
                    .await
                    .into_iter()
                    .map(|tool| format!("{prefix}_{tool}")),
            );
        }
        tools
    }

    async fn call(&mut self, tool: &str, input: &Value) -> Result<String, String> {
        let (prefix, name) = tool.split_once('_').unwrap();
        let server = match prefix {
            "telemetry" => &self.telemetry.0,
            "codebase" => &self.codebase.0,
            _ => return Ok(self.casebook(name, input)),
        };
        let answer = server.call(name, input.clone()).await;
        let text = answer.body["result"]["content"][0]["text"].as_str();
        let text = text.unwrap_or(&answer.text).to_owned();
        if answer.body["result"]["isError"] == json!(true) || answer.body.get("error").is_some() {
            println!("  {tool} {input} failed: {text}");
            return Err(text);
        }
        Ok(text)
    }

    fn casebook(&mut self, tool: &str, input: &Value) -> String {
        match tool {
            "read_alert" => self.observed(AlertView {
                alert: AlertId::generate(),
                incident: IncidentId::generate(),
                source: "generic".to_owned(),
                title: self.alert["title"]
                    .as_str()
                    .or(self.alert["summary"].as_str())
                    .unwrap_or("")
                    .to_owned(),
                service: self.alert["service"].as_str().map(str::to_owned),
                severity: Severity::Critical,
                status: AlertStatus::Firing,
                fired_at: self.fired_at,
                details: self.alert.clone(),
            }),
            "list_related_alerts" => self.observed(RelatedAlerts::default()),
            "read_runbook" => self.observed(Runbook {
                name: "default".to_owned(),
                text: "Look, compare, decide.".to_owned(),
            }),
            "submit_report" => {
                let submitted: SubmitReportArgs = serde_json::from_value(input.clone()).unwrap();
                let report = settle(submitted.report, &self.evidence(), &BTreeSet::new());
                let accepted = ReportAccepted {
                    outcome: report.outcome,
                    confidence: report.root_cause.as_ref().map(|cause| cause.confidence),
                    dropped: report.dropped.clone(),
                };
                self.report = Some(report);
                serde_json::to_string(&accepted).unwrap()
            }
            other => panic!("no such tool: {other}"),
        }
    }

    fn observed<T: serde::Serialize>(&mut self, answer: T) -> String {
        let evidence = EvidenceId::generate();
        let content = serde_json::to_value(&answer).unwrap();
        self.case.push(piece(
            evidence,
            EvidenceKind::Case,
            "casebook",
            json!({}),
            content,
            self.fired_at,
        ));
        serde_json::to_string(&Observed {
            evidence,
            truncated: false,
            redacted: 0,
            answer,
        })
        .unwrap()
    }

    fn evidence(&self) -> Vec<Evidence> {
        let mut all = self.case.clone();
        for (_, book) in [&self.telemetry, &self.codebase] {
            all.extend(book.evidence().into_iter().map(|(id, row)| {
                piece(
                    id,
                    row.kind,
                    &row.tool,
                    row.arguments,
                    row.content,
                    self.fired_at,
                )
            }));
        }
        all
    }
}

fn piece(
    id: EvidenceId,
    kind: EvidenceKind,
    tool: &str,
    arguments: Value,
    content: Value,
    recorded_at: DateTime<Utc>,
) -> Evidence {
    Evidence {
        id,
        kind,
        tool: tool.to_owned(),
        arguments,
        content,
        digest: String::new(),
        truncated: false,
        recorded_at,
    }
}

async fn investigate(recordings: &Path, name: &str) -> Report {
    let mut desk = Desk::open(recordings, name);
    let tools = desk.tools().await;
    let mut messages = vec![Message {
        role: Role::User,
        content: vec![Block::Text {
            text: "Investigate.".to_owned(),
        }],
    }];
    for _ in 0..14 {
        let request = MessagesRequest {
            model: "analyst".to_owned(),
            max_tokens: 8_192,
            system: None,
            messages: messages.clone(),
            tools: tools.iter().map(|name| tool(name)).collect(),
            stream: false,
        };
        let answer = analyst::answer(&request);
        let mut results = Vec::new();
        for block in &answer.content {
            if let Block::ToolUse { id, name, input } = block {
                let result = desk.call(name, input).await;
                results.push(Block::ToolResult {
                    tool_use_id: id.clone(),
                    is_error: result.is_err(),
                    content: result.unwrap_or_else(|error| error),
                });
            }
        }
        messages.push(Message {
            role: Role::Assistant,
            content: answer.content,
        });
        if answer.stop_reason == Some(StopReason::EndTurn) {
            return desk.report.expect("a report was submitted");
        }
        messages.push(Message {
            role: Role::User,
            content: results,
        });
    }
    panic!("no end after 14 turns");
}

fn tool(name: &str) -> Tool {
    Tool {
        name: name.to_owned(),
        description: String::new(),
        input_schema: json!({ "type": "object" }),
    }
}

fn read(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn shop() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../local/shop")
        .canonicalize()
        .unwrap()
}

/// `output-secrets`: trace ids, commits and digests, the texts of a real system, and no secret.
#[test]
fn nothing_that_was_recorded_looks_like_a_secret() {
    let mut texts = 0;
    for incident in fs::read_dir(shop().join("recordings")).unwrap() {
        for name in [
            "logs.ndjson.gz",
            "spans.ndjson.gz",
            "commits.json.gz",
            "files.json.gz",
        ] {
            let packed = fs::File::open(incident.as_ref().unwrap().path().join(name)).unwrap();
            let mut text = String::new();
            flate2::read::GzDecoder::new(packed)
                .read_to_string(&mut text)
                .unwrap();
            for line in text.lines() {
                texts += 1;
                // A line of the log is JSON, a piece of a longer document is text; both count.
                let line = serde_json::from_str(line).unwrap_or_else(|_| json!(line));
                let (scrubbed, found) = nightshift_mcp_kit::secrets::scrub(line.clone());
                assert_eq!(found.total(), 0, "{found:?}: {line}\n{scrubbed}");
            }
        }
    }
    assert!(texts > 40_000, "{texts} texts were read");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cause_of_every_recorded_incident_is_found() {
    let recordings = shop().join("recordings");
    let expected = shop().join("expected");
    let mut names: Vec<String> = fs::read_dir(&recordings)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(!names.is_empty(), "there are recordings");
    let mut wrong = Vec::new();
    for name in names {
        let report = investigate(&recordings, &name).await;
        let expected = read(&expected.join(format!("{name}.json")));
        let Some(cause) = &report.root_cause else {
            wrong.push(format!("{name}: no cause: {}", report.summary));
            continue;
        };
        let change = match &cause.change {
            Change::Commit { commit, .. } => json!(commit),
            Change::Flag { flag, .. } => json!(flag),
            Change::NoChange { .. } => Value::Null,
        };
        let same = expected["component"] == json!(cause.component)
            && expected["kind"] == json!(cause.kind)
            && expected["change"]
                .get("commit")
                .cloned()
                .unwrap_or(Value::Null)
                == change;
        println!("{name}: {} ({:.2})", report.summary, cause.confidence);
        if !same {
            wrong.push(format!("{name}: {cause:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
