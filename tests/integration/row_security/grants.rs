//! What a role may not do at all, whoever's rows they are: control `least-grants`.

use anyhow::Result;
use nightshift_store::{Role, Store};
use sqlx::{AssertSqlSafe, PgPool};

/// Statements that a role taken over would try, and that its own work never needs.
const REFUSED: [(Role, &str); 28] = [
    (Role::Intake, "select report from reports"),
    (Role::Intake, "select content from evidence"),
    (Role::Intake, "update endpoints set secret_refs = '{}'"),
    (Role::Intake, "delete from alerts"),
    (Role::Intake, "update investigations set state = 'working'"),
    (Role::Session, "select body from messages"),
    (Role::Session, "select secret_refs from endpoints"),
    (Role::Session, "select config from connections"),
    (Role::Session, "insert into alerts select * from alerts"),
    (Role::Session, "update sandboxes set epoch = 9"),
    (
        Role::Session,
        "insert into outbox (kind) values ('claim_wake')",
    ),
    (Role::Casebook, "select secret_refs from endpoints"),
    (Role::Casebook, "select path_token from endpoints"),
    (Role::Casebook, "select body from deliveries"),
    (Role::Casebook, "select slug from tenants"),
    (Role::Casebook, "select payload from outbox"),
    (Role::Casebook, "update evidence set content = '{}'"),
    (Role::Casebook, "delete from tool_calls"),
    (
        Role::Casebook,
        "update investigations set tenant_id = gen_random_uuid()",
    ),
    (Role::Casebook, "update connections set config = '{}'"),
    (Role::Api, "select secret_refs from endpoints"),
    (Role::Api, "select path_token from endpoints"),
    (Role::Api, "select content from evidence"),
    (Role::Api, "update messages set answer = 'forged'"),
    (Role::Engine, "select content from evidence"),
    (Role::Engine, "select config from connections"),
    (Role::Engine, "select body from messages"),
    (Role::Engine, "select path_token from endpoints"),
];

#[sqlx::test(migrations = "../migrations")]
async fn a_role_may_do_what_its_statements_need_and_nothing_else(pg: PgPool) -> Result<()> {
    for (role, statement) in REFUSED {
        let pool = role.acting(&pg.connect_options(), 1).await?;
        let outcome = sqlx::query(AssertSqlSafe(statement)).execute(&pool).await;
        let code = outcome
            .as_ref()
            .err()
            .and_then(|error| error.as_database_error()?.code());
        assert_eq!(
            code.as_deref(),
            Some("42501"),
            "{role:?}: {statement}: {outcome:?}"
        );
        // As the owner the same statement is one that the database understands.
        let prepared = format!("prepare tried as {statement}; deallocate tried");
        sqlx::raw_sql(AssertSqlSafe(prepared)).execute(&pg).await?;
        pool.close().await;
    }
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_role_that_logged_in_has_nobody_to_go_back_to(pg: PgPool) -> Result<()> {
    let owner = Store::new(pg.clone());
    for weak in ["", "short", "with'quote0123456789", "a space 0123456789"] {
        assert!(owner.let_in(Role::Session, weak).await.is_err(), "{weak:?}");
    }
    let password = "0123456789abcdef0123456789abcdef";
    owner.let_in(Role::Session, password).await?;
    let options = (*pg.connect_options()).clone();
    let options = options.username(Role::Session.name()).password(password);
    let pool = PgPool::connect_with(options).await?;
    for way in ["reset role", "set session authorization default"] {
        sqlx::query(AssertSqlSafe(way)).execute(&pool).await?;
        let is: String = sqlx::query_scalar("select current_user::text")
            .fetch_one(&pool)
            .await?;
        assert_eq!(is, Role::Session.name(), "{way}");
    }
    for way in [
        "set role nightshift_engine",
        "set session authorization nightshift_engine",
        "alter table alerts disable row level security",
        "alter role nightshift_session bypassrls",
        "create table mine (id int)",
        "copy (select 1) to program 'true'",
        "drop policy of_one_tenant on alerts",
    ] {
        let outcome = sqlx::query(AssertSqlSafe(way)).execute(&pool).await;
        let code = outcome
            .as_ref()
            .err()
            .and_then(|error| error.as_database_error()?.code());
        assert_eq!(code.as_deref(), Some("42501"), "{way}: {outcome:?}");
    }
    // It may ask for no wall; then it is told that there is one, and gets nothing.
    let mut one = pool.acquire().await?;
    sqlx::query("set row_security = off")
        .execute(&mut *one)
        .await?;
    let outcome = sqlx::query("select id from alerts")
        .fetch_all(&mut *one)
        .await;
    assert!(outcome.is_err(), "{outcome:?}");
    Ok(())
}
