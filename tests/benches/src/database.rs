//! A database of our own in a cluster of our own, with `fsync` on and PostgreSQL's defaults.

use std::{path::Path, str::FromStr};

use anyhow::{Context, Result, ensure};
use nightshift_postgres::Cluster;
use nightshift_store::Store;
use sqlx::{
    Connection, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

/// The cluster's folder in `.local`.
const CLUSTER: &str = "pg-bench";

/// A fresh database with every migration.
pub(crate) struct Database {
    cluster: Cluster,
    url: String,
    name: String,
    /// Connections for what the benchmark itself prepares and looks up.
    pub(crate) admin: PgPool,
}

impl Database {
    /// Starts the cluster, drops what killed benchmarks left, and makes an empty database.
    pub(crate) async fn make(local: &Path) -> Result<Self> {
        let cluster = Cluster::locate(local, CLUSTER)?;
        let url = cluster.start()?.url;
        let mut server = PgConnection::connect(&url).await?;
        let old: Vec<String> =
            sqlx::query_scalar("select datname from pg_database where datname like 'bench\\_%'")
                .fetch_all(&mut server)
                .await?;
        for name in old {
            drop_database(&mut server, &name).await?;
        }
        let name = format!("bench_{}", std::process::id());
        sqlx::query(sqlx::AssertSqlSafe(format!("create database {name}")))
            .execute(&mut server)
            .await?;
        let url = url
            .rsplit_once('/')
            .map(|(server, _)| format!("{server}/{name}"))
            .context("the cluster's URL names no database")?;
        let admin = PgPoolOptions::new()
            .max_connections(4)
            .connect(&url)
            .await?;
        Store::new(admin.clone()).migrate().await?;
        let found = Self {
            cluster,
            url,
            name,
            admin,
        };
        for (setting, wanted) in [("fsync", "on"), ("synchronous_commit", "on")] {
            let is = found.setting(setting).await?;
            ensure!(
                is == wanted,
                "{setting} is {is}: the figures would be of no use"
            );
        }
        Ok(found)
    }

    /// A setting of the server.
    pub(crate) async fn setting(&self, name: &str) -> Result<String> {
        let value = sqlx::query_scalar("select current_setting($1)")
            .bind(name)
            .fetch_one(&self.admin)
            .await?;
        Ok(value)
    }

    /// A store with up to `connections` connections, all of which are open before anything is measured.
    pub(crate) async fn store(&self, connections: u32) -> Result<Store> {
        Ok(Store::new(self.pool(connections, &[]).await?))
    }

    /// Connections with settings of their own.
    pub(crate) async fn pool(&self, count: u32, settings: &[(&str, &str)]) -> Result<PgPool> {
        let options = PgConnectOptions::from_str(&self.url)?.options(settings.iter().copied());
        let pool = PgPoolOptions::new()
            .max_connections(count)
            .min_connections(count)
            .acquire_timeout(std::time::Duration::from_mins(1))
            .connect_with(options)
            .await?;
        let mut held = Vec::new();
        for _ in 0..count {
            held.push(pool.acquire().await?);
        }
        drop(held);
        Ok(pool)
    }

    /// The address, with the password in it.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Drops the database and stops the cluster.
    pub(crate) async fn end(self) -> Result<()> {
        self.admin.close().await;
        let (server, _) = self.url.rsplit_once('/').context("no server")?;
        let mut server = PgConnection::connect(&format!("{server}/postgres")).await?;
        drop_database(&mut server, &self.name).await?;
        server.close().await?;
        self.cluster.stop()?;
        Ok(())
    }
}

async fn drop_database(server: &mut PgConnection, name: &str) -> Result<()> {
    sqlx::query(sqlx::AssertSqlSafe(format!(
        "drop database if exists {name} with (force)"
    )))
    .execute(server)
    .await?;
    Ok(())
}
