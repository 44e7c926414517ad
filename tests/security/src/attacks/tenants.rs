//! One tenant's run, or a server that was taken over, and what belongs to another tenant.

use anyhow::Result;
use nightshift_domain::EvidenceKind;
use nightshift_protocol::run::RecordEvidence;
use nightshift_store::Role;
use serde_json::json;
use sqlx::{AssertSqlSafe, PgPool};

use crate::{
    case::{Case, Outcome, case},
    stack::{SERVICE_SECRET, Stack, send, their_commit},
};

pub(crate) const CASES: &[Case] = &[
    case!(
        26,
        "other-tenants-commit",
        [TenantConnection],
        "a commit of another tenant's code",
        other_commit
    ),
    case!(
        26,
        "other-tenants-logs",
        [TenantConnection],
        "a service of another tenant's system",
        other_logs
    ),
    case!(
        26,
        "other-tenants-evidence",
        [TenantCase, RowSecurity],
        "another run's evidence by its id",
        other_evidence
    ),
    case!(
        26,
        "forgotten-tenant",
        [RowSecurity],
        "a statement that forgets whose rows it wants",
        forgotten_tenant
    ),
    case!(
        26,
        "taken-over-casebook",
        [LeastGrants],
        "a casebook that says what an attacker wants",
        taken_over
    ),
    case!(
        46,
        "path-out-of-the-tree",
        [CodePath],
        "a path that leads out of the repository",
        path_out
    ),
    case!(
        26,
        "evidence-in-anothers-name",
        [ServiceOwnTools],
        "a server that was taken over and makes up what another saw",
        in_anothers_name
    ),
];

/// What only the other tenant's rows say.
const MARK: &str = "globex-canary-4f07";

async fn other_commit() -> Result<Outcome> {
    let stack = Stack::start().await?;
    let commit = their_commit()?;
    let asked = json!({ "commit": &commit[..12] });
    stack
        .call(&stack.codebase, &stack.theirs, "read_commit", asked.clone())
        .await?
        .honest()?;
    let answer = stack
        .call(&stack.codebase, &stack.ours, "read_commit", asked)
        .await?;
    Ok(Outcome::of(answer.text.contains(&commit), answer.brief()))
}

async fn other_logs() -> Result<Outcome> {
    let stack = Stack::start().await?;
    let asked = json!({ "limit": 20 });
    let theirs = stack
        .call(&stack.telemetry, &stack.theirs, "query_traces", asked)
        .await?
        .honest()?;
    let trace = &theirs.body["result"]["structuredContent"]["answer"]["traces"][0]["trace_id"];
    let trace = trace.as_str().unwrap_or_default().to_owned();
    anyhow::ensure!(!trace.is_empty(), "they have no trace: {}", theirs.brief());
    let from = stack.theirs.status.fired_at - chrono::TimeDelta::hours(1);
    let to = stack.theirs.status.fired_at + chrono::TimeDelta::hours(1);
    let asked = json!({ "trace_id": trace, "from": from, "to": to,
        "store": crate::stack::THEIRS, "tenant": stack.theirs.status.tenant });
    let answer = stack
        .call(&stack.telemetry, &stack.ours, "query_logs", asked)
        .await?;
    let matched = &answer.body["result"]["structuredContent"]["answer"]["matched"];
    Ok(Outcome::of(
        matched.as_u64().unwrap_or(0) > 0,
        answer.brief(),
    ))
}

/// A piece of evidence of their run.
async fn their_evidence(stack: &Stack) -> Result<String> {
    let run = &stack.theirs.status;
    let new = RecordEvidence {
        epoch: run.epoch,
        kind: EvidenceKind::Logs,
        tool: "telemetry.query_logs".to_owned(),
        arguments: json!({}),
        content: json!({ "line": MARK }),
        truncated: false,
        took_ms: 1,
    };
    let id = stack
        .cases
        .record("telemetry", run.investigation, new)
        .await?;
    Ok(id.to_string())
}

/// Turns the database's own switch, where the control is one of the database.
async fn without_row_security(pg: &PgPool) -> Result<()> {
    if !nightshift_controls::holds(nightshift_controls::Control::RowSecurity) {
        let off = "do $$ declare t record; begin \
            for t in select relname from pg_class where relrowsecurity and relkind = 'r' loop \
                execute format('alter table %I disable row level security', t.relname); \
            end loop; end $$";
        sqlx::raw_sql(off).execute(pg).await?;
    }
    Ok(())
}

async fn other_evidence() -> Result<Outcome> {
    let stack = Stack::start().await?;
    without_row_security(&stack.pg).await?;
    let asked = json!({ "evidence": their_evidence(&stack).await? });
    stack
        .call(
            &stack.casebook,
            &stack.theirs,
            "read_evidence",
            asked.clone(),
        )
        .await?
        .honest()?;
    let answer = stack
        .call(&stack.casebook, &stack.ours, "read_evidence", asked)
        .await?;
    Ok(Outcome::of(answer.text.contains(MARK), answer.brief()))
}

async fn forgotten_tenant() -> Result<Outcome> {
    let stack = Stack::start().await?;
    without_row_security(&stack.pg).await?;
    their_evidence(&stack).await?;
    let casebook = Role::Casebook
        .acting(&stack.pg.connect_options(), 1)
        .await?;
    let rows: i64 = sqlx::query_scalar("select count(*) from evidence")
        .fetch_one(&casebook)
        .await?;
    let all: i64 = sqlx::query_scalar("select count(*) from evidence")
        .fetch_one(&stack.pg)
        .await?;
    anyhow::ensure!(all == 1, "there is nothing to find");
    Ok(Outcome::of(rows > 0, format!("{rows} of {all} rows seen")))
}

/// Statements that a casebook has no business with.
const TAKEN_OVER: &[&str] = &[
    "update pools set max_sandboxes = 100000",
    "select secret_refs from endpoints",
    "insert into used_statements (jti, expires_at) values ('x', now())",
    "delete from tool_calls",
    "update generations set image = 'evil'",
];

async fn taken_over() -> Result<Outcome> {
    let stack = Stack::start().await?;
    if !nightshift_controls::holds(nightshift_controls::Control::LeastGrants) {
        let all = format!(
            "grant all on all tables in schema public to {}",
            Role::Casebook.name()
        );
        sqlx::raw_sql(AssertSqlSafe(all)).execute(&stack.pg).await?;
    }
    let casebook = Role::Casebook
        .acting(&stack.pg.connect_options(), 1)
        .await?;
    let mut done = Vec::new();
    for statement in TAKEN_OVER {
        match sqlx::raw_sql(*statement).execute(&casebook).await {
            Ok(_) => done.push(*statement),
            Err(error) => anyhow::ensure!(
                error.to_string().contains("permission denied")
                    || error.to_string().contains("row-level security"),
                "{statement}: {error}"
            ),
        }
    }
    let what = format!(
        "{} of {} statements carried out",
        done.len(),
        TAKEN_OVER.len()
    );
    Ok(Outcome::of(!done.is_empty(), what))
}

async fn path_out() -> Result<Outcome> {
    let stack = Stack::start().await?;
    let mut said = String::new();
    for path in [
        "../../etc/passwd",
        "/etc/passwd",
        "/proc/self/environ",
        "../src/../../etc/passwd",
    ] {
        let asked = json!({ "path": path });
        let answer = stack
            .call(&stack.codebase, &stack.ours, "read_file", asked)
            .await?;
        if answer.text.contains("root:") {
            return Ok(Outcome::Succeeded(answer.brief()));
        }
        said = answer.brief();
    }
    let own = json!({ "path": "README.md" });
    stack
        .call(&stack.codebase, &stack.ours, "read_file", own)
        .await?
        .honest()?;
    Ok(Outcome::Stopped(said))
}

async fn in_anothers_name() -> Result<Outcome> {
    let stack = Stack::start().await?;
    let run = &stack.theirs.status;
    let url = format!(
        "http://{}/internal/v1/runs/{}/evidence",
        stack.internal, run.investigation
    );
    let http = reqwest::Client::builder().no_proxy().build()?;
    let record = async |tool: &str| {
        let evidence = RecordEvidence {
            epoch: run.epoch,
            kind: EvidenceKind::Logs,
            tool: tool.to_owned(),
            arguments: json!({}),
            content: json!({ "line": "it was the neighbour" }),
            truncated: false,
            took_ms: 1,
        };
        send(http.post(&url).bearer_auth(SERVICE_SECRET).json(&evidence)).await
    };
    record("telemetry.query_logs").await?.honest()?;
    let answer = record("codebase.read_commit").await?;
    Ok(Outcome::of(answer.status.is_success(), answer.brief()))
}
