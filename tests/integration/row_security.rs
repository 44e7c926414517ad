//! The second wall between tenants, tried from the inside of each role: control `row-security`.
//!
//! A query that forgets its tenant is what it is for, so the tests here are such queries. Each is also shown to
//! leak once the wall is taken away.

mod catalogue;
mod grants;
mod plans;

use anyhow::Result;
use nightshift_domain::{InvestigationId, TenantId};
use nightshift_store::{Role, Store, StoreError, Whose};
use nightshift_tests::World;
use sqlx::{AssertSqlSafe, PgPool, Row, types::Uuid};

/// The roles that work for one tenant at a time.
const FOR_ONE_TENANT: [Role; 4] = [Role::Intake, Role::Session, Role::Casebook, Role::Api];

/// Two tenants with a row in every table that belongs to one, and an investigation of each.
struct Two {
    world: World,
    tenants: [TenantId; 2],
    investigations: [InvestigationId; 2],
}

async fn two(pg: PgPool) -> Result<Two> {
    let world = World::builder().tenants(2).ready(2).build(pg).await?;
    let investigations = [
        world.alert_of(0, "ledger").await?,
        world.alert_of(1, "web").await?,
    ];
    world.settle().await?;
    let tenants = [world.endpoints[0].tenant, world.endpoints[1].tenant];
    for (tenant, investigation) in tenants.into_iter().zip(investigations) {
        fill(&world, tenant, investigation).await?;
    }
    Ok(Two {
        world,
        tenants,
        investigations,
    })
}

/// What the use cases of an alert leave empty.
async fn fill(world: &World, tenant: TenantId, investigation: InvestigationId) -> Result<()> {
    for statement in [
        "insert into connections values ($1, 'telemetry', jsonb_build_object('for', $2::uuid))",
        "insert into runbooks select $2, $1, null, 'default', 'look'",
        "insert into evidence select gen_random_uuid(), $1, $2, 1, 'telemetry', 'logs', 'telemetry.query_logs',
                                     '{}', '{}', 'digest', false, 1, now()",
        "insert into tool_calls (investigation_id, epoch, server, tool, arguments, outcome, took_ms, recorded_at)
         select id, 1, 'telemetry', 'telemetry.query_logs', '{}', 'failed', 1, now()
           from investigations where tenant_id = $1 and id = $2",
        "insert into model_uses (investigation_id, epoch, at, provider, model, input_tokens, output_tokens)
         select id, 1, now(), 'analyst', 'analyst', 1, 1
           from investigations where tenant_id = $1 and id = $2",
        "insert into reports select $2, $1, 1, '{}', now()",
        "insert into messages select gen_random_uuid(), $1, $2, 'ada', 'why?', now()",
        "insert into write_backs
         select i.id, 1, e.id, 'delivered', 200, now()
           from investigations i join endpoints e on e.tenant_id = i.tenant_id
          where i.tenant_id = $1 and i.id = $2",
    ] {
        sqlx::query(statement)
            .bind(tenant.as_uuid())
            .bind(investigation.as_uuid())
            .execute(&world.pg)
            .await?;
    }
    Ok(())
}

impl Two {
    async fn acting(&self, role: Role) -> Result<PgPool> {
        Ok(role.acting(&self.world.pg.connect_options(), 1).await?)
    }

    /// To how many of the two tenants the rows belong that a query finds which asks for all of a table.
    async fn seen(&self, pool: &PgPool, table: &str, begin: &str) -> Result<Vec<TenantId>> {
        let whose = match table {
            "tenants" => "id",
            "tool_calls" | "model_uses" | "investigation_events" | "write_backs" => {
                // Whose it is the owner must tell: for the role the other's investigation is not there.
                let query = format!("select distinct investigation_id from {table}");
                let ids = self.ids(pool, &query, begin).await?;
                let of = |id: &Uuid| {
                    self.investigations
                        .iter()
                        .position(|it| it.as_uuid() == *id)
                };
                return Ok(ids
                    .iter()
                    .filter_map(of)
                    .map(|at| self.tenants[at])
                    .collect());
            }
            _ => "tenant_id",
        };
        let ids = self
            .ids(
                pool,
                &format!("select distinct {whose} from {table}"),
                begin,
            )
            .await?;
        Ok(ids.into_iter().map(TenantId::from).collect())
    }

    async fn ids(&self, pool: &PgPool, query: &str, begin: &str) -> Result<Vec<Uuid>> {
        let mut tx = pool.begin_with(AssertSqlSafe(begin.to_owned())).await?;
        let rows = sqlx::query(AssertSqlSafe(query.to_owned()))
            .fetch_all(&mut *tx)
            .await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}

fn begin_for(tenant: TenantId) -> String {
    format!(
        "begin; set local nightshift.tenant = '{}'",
        tenant.as_uuid()
    )
}

/// Whether a role may read the columns by which the tests tell tenants apart.
async fn may_read(pool: &PgPool, table: &str) -> Result<bool> {
    let query = format!("select has_any_column_privilege(current_user, '{table}', 'select')");
    Ok(sqlx::query_scalar(AssertSqlSafe(query))
        .fetch_one(pool)
        .await?)
}

#[sqlx::test(migrations = "../migrations")]
async fn a_query_without_its_tenant_finds_its_own_rows_and_without_the_wall_everybodys(
    pg: PgPool,
) -> Result<()> {
    let two = two(pg).await?;
    let mut tried = 0;
    for role in FOR_ONE_TENANT {
        let pool = two.acting(role).await?;
        for table in catalogue::walled(&two.world.pg).await? {
            if !may_read(&pool, &table).await? {
                continue;
            }
            let what = format!("{role:?} reads {table}");
            for tenant in two.tenants {
                let seen = two.seen(&pool, &table, &begin_for(tenant)).await?;
                assert_eq!(seen, [tenant], "{what}");
            }
            assert!(
                two.seen(&pool, &table, "begin").await?.is_empty(),
                "{what}, unset"
            );

            let without = format!("alter table {table} disable row level security");
            sqlx::query(AssertSqlSafe(without))
                .execute(&two.world.pg)
                .await?;
            let seen = two.seen(&pool, &table, &begin_for(two.tenants[0])).await?;
            let again = format!("alter table {table} enable row level security");
            sqlx::query(AssertSqlSafe(again))
                .execute(&two.world.pg)
                .await?;
            assert_eq!(
                seen.len(),
                2,
                "{what}: the query would not have leaked, so it shows nothing"
            );
            tried += 1;
        }
    }
    assert!(
        tried >= 25,
        "only {tried} pairs of a role and a table were tried"
    );
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_connection_carries_no_tenant_from_one_transaction_to_the_next(pg: PgPool) -> Result<()> {
    let two = two(pg).await?;
    // One connection, so that each transaction has its predecessor's, as behind a transaction pooler.
    let pool = two.acting(Role::Casebook).await?;
    let store = Store::new(pool.clone());
    let [mine, other] = two.investigations;
    for committed in [true, false] {
        let mut tx = store.begin_for(Whose::RunOf(mine)).await?;
        assert!(tx.investigation(mine).await?.is_some());
        assert!(tx.investigation(other).await?.is_none());
        if committed {
            tx.commit().await?;
        } else {
            drop(tx);
        }
        let mut tx = store.begin().await?;
        assert!(
            tx.investigation(mine).await?.is_none(),
            "committed: {committed}"
        );
        drop(tx);
        let left: i64 = sqlx::query_scalar("select count(*) from alerts")
            .fetch_one(&pool)
            .await?;
        assert_eq!(left, 0, "committed: {committed}");
    }
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn nothing_of_another_tenant_is_read_or_written_by_its_name(pg: PgPool) -> Result<()> {
    let two = two(pg).await?;
    let store = Store::new(two.acting(Role::Casebook).await?);
    let api = Store::new(two.acting(Role::Api).await?);
    let ([mine, _], [_, theirs]) = (two.tenants, two.investigations);
    let now = two.world.platform.clock.now();
    let message: Uuid = sqlx::query_scalar("select id from messages where investigation_id = $1")
        .bind(theirs.as_uuid())
        .fetch_one(&two.world.pg)
        .await?;

    let mut tx = store.begin_for(Whose::Tenant(mine)).await?;
    assert!(!tx.has_report(theirs).await?);
    assert_eq!(tx.unanswered(theirs).await?, 0);
    assert!(tx.pool_of(theirs).await?.is_none());
    assert!(!tx.wants_report(theirs).await?);
    assert!(
        !tx.answer_message(theirs, message.into(), "mine now", now)
            .await?
    );
    let forged = tx
        .add_event(theirs, "evidence", &serde_json::json!({}), now)
        .await;
    assert!(refused(&forged), "{forged:?}");

    // For the other tenant, although the transaction works for this one.
    let mut tx = api.begin_for(Whose::Tenant(mine)).await?;
    let forged = tx
        .add_message(two.tenants[1], theirs, "eve", "tell me", now)
        .await;
    assert!(forged.as_ref().is_err_and(is_refusal), "{forged:?}");
    let left: i64 = sqlx::query_scalar(
        "select count(*) from messages where answer is not null or author = 'eve'",
    )
    .fetch_one(&two.world.pg)
    .await?;
    assert_eq!(left, 0);
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn one_statement_may_open_an_investigation_and_note_it_but_note_no_others(
    pg: PgPool,
) -> Result<()> {
    let two = two(pg).await?;
    let pool = two.acting(Role::Intake).await?;
    // The one that is open already ends, so that its incident may have another.
    sqlx::query("update investigations set state = 'failed', sandbox_id = null, epoch = null, deadline_at = null, ended_at = now(), reason = 'a test'")
        .execute(&two.world.pg)
        .await?;
    let mut tx = pool
        .begin_with(AssertSqlSafe(begin_for(two.tenants[0])))
        .await?;
    let noted = sqlx::query(
        "with opened as (
             insert into investigations (id, tenant_id, incident_id, alert_id, state, deadline_at, created_at)
             select gen_random_uuid(), tenant_id, incident_id, id, 'queued', now(), now() from alerts
             returning id)
         insert into investigation_events (investigation_id, at, kind, detail)
         select id, now(), 'accepted', '{}' from opened",
    )
    .execute(&mut *tx)
    .await?;
    assert_eq!(noted.rows_affected(), 1);
    let forged = sqlx::query(
        "insert into investigation_events (investigation_id, at, kind, detail) values ($1, now(), 'x', '{}')",
    )
    .bind(two.investigations[1].as_uuid())
    .execute(&mut *tx)
    .await;
    assert!(is_refusal(&forged.unwrap_err().into()));
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn an_operator_looks_at_everybody_only_where_that_is_said_and_changes_nothing_so(
    pg: PgPool,
) -> Result<()> {
    let two = two(pg).await?;
    let everybody = "begin; set local nightshift.everybody = 'on'";
    for role in FOR_ONE_TENANT {
        let pool = two.acting(role).await?;
        if !may_read(&pool, "alerts").await? {
            continue;
        }
        let seen = two.seen(&pool, "alerts", everybody).await?.len();
        assert_eq!(seen, if role == Role::Api { 2 } else { 0 }, "{role:?}");
    }
    let api = two.acting(Role::Api).await?;
    let mut tx = api.begin_with(everybody).await?;
    let changed = sqlx::query("update investigations set reason = 'by an operator of everything'")
        .execute(&mut *tx)
        .await?;
    assert_eq!(changed.rows_affected(), 0);
    Ok(())
}

#[sqlx::test(migrations = "../migrations")]
async fn an_address_shows_its_endpoint_and_a_quote_in_it_nothing(pg: PgPool) -> Result<()> {
    let two = two(pg).await?;
    let intake = Store::new(two.acting(Role::Intake).await?);
    let found = intake.endpoint("tenant-1").await?;
    assert_eq!(found.map(|endpoint| endpoint.tenant), Some(two.tenants[1]));
    for wrong in [
        "tenant-2",
        "x' or '1'='1",
        "\\'; select 1; --",
        "tenant-1\\x00",
    ] {
        assert!(intake.endpoint(wrong).await?.is_none(), "{wrong}");
    }
    Ok(())
}

fn refused<T>(outcome: &Result<T, StoreError>) -> bool {
    outcome.as_ref().is_err_and(is_refusal)
}

/// `insufficient_privilege`: a grant is missing, or a new row belongs to somebody else.
fn is_refusal(error: &StoreError) -> bool {
    let StoreError::Database(error) = error else {
        return false;
    };
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    code.as_deref() == Some("42501")
}
