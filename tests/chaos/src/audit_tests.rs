//! Each rule against a history that breaks it, and against one that does not.

use sqlx::{ConnectOptions, PgPool};

use super::*;

/// Rows that may stand alone: what they refer to does not matter to the rules.
const FREE: &str = "set session_replication_role = replica;";
/// A good life of one sandbox and one investigation, reported and told.
const GOOD: &str = "
    insert into chaos_audit (what, id, state, partner, epoch) values
        ('sandbox', '00000000-0000-0000-0000-00000000000a', 'ready', null, 0),
        ('sandbox', '00000000-0000-0000-0000-00000000000a', 'claimed', '00000000-0000-0000-0000-00000000000b', 1),
        ('sandbox', '00000000-0000-0000-0000-00000000000a', 'claimed', '00000000-0000-0000-0000-00000000000b', 2),
        ('sandbox', '00000000-0000-0000-0000-00000000000a', 'gone', null, 2),
        ('investigation', '00000000-0000-0000-0000-00000000000b', 'working', null, 2),
        ('investigation', '00000000-0000-0000-0000-00000000000b', 'concluded', null, 2);
    insert into investigations (id, tenant_id, incident_id, alert_id, state, ended_at, created_at) values
        ('00000000-0000-0000-0000-00000000000b', gen_random_uuid(), gen_random_uuid(), gen_random_uuid(),
         'concluded', now(), now());
    insert into reports (investigation_id, tenant_id, epoch, report, submitted_at) values
        ('00000000-0000-0000-0000-00000000000b', gen_random_uuid(), 2, '{}', now());";

/// What breaks each rule, in the rules' order.
const BAD: [&str; RULES.len()] = [
    "insert into chaos_audit (what, id, state, epoch) values
        ('sandbox', '00000000-0000-0000-0000-00000000000a', 'gone', 1)",
    "insert into chaos_audit (what, id, state, partner, epoch) values
        ('sandbox', '00000000-0000-0000-0000-00000000000c', 'claimed', gen_random_uuid(), 1),
        ('sandbox', '00000000-0000-0000-0000-00000000000c', 'claimed', gen_random_uuid(), 1)",
    "insert into chaos_audit (what, id, state, partner, epoch) values
        ('sandbox', '00000000-0000-0000-0000-00000000000c', 'ready', null, 1),
        ('sandbox', '00000000-0000-0000-0000-00000000000c', 'claimed', gen_random_uuid(), 1)",
    "insert into chaos_audit (what, id, state, epoch) values
        ('sandbox', '00000000-0000-0000-0000-00000000000a', 'ready', 2)",
    "insert into chaos_audit (what, id, state, epoch) values
        ('investigation', '00000000-0000-0000-0000-00000000000b', 'working', 2)",
    "delete from reports",
    "insert into outbox (kind, group_key, payload, created_at, due_at, dead_at) values
        ('retire', 'x', '{}', now(), now(), now())",
    "insert into sandboxes (id, pool_id, state, investigation_id, deadline_at, created_at) values
        (gen_random_uuid(), gen_random_uuid(), 'claimed', '00000000-0000-0000-0000-00000000000b', now(), now())",
];

async fn audit(pg: &PgPool) -> Result<Audit> {
    let url = pg.connect_options().to_url_lossy().to_string();
    Audit::begin(url, "http://127.0.0.1:9/reports").await
}

async fn put(pg: &PgPool, rows: &'static str) -> Result<()> {
    let mut connection = pg.acquire().await?;
    sqlx::raw_sql(FREE).execute(&mut *connection).await?;
    sqlx::raw_sql(rows).execute(&mut *connection).await?;
    connection.close().await?;
    Ok(())
}

#[sqlx::test(migrations = "../../migrations")]
async fn a_history_without_faults_breaks_no_rule(pg: PgPool) -> Result<()> {
    let audit = audit(&pg).await?;
    put(&pg, GOOD).await?;
    assert_eq!(audit.violations().await?, Vec::<String>::new());
    Ok(())
}

#[sqlx::test(migrations = "../../migrations")]
async fn each_rule_sees_what_breaks_it_and_nothing_else_does(pg: PgPool) -> Result<()> {
    let audit = audit(&pg).await?;
    let empty = "truncate chaos_audit, investigations, reports, outbox, sandboxes cascade";
    for (bad, (rule, _)) in BAD.into_iter().zip(RULES) {
        put(&pg, empty).await?;
        put(&pg, GOOD).await?;
        put(&pg, bad).await?;
        let found = audit.violations().await?;
        assert!(
            found.len() == 1 && found[0].starts_with(rule),
            "{rule}: {found:?}"
        );
    }
    Ok(())
}

#[sqlx::test(migrations = "../../migrations")]
async fn an_accepted_alert_without_its_one_investigation_is_lost(pg: PgPool) -> Result<()> {
    let audit = audit(&pg).await?;
    put(
        &pg,
        "insert into incidents (id, tenant_id, source, source_key, title, status, opened_at) values
            (gen_random_uuid(), gen_random_uuid(), 'generic', 'chaos-1', 'x', 'open', now())",
    )
    .await?;
    assert!(audit.lost("chaos-1").await?.is_some());
    assert!(audit.lost("chaos-2").await?.is_some());
    Ok(())
}

#[sqlx::test(migrations = "../../migrations")]
async fn the_version_before_writes_its_own_form(pg: PgPool) -> Result<()> {
    let audit = audit(&pg).await?;
    let step = r#"insert into outbox (kind, group_key, payload, created_at, due_at)
                  values ('retire', 'x', '{"v": 2, "step": {}, "trace": "00"}', now(), now())"#;
    let mut connection = audit.connect().await?;
    sqlx::raw_sql(step).execute(&mut connection).await?;
    sqlx::raw_sql("set application_name = 'nightshift-before'")
        .execute(&mut connection)
        .await?;
    sqlx::raw_sql(step).execute(&mut connection).await?;
    let forms: Vec<String> = sqlx::query_scalar("select payload::text from outbox order by id")
        .fetch_all(&mut connection)
        .await?;
    assert!(forms[0].contains(r#""v": 2"#) && forms[0].contains("trace"));
    assert!(forms[1].contains(r#""v": 1"#) && !forms[1].contains("trace"));
    assert_eq!(audit.figures().await?.old_steps, 1);
    Ok(())
}
