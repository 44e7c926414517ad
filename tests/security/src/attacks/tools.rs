//! The tools' own door: scopes, lists, the audit, and how much an answer may hold.

use anyhow::Result;
use nightshift_domain::Scope;
use serde_json::json;

use crate::{
    case::{Case, Outcome, case},
    stack::{Answer, Options, Stack, call, list, send},
};

pub(crate) const CASES: &[Case] = &[
    case!(
        11,
        "context-flood",
        [OutputSize],
        "logs that answer with more than fits",
        context_flood
    ),
    case!(
        25,
        "hidden-tool",
        [ToolScope],
        "a hidden tool, called by its name",
        hidden_tool
    ),
    case!(
        25,
        "tool-oracle",
        [UnknownAsDenied],
        "which hidden tools there are",
        tool_oracle
    ),
    case!(
        25,
        "unseen-answer",
        [AuditOrSilence],
        "an answer while nobody can record it",
        unseen_answer
    ),
    case!(
        25,
        "untold-probing",
        [Audit],
        "probing for tools without a trace",
        untold_probing
    ),
    case!(
        28,
        "shared-list",
        [ListPrivate],
        "one caller's list of tools, kept for another",
        shared_list
    ),
    case!(
        29,
        "header-says-read",
        [ToolScope],
        "a header names one tool and the body another",
        header_says_read
    ),
];

/// What a caller gets who may read logs and nothing else.
async fn as_reader_of_logs(stack: &Stack, tool: &str) -> Result<Answer> {
    let token = stack.narrow_token(&stack.telemetry, &stack.ours, &[Scope::LogsRead]);
    stack.telemetry.post(&token, &call(tool, &json!({}))).await
}

async fn context_flood() -> Result<Outcome> {
    let line = format!("FLOOD {}", "all work and no play ".repeat(250));
    let stack = Stack::with(Options {
        log_lines: vec![line; 50],
        ..Options::default()
    })
    .await?;
    let asked = json!({ "contains": "FLOOD", "limit": 200 });
    let answer = stack
        .call(&stack.telemetry, &stack.ours, "query_logs", asked)
        .await?
        .honest()?;
    let content = &answer.body["result"]["structuredContent"]["answer"];
    let bytes = content.to_string().len();
    anyhow::ensure!(
        bytes > 1_000,
        "the lines were not found: {}",
        answer.brief()
    );
    Ok(Outcome::of(
        bytes > 64 * 1024,
        format!("{} KiB reach the agent", bytes / 1024),
    ))
}

async fn hidden_tool() -> Result<Outcome> {
    let stack = Stack::start().await?;
    as_reader_of_logs(&stack, "query_logs").await?.honest()?;
    let answer = as_reader_of_logs(&stack, "list_services").await?;
    Ok(Outcome::of(answer.worked(), answer.brief()))
}

async fn tool_oracle() -> Result<Outcome> {
    let stack = Stack::start().await?;
    as_reader_of_logs(&stack, "query_logs").await?.honest()?;
    let hidden = as_reader_of_logs(&stack, "list_services").await?;
    let unreal = as_reader_of_logs(&stack, "no_such_tool").await?;
    let same = hidden.text == unreal.text && hidden.status == unreal.status;
    Ok(Outcome::of(!same, hidden.brief()))
}

async fn unseen_answer() -> Result<Outcome> {
    let stack = Stack::start().await?;
    let ask = async || {
        stack
            .call(&stack.telemetry, &stack.ours, "list_services", json!({}))
            .await
    };
    ask().await?.honest()?;
    let token = stack.token(&stack.telemetry, &stack.ours);
    stack.telemetry.post(&token, &list()).await?.honest()?;
    stack.end_casebook().await;
    // The run is still remembered to be live.
    let answer = ask().await?;
    Ok(Outcome::of(answer.worked(), answer.brief()))
}

async fn untold_probing() -> Result<Outcome> {
    let stack = Stack::start().await?;
    as_reader_of_logs(&stack, "query_logs").await?.honest()?;
    as_reader_of_logs(&stack, "restart_pod").await?;
    let rows: i64 = sqlx::query_scalar(
        "select count(*) from tool_calls where tool = 'telemetry.restart_pod' and outcome = 'refused'",
    )
    .fetch_one(&stack.pg)
    .await?;
    Ok(Outcome::of(rows == 0, format!("{rows} row in the audit")))
}

async fn shared_list() -> Result<Outcome> {
    let stack = Stack::start().await?;
    let token = stack.narrow_token(&stack.telemetry, &stack.ours, &[Scope::LogsRead]);
    let answer = stack.telemetry.post(&token, &list()).await?.honest()?;
    let said = &answer.body["result"]["cacheScope"];
    Ok(Outcome::of(
        *said != "private",
        format!("cacheScope is {said}"),
    ))
}

async fn header_says_read() -> Result<Outcome> {
    let stack = Stack::start().await?;
    as_reader_of_logs(&stack, "query_logs").await?.honest()?;
    let token = stack.narrow_token(&stack.telemetry, &stack.ours, &[Scope::LogsRead]);
    let request = stack
        .telemetry
        .proved("POST", "/mcp", &token)
        .header("mcp-method", "tools/call")
        .header("mcp-name", "query_logs")
        .json(&call("list_services", &json!({})));
    let answer = send(request).await?;
    Ok(Outcome::of(answer.worked(), answer.brief()))
}
