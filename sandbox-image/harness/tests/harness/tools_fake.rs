//! MCP servers that count what they are asked and keep a report as the casebook does.

use std::{
    collections::{HashMap, VecDeque},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, Mutex},
    time::Duration,
};

use nightshift_domain::MessageId;
use nightshift_protocol::tools::casebook::{
    AnswerMessageArgs, InboxMessage, ReadEvidenceArgs, SubmitReportArgs,
};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ListToolsResult,
        PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
    },
    service::RequestContext,
};
use serde_json::{Value, json};

#[derive(Debug, Default)]
pub(crate) struct Case {
    pub(crate) reports: Vec<Value>,
    pub(crate) submissions: usize,
    pub(crate) inbox: Vec<InboxMessage>,
    pub(crate) answers: Vec<(MessageId, String)>,
    pub(crate) heartbeats: usize,
    pub(crate) over: bool,
    pub(crate) calls: Vec<(String, Value)>,
    /// By tool: how long it takes.
    pub(crate) slow: HashMap<String, Duration>,
    /// HTTP statuses that a server answers before it works, by server.
    pub(crate) http_failures: HashMap<String, VecDeque<u16>>,
    /// Characters that `query_logs` pads its answer with.
    pub(crate) padding: usize,
    /// Calls running now, and the most at any time.
    pub(crate) running: usize,
    pub(crate) most_running: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct ToolsFake {
    pub(crate) server: &'static str,
    pub(crate) case: Arc<Mutex<Case>>,
}

pub(crate) fn evidence(tool: &str, arguments: &Value) -> String {
    let mut hasher = DefaultHasher::new();
    (tool, arguments.to_string()).hash(&mut hasher);
    format!("evd_{:032x}", hasher.finish())
}

fn tools(server: &str) -> &'static [&'static str] {
    match server {
        "casebook" => &[
            "read_alert",
            "read_evidence",
            "read_inbox",
            "submit_report",
            "answer_message",
            "heartbeat",
        ],
        "telemetry" => &["query_logs", "query_metrics"],
        _ => &["list_commits"],
    }
}

impl ServerHandler for ToolsFake {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let schema = json!({ "type": "object" }).as_object().unwrap().clone();
        let tools = tools(self.server);
        let tools = tools
            .iter()
            .map(|name| Tool::new(*name, "Does it.", schema.clone()));
        Ok(ListToolsResult::with_all_items(tools.collect()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let name = request.name.to_string();
        if !tools(self.server).contains(&name.as_str()) {
            return Err(ErrorData::invalid_params(
                format!("Unknown tool {name}"),
                None,
            ));
        }
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        let slow = {
            let mut case = self.case.lock().unwrap();
            case.calls
                .push((format!("{}.{name}", self.server), arguments.clone()));
            case.running += 1;
            case.most_running = case.most_running.max(case.running);
            case.slow.get(&name).copied()
        };
        if let Some(slow) = slow {
            tokio::time::sleep(slow).await;
        }
        let result = self.carry_out(&name, arguments);
        self.case.lock().unwrap().running -= 1;
        Ok(result.into())
    }
}

impl ToolsFake {
    fn carry_out(&self, name: &str, arguments: Value) -> CallToolResult {
        let failed = |text: String| CallToolResult::error(vec![ContentBlock::text(text)]);
        let mut case = self.case.lock().unwrap();
        match name {
            "heartbeat" => {
                case.heartbeats += 1;
                CallToolResult::structured(json!({ "go_on": !case.over, "messages_waiting": 0 }))
            }
            "read_inbox" => CallToolResult::structured(json!({ "messages": case.inbox })),
            "answer_message" => match serde_json::from_value::<AnswerMessageArgs>(arguments) {
                Ok(answer) => {
                    case.inbox
                        .retain(|message| message.message != answer.message);
                    case.answers.push((answer.message, answer.text));
                    CallToolResult::structured(json!({}))
                }
                Err(error) => failed(error.to_string()),
            },
            "submit_report" => match serde_json::from_value::<SubmitReportArgs>(arguments) {
                Ok(args) => {
                    case.submissions += 1;
                    if case.reports.is_empty() {
                        case.reports
                            .push(serde_json::to_value(args.report).unwrap());
                    }
                    let accepted =
                        json!({ "outcome": "inconclusive", "confidence": null, "dropped": [] });
                    CallToolResult::structured(accepted)
                }
                Err(error) => failed(error.to_string()),
            },
            "read_evidence" => match serde_json::from_value::<ReadEvidenceArgs>(arguments) {
                Ok(args) => CallToolResult::structured(json!({ "evidence": args.evidence })),
                Err(error) => failed(error.to_string()),
            },
            "query_metrics" if arguments["fail"] == true => failed("no such metric".to_owned()),
            _ => CallToolResult::structured(json!({
                "evidence": evidence(name, &arguments),
                "truncated": false,
                "answer": { "echo": arguments, "padding": "x".repeat(case.padding) },
            })),
        }
    }
}
