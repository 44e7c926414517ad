//! A database for each attack, copied from one that has every migration.

use std::str::FromStr;

use anyhow::{Context, Result};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, PgPool,
    postgres::{PgConnectOptions, PgConnection, PgPoolOptions},
};

/// Names the database that the copies are made of, for the processes that try one attack.
pub(crate) const TEMPLATE: &str = "NIGHTSHIFT_ATTACK_TEMPLATE";

/// The database that the others are copies of.
pub(crate) struct Template {
    server: PgConnectOptions,
    pub(crate) name: String,
}

fn server() -> Result<PgConnectOptions> {
    let url = std::env::var_os("DATABASE_URL").context("DATABASE_URL is not set")?;
    let url = url.into_string().ok().context("DATABASE_URL is not text")?;
    Ok(PgConnectOptions::from_str(&url)
        .context("DATABASE_URL")?
        .disable_statement_logging())
}

async fn execute(connection: &mut PgConnection, sql: String) -> Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(connection)
        .await?;
    Ok(())
}

impl Template {
    pub(crate) async fn make() -> Result<Self> {
        let server = server()?;
        let name = format!("attack_{}", std::process::id());
        let mut connection = PgConnection::connect_with(&server).await?;
        execute(&mut connection, format!("create database {name}")).await?;
        connection.close().await?;
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .connect_with(server.clone().database(&name))
            .await?;
        sqlx::migrate!("../../migrations").run(&pool).await?;
        pool.close().await;
        Ok(Self { server, name })
    }

    /// Drops it, and what killed attacks left behind.
    pub(crate) async fn drop(self) -> Result<()> {
        let mut connection = PgConnection::connect_with(&self.server).await?;
        let like = format!("{}%", self.name);
        let names: Vec<String> =
            sqlx::query_scalar("select datname from pg_database where datname like $1")
                .bind(like)
                .fetch_all(&mut connection)
                .await?;
        for name in names {
            execute(
                &mut connection,
                format!("drop database {name} with (force)"),
            )
            .await?;
        }
        Ok(())
    }
}

/// An empty database of this attack's own, as its owner. The parent drops it.
pub(crate) async fn fresh() -> Result<PgPool> {
    let server = server()?;
    let template = std::env::var_os(TEMPLATE).and_then(|name| name.into_string().ok());
    let template = template.context("this process has no template to copy")?;
    let name = format!("{template}_{}", std::process::id());
    let mut connection = PgConnection::connect_with(&server).await?;
    execute(
        &mut connection,
        format!("create database {name} template {template}"),
    )
    .await?;
    connection.close().await?;
    Ok(PgPoolOptions::new()
        .max_connections(8)
        .connect_with(server.database(&name))
        .await?)
}
