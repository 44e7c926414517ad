//! The database connections of a process: a fixed number, leased to one caller at a time.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::sync::Semaphore;
use tokio_postgres::{Client, NoTls, Row, Statement, types::ToSql};

use crate::telemetry::{Telemetry, spans::OpenSpan, trace::Trace};

/// The database's name in the topology.
pub const DATABASE: &str = "inventory-db";

/// A statement with a short name for metrics and spans.
#[derive(Debug)]
pub struct Sql {
    /// What it does, in two or three words.
    pub name: &'static str,
    /// The statement.
    pub text: &'static str,
}

/// Why the database brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// All connections stayed in use.
    #[error("no database connection within {waited_ms} ms, {in_use} of {size} in use")]
    Exhausted {
        /// How long we waited.
        waited_ms: u128,
        /// Connections in use.
        in_use: usize,
        /// Connections in all.
        size: usize,
    },
    /// The database refused or broke off.
    #[error("the database refused")]
    Database(#[from] tokio_postgres::Error),
}

/// The pool of a process.
#[derive(Debug)]
pub struct Pool {
    socket_dir: PathBuf,
    size: usize,
    limit: Duration,
    permits: Semaphore,
    free: Mutex<Vec<Arc<Connection>>>,
    open: Mutex<Vec<Arc<Connection>>>,
    telemetry: Arc<Telemetry>,
}

#[derive(Debug)]
struct Connection {
    client: Client,
    prepared: Mutex<HashMap<&'static str, Statement>>,
}

/// One connection, for one caller. It is in use until it is given back.
#[derive(Debug)]
pub struct Lease {
    pool: Arc<Pool>,
    connection: Arc<Connection>,
    queries: AtomicU64,
}

impl Pool {
    /// A pool of `size` connections, in which a caller waits no longer than `limit` for one.
    pub async fn open(
        telemetry: &Arc<Telemetry>,
        socket_dir: &Path,
        size: usize,
        limit: Duration,
    ) -> Result<Arc<Self>, PoolError> {
        let mut open = Vec::with_capacity(size);
        for _ in 0..size {
            open.push(connect(socket_dir).await?);
        }
        let pool = Arc::new(Self {
            socket_dir: socket_dir.to_owned(),
            size,
            limit,
            permits: Semaphore::new(size),
            free: Mutex::new(open.clone()),
            open: Mutex::new(open),
            telemetry: Arc::clone(telemetry),
        });
        pool.gauge(0.0);
        Ok(pool)
    }

    /// Waits for a free connection.
    pub async fn take(self: &Arc<Self>, trace: &Trace) -> Result<Lease, PoolError> {
        let waiting = Instant::now();
        let span = OpenSpan::internal(trace.child(), "wait for connection");
        self.gauge(1.0);
        let permit = tokio::time::timeout(self.limit, self.permits.acquire()).await;
        self.gauge(-1.0);
        let waited = waiting.elapsed();
        self.telemetry
            .metrics
            .observe("db_pool_wait_seconds", &[], waited.as_secs_f64());
        let Ok(Ok(permit)) = permit else {
            self.telemetry
                .metrics
                .count("db_pool_timeouts_total", &[], 1.0);
            self.telemetry.spans.end(&span, false, json!({}));
            return Err(PoolError::Exhausted {
                waited_ms: waited.as_millis(),
                in_use: self.in_use(),
                size: self.size,
            });
        };
        if waited > Duration::from_millis(2) {
            self.telemetry.spans.end(&span, true, json!({}));
        }
        let free = self
            .free
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let connection = match free {
            Some(connection) if !connection.client.is_closed() => connection,
            Some(_) | None => self.reconnect().await?,
        };
        permit.forget();
        self.gauge(0.0);
        Ok(Lease {
            pool: Arc::clone(self),
            connection,
            queries: AtomicU64::new(0),
        })
    }

    /// Connections that are leased now.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.size - self.permits.available_permits()
    }

    async fn reconnect(&self) -> Result<Arc<Connection>, PoolError> {
        let fresh = connect(&self.socket_dir).await?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|connection| !connection.client.is_closed());
        open.push(Arc::clone(&fresh));
        Ok(fresh)
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a pool has some ten connections"
    )]
    fn gauge(&self, waiting: f64) {
        let metrics = &self.telemetry.metrics;
        metrics.set("db_pool_size", &[], self.size as f64);
        metrics.set("db_pool_in_use", &[], self.in_use() as f64);
        metrics.add("db_pool_waiting", &[], waiting);
    }
}

impl Lease {
    /// Makes the connection free for the next caller.
    pub fn give_back(self) {
        let mut free = self
            .pool
            .free
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        free.push(Arc::clone(&self.connection));
        drop(free);
        self.pool.permits.add_permits(1);
        self.pool.gauge(0.0);
    }

    /// How many statements went over this lease.
    #[must_use]
    pub fn queries(&self) -> u64 {
        self.queries.load(Ordering::Relaxed)
    }

    /// Runs a statement and returns its rows.
    pub async fn rows(
        &self,
        trace: &Trace,
        sql: &Sql,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, PoolError> {
        self.queries.fetch_add(1, Ordering::Relaxed);
        let telemetry = &self.pool.telemetry;
        let span = OpenSpan::client(trace.child(), sql.name, DATABASE);
        let rows = self.send(sql, parameters).await;
        let statement = [("statement", sql.name)];
        telemetry.metrics.count("db_queries_total", &statement, 1.0);
        telemetry
            .metrics
            .observe("db_query_duration_seconds", &[], span.seconds());
        telemetry
            .spans
            .end(&span, rows.is_ok(), json!({"db.statement": sql.text}));
        Ok(rows?)
    }

    /// Runs `begin`, `commit` or `rollback`.
    pub async fn control(&self, trace: &Trace, sql: &Sql) -> Result<(), PoolError> {
        self.rows(trace, sql, &[]).await.map(drop)
    }

    async fn send(
        &self,
        sql: &Sql,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        let prepared = {
            let known = self
                .connection
                .prepared
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            known.get(sql.text).cloned()
        };
        let statement = if let Some(statement) = prepared {
            statement
        } else {
            let statement = self.connection.client.prepare(sql.text).await?;
            let mut known = self
                .connection
                .prepared
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            known.insert(sql.text, statement.clone());
            statement
        };
        self.connection.client.query(&statement, parameters).await
    }
}

async fn connect(socket_dir: &Path) -> Result<Arc<Connection>, PoolError> {
    let mut config = tokio_postgres::Config::new();
    config
        .host_path(socket_dir)
        .user("shop")
        .dbname("postgres")
        .application_name("inventory");
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(async move {
        // The client notices a broken connection itself, at its next statement.
        let _broken = connection.await;
    });
    Ok(Arc::new(Connection {
        client,
        prepared: Mutex::new(HashMap::new()),
    }))
}
