//! What PostgreSQL's own catalogue says of every table and role: control `row-security`.

use anyhow::Result;
use nightshift_store::Role;
use sqlx::PgPool;

/// Tables that belong to tenants: those that name one, and those of an investigation.
pub(super) async fn walled(pg: &PgPool) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar(
        "select c.relname::text
           from pg_class c
          where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
            and (c.relname = 'tenants'
                 or exists (select from pg_attribute a
                             where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped)
                 or exists (select from pg_constraint k
                             where k.conrelid = c.oid and k.contype = 'f'
                               and k.confrelid = 'investigations'::regclass))
          order by 1",
    )
    .fetch_all(pg)
    .await?)
}

/// What is wrong with the wall, one line each.
async fn faults(pg: &PgPool) -> Result<Vec<String>> {
    let mut found: Vec<String> = Vec::new();
    for table in walled(pg).await? {
        let (on, forced, policies): (bool, bool, i64) = sqlx::query_as(
            "select c.relrowsecurity, c.relforcerowsecurity,
                    (select count(*) from pg_policy p where p.polrelid = c.oid)
               from pg_class c where c.oid = ('public.' || quote_ident($1))::regclass",
        )
        .bind(&table)
        .fetch_one(pg)
        .await?;
        if !(on && forced) {
            found.push(format!("{table}: row security is not on for everybody"));
        }
        if policies == 0 {
            found.push(format!("{table}: no policy says whose its rows are"));
        }
    }
    let roles = Role::ALL.map(Role::name).to_vec();
    for query in [
        // A condition without a tenant is the engine's alone.
        "select tablename || ': ' || policyname || ' shows all rows to ' || array_to_string(roles, ', ')
           from pg_policies
          where (coalesce(qual, '') in ('', 'true') or coalesce(with_check, '') = 'true')
            and cmd <> 'INSERT' and (roles <> '{nightshift_engine}' or $1::text[] is null)",
        "select tablename || ': ' || policyname || ' widens what a tenant sees'
           from pg_policies where (permissive <> 'PERMISSIVE' or 'public' = any(roles)) and $1::text[] is not null",
        "select rolname || ' could pass the wall' from pg_roles
          where rolname = any($1) and (rolsuper or rolbypassrls or rolcreaterole or rolcreatedb)",
        "select rolname || ' is a member of ' || m.roleid::regrole from pg_auth_members m
           join pg_roles r on r.oid = m.member where r.rolname = any($1)",
        "select relname || ' is owned by ' || relowner::regrole from pg_class
          where relowner::regrole::text = any($1)",
        "select proname || ' is owned by ' || proowner::regrole from pg_proc
          where proowner::regrole::text = any($1)",
        "select 'the schema is owned by ' || nspowner::regrole from pg_namespace
          where nspowner::regrole::text = any($1)",
        // Both would run with their owner's eyes.
        "select relname || ' is a view' from pg_class
          where relnamespace = 'public'::regnamespace and relkind in ('v', 'm') and $1::text[] is not null",
        "select proname || ' runs as its owner' from pg_proc
          where pronamespace = 'public'::regnamespace and prosecdef and $1::text[] is not null",
        "select r || ' may create tables' from unnest($1) r where has_schema_privilege(r, 'public', 'create')",
        "select r || ' may truncate ' || c.relname from unnest($1) r, pg_class c
          where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'
            and has_table_privilege(r, c.oid, 'truncate')",
    ] {
        let lines: Vec<String> = sqlx::query_scalar(query).bind(&roles).fetch_all(pg).await?;
        found.extend(lines);
    }
    Ok(found)
}

#[sqlx::test(migrations = "../migrations")]
async fn every_table_of_a_tenant_has_a_wall_and_no_role_a_way_around_it(pg: PgPool) -> Result<()> {
    let walled = walled(&pg).await?;
    assert!(walled.len() >= 16, "the catalogue was not read: {walled:?}");
    let found = faults(&pg).await?;
    assert!(found.is_empty(), "{}", found.join("\n"));
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_hole_in_the_wall_is_named(pg: PgPool) -> Result<()> {
    for (hole, line) in [
        (
            "create table leaks (tenant_id uuid not null)",
            "leaks: row security is not on for everybody",
        ),
        (
            "alter table alerts no force row level security",
            "alerts: row security is not on for everybody",
        ),
        (
            "drop policy of_one_tenant on runbooks",
            "runbooks: no policy says whose its rows are",
        ),
        (
            "create policy oops on evidence to nightshift_casebook using (true)",
            "evidence: oops shows all rows to nightshift_casebook",
        ),
        (
            "create policy wide on messages using (author = 'ada')",
            "messages: wide widens what a tenant sees",
        ),
        (
            "alter table reports owner to nightshift_casebook",
            "reports is owned by nightshift_casebook",
        ),
        ("create view peek as select * from alerts", "peek is a view"),
        (
            "create function peep() returns bigint language sql security definer
                 as 'select count(*) from alerts'",
            "peep runs as its owner",
        ),
        (
            "grant truncate on alerts to nightshift_engine",
            "nightshift_engine may truncate alerts",
        ),
    ] {
        sqlx::query(hole).execute(&pg).await?;
        let found = faults(&pg).await?;
        assert!(found.iter().any(|found| found == line), "{line}: {found:?}");
    }
    Ok(())
}
