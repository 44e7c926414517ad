//! Two tenants with live runs: every tool with every identifier of the other: control `tenant-case`.

use nightshift_domain::{EvidenceKind, Scope};
use nightshift_store::RunbookText;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::fixture::{Run, World, draft};

/// What only the other tenant's rows say.
const MARK: &str = "globex-only";

/// The other tenant's run, with a row of every kind.
async fn other(world: &World) -> (Run, Vec<String>) {
    let tenant = world.tenant("globex").await;
    let run = world.run(tenant, MARK).await;
    let evidence = world
        .observed(run, EvidenceKind::Logs, json!({"line": MARK}))
        .await;
    let now = nightshift_mcp_kit::Clock::now(&world.clock);
    let mut tx = world.store.begin().await.unwrap();
    let id = run.key.investigation;
    let message = tx.add_message(tenant, id, MARK, MARK, now).await.unwrap();
    let runbook = RunbookText {
        name: MARK.to_owned(),
        body: MARK.to_owned(),
    };
    tx.put_runbook(tenant, None, &runbook).await.unwrap();
    tx.commit().await.unwrap();
    let names = vec![
        evidence.to_string(),
        message.to_string(),
        id.to_string(),
        tenant.to_string(),
        run.key.sandbox.to_string(),
        run.alert.to_string(),
    ];
    (run, names)
}

/// Every tool with these identifiers wherever one fits, and where none does.
fn questions(evidence: &str, message: &str, names: &[String]) -> Vec<(&'static str, Value)> {
    let mut asked = vec![
        ("read_evidence", json!({"evidence": evidence})),
        (
            "answer_message",
            json!({"message": message, "text": "mine now"}),
        ),
    ];
    let report = draft(&[evidence.parse().unwrap()], 0.9);
    let bare = [
        ("read_alert", json!({})),
        ("list_related_alerts", json!({})),
        ("read_runbook", json!({})),
        ("list_evidence", json!({})),
        ("read_inbox", json!({})),
        ("heartbeat", json!({})),
        ("submit_report", json!({"report": report})),
    ];
    for (tool, arguments) in bare {
        asked.push((tool, arguments.clone()));
        for name in names {
            let mut more = arguments.clone();
            for key in ["tenant", "investigation", "sandbox", "alert", "run", "id"] {
                more[key] = json!(name);
            }
            asked.push((tool, more));
        }
    }
    asked
}

async fn rows(pg: &PgPool, run: Run) -> Vec<String> {
    let id = run.key.investigation.as_uuid();
    let mut found = Vec::new();
    for query in [
        "select i::text from investigations i where id = $1",
        "select m::text from messages m where investigation_id = $1",
        "select e::text from evidence e where investigation_id = $1",
        "select r::text from reports r where investigation_id = $1",
        "select e::text from investigation_events e where investigation_id = $1 order by seq",
    ] {
        let rows: Vec<String> = sqlx::query_scalar(query)
            .bind(id)
            .fetch_all(pg)
            .await
            .unwrap();
        found.extend(rows);
    }
    found
}

#[sqlx::test(migrations = "../../migrations")]
async fn no_tool_finds_or_changes_anything_of_another_tenant(pg: PgPool) {
    let world = World::new(pg).await;
    let (theirs, names) = other(&world).await;
    let mine = world.run(world.tenant("acme").await, "ledger").await;
    let server = world.server(mine);
    let before = rows(&world.pg, theirs).await;
    assert!(before.len() >= 5, "there is something to find");

    let asked = questions(&names[0], &names[1], &names);
    let tools = server.list_as(Scope::ALL).await;
    for tool in &tools {
        assert!(
            asked.iter().any(|(tried, _)| tried == tool),
            "nobody tried {tool}"
        );
    }
    // What does not exist at all is answered alike.
    let nothing = [
        "evd_0192f0c1000070008000000000000000",
        "msg_0192f0c1000070008000000000000000",
    ];
    let absent = questions(nothing[0], nothing[1], &names);
    for ((tool, arguments), (_, unreal)) in asked.iter().zip(&absent) {
        let answer = server.call(tool, arguments.clone()).await;
        assert!(
            !answer.text.contains(MARK),
            "{tool} {arguments}: {}",
            answer.text
        );
        for name in &names {
            let told = answer.text.contains(name.as_str())
                && !arguments.to_string().contains(name.as_str());
            assert!(!told, "{tool} {arguments}: {}", answer.text);
        }
        if ["read_evidence", "answer_message"].contains(tool) {
            let unknown = server.call(tool, unreal.clone()).await;
            assert_eq!(answer.failure(), unknown.failure(), "{tool}");
        }
    }
    assert_eq!(
        rows(&world.pg, theirs).await,
        before,
        "nothing of theirs was changed"
    );
}
