//! One worker's database: made once, emptied for each seed, and a connection for each actor.

use std::{str::FromStr, time::Duration};

use anyhow::Context as _;
use sqlx::{
    AssertSqlSafe, Connection as _, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

/// Everything that could make two runs of a seed differ, switched off: plans that depend on the hash of a
/// random identifier, or on when somebody looked at the statistics. Nothing is waited for on disk, as no
/// seed survives its process; what a crash of the server loses is not what is looked for here.
const SETTINGS: [(&str, &str); 8] = [
    ("synchronous_commit", "off"),
    ("enable_hashjoin", "off"),
    ("enable_hashagg", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    ("max_parallel_workers_per_gather", "0"),
    ("jit", "off"),
    // Whoever closes a cycle of locks learns of it, and soon.
    ("deadlock_timeout", "30ms"),
    ("timezone", "UTC"),
];

/// A worker's database.
#[derive(Debug)]
pub struct Database {
    options: PgConnectOptions,
    monitor: PgPool,
    lines: Vec<Line>,
    truncate: String,
}

/// The one connection of one actor.
#[derive(Debug, Clone)]
pub struct Line {
    /// The connection.
    pub pool: PgPool,
    /// The server's process behind it.
    pub pid: i32,
}

impl Database {
    /// Makes the database `name` on the server of `url` anew, with `lines` connections for actors.
    pub async fn create(url: &str, name: &str, lines: usize) -> anyhow::Result<Self> {
        let server = PgConnectOptions::from_str(url).context("DATABASE_URL")?;
        let mut admin = PgConnection::connect_with(&server).await?;
        for statement in [
            format!("drop database if exists {name} with (force)"),
            format!("create database {name}"),
        ] {
            // The name is ours.
            sqlx::raw_sql(AssertSqlSafe(statement))
                .execute(&mut admin)
                .await?;
        }
        admin.close().await?;
        let options = server.database(name).options(SETTINGS);
        let monitor = connect(&options).await?;
        nightshift_store::Store::new(monitor.clone())
            .migrate()
            .await?;
        let mut database = Self {
            truncate: truncation(&monitor).await?,
            options,
            monitor,
            lines: Vec::new(),
        };
        for _ in 0..lines {
            let pool = connect(&database.options).await?;
            let pid = pid_of(&pool).await?;
            database.lines.push(Line { pool, pid });
        }
        Ok(database)
    }

    /// Drops the database; there is nothing in it that a seed does not bring back.
    pub async fn drop(self, url: &str) -> anyhow::Result<()> {
        let name = self.options.get_database().unwrap_or_default().to_owned();
        self.monitor.close().await;
        for line in &self.lines {
            line.pool.close().await;
        }
        let mut admin = PgConnection::connect_with(&PgConnectOptions::from_str(url)?).await?;
        let statement = format!("drop database {name} with (force)");
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&mut admin)
            .await?;
        admin.close().await?;
        Ok(())
    }

    /// The connection that looks from outside.
    #[must_use]
    pub const fn monitor(&self) -> &PgPool {
        &self.monitor
    }

    /// The actors' connections, with the processes behind them as they are now.
    pub async fn lines(&mut self) -> anyhow::Result<Vec<Line>> {
        for line in &mut self.lines {
            line.pid = pid_of(&line.pool).await?;
        }
        Ok(self.lines.clone())
    }

    /// Empties every table; counters begin anew.
    pub async fn empty(&self) -> anyhow::Result<()> {
        sqlx::raw_sql(AssertSqlSafe(self.truncate.as_str()))
            .execute(&self.monitor)
            .await?;
        Ok(())
    }
}

async fn connect(options: &PgConnectOptions) -> anyhow::Result<PgPool> {
    Ok(PgPoolOptions::new()
        .max_connections(1)
        .min_connections(1)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(Duration::from_mins(1))
        .connect_with(options.clone())
        .await?)
}

async fn pid_of(pool: &PgPool) -> anyhow::Result<i32> {
    Ok(sqlx::query_scalar("select pg_backend_pid()")
        .fetch_one(pool)
        .await?)
}

/// The statement that empties every table. On the way each table is told to be left alone by the vacuum:
/// its statistics would change plans in the middle of a seed.
async fn truncation(monitor: &PgPool) -> anyhow::Result<String> {
    let all: Vec<String> = sqlx::query_scalar(
        "select quote_ident(tablename) from pg_tables
          where schemaname = 'public' and tablename <> '_sqlx_migrations' order by 1",
    )
    .fetch_all(monitor)
    .await?;
    let mut tables = Vec::new();
    for table in all {
        let quiet = format!("alter table {table} set (autovacuum_enabled = off)");
        sqlx::raw_sql(AssertSqlSafe(quiet)).execute(monitor).await?;
        // What the migrations put there belongs there.
        let filled = format!("select exists (select from {table})");
        if !sqlx::query_scalar(AssertSqlSafe(filled))
            .fetch_one(monitor)
            .await?
        {
            tables.push(table);
        }
    }
    Ok(format!("truncate {} restart identity", tables.join(", ")))
}
