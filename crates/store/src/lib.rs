//! The only crate that speaks SQL.
//!
//! One file per table, each adding methods to [`Tx`]. Everything that decides runs in a
//! transaction: a [`Tx`] that is dropped is rolled back. [`views`] holds what only reads for people.

mod alerts;
mod breakers;
mod deliveries;
mod demand;
mod error;
mod events;
mod evidence;
mod generations;
mod grants;
mod incidents;
mod investigations;
mod messages;
mod openings;
mod outbox;
mod overdue;
mod parked;
pub mod plant;
mod pools;
mod probe;
mod rates;
mod reports;
mod roles;
mod sandboxes;
mod sightings;
mod signals;
mod statements;
mod stock;
mod tenants;
mod tickets;
mod usage;
pub mod views;
mod whose;
mod write_backs;

pub use breakers::StoredBreaker;
pub use deliveries::{Delivery, Disposition, StoredDelivery};
pub use error::{CorruptRow, StoreError};
pub use events::StoredEvent;
pub use evidence::NewEvidence;
pub use generations::{Generation, Origin};
pub use grants::Granted;
pub use messages::StoredMessage;
pub use outbox::{LeasedStep, Settlement};
pub use overdue::Overdue;
pub use parked::GivenUp;
pub use pools::{Pool, PoolLevel};
pub use probe::{Held, Probe, Verdict};
pub use reports::StoredReport;
pub use roles::{BadPassword, LetInError, Role};
pub use sandboxes::AttestedBy;
pub use sightings::Sighting;
pub use signals::{CHANNEL_EVENTS, CHANNEL_OUTBOX, Signals};
pub use stock::{Ready, Standing};
pub use tenants::{Endpoint, RunbookText, Tenant};
pub use usage::{CallRow, ModelUseRow};
pub use whose::Whose;
pub use write_backs::{OwedReport, WriteBackOutcome};

use std::{sync::Arc, time::Duration};

use nightshift_protocol::Trace;
use probe::{Open, Watched};
use sqlx::{
    PgPool, Postgres, Transaction,
    postgres::{PgConnectOptions, PgPoolOptions},
};

/// The database.
#[derive(Debug, Clone)]
pub struct Store {
    pool: PgPool,
    signals: Signals,
    trace: Option<Trace>,
    watched: Watched,
}

/// One transaction.
#[derive(Debug)]
pub struct Tx {
    conn: Transaction<'static, Postgres>,
    trace: Option<Trace>,
    // Dropped after the connection, so that the end is told once the rollback is on its way.
    open: Open,
}

impl Store {
    /// Uses an existing pool.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        let signals = Signals::over(pool.clone());
        Self {
            pool,
            signals,
            trace: None,
            watched: Watched::default(),
        }
    }

    /// The same database with somebody who watches every transaction from inside. For tests.
    #[must_use]
    pub fn watched_by(self, probe: Arc<dyn Probe>) -> Self {
        let watched = Watched::by(probe);
        Self {
            signals: self.signals.watched_by(watched.clone()),
            watched,
            ..self
        }
    }

    /// The same, waking those who listen through `other` in this process without a round trip: several
    /// stores over one database, each with a role of its own.
    #[must_use]
    pub fn beside(self, other: &Self) -> Self {
        Self {
            signals: self.signals.beside(&other.signals),
            ..self
        }
    }

    /// The same database for work that belongs to `trace`: the steps it writes go on with it.
    #[must_use]
    pub fn following(&self, trace: Option<Trace>) -> Self {
        Self {
            trace,
            ..self.clone()
        }
    }

    /// Connects to `url`, with at most `connections` at once.
    pub async fn connect(url: &str, connections: u32) -> Result<Self, StoreError> {
        let options: PgConnectOptions = url.parse()?;
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(Duration::from_secs(10))
            .connect_with(options)
            .await?;
        Ok(Self::new(pool))
    }

    /// Uses the database at `url` from the first question on, with at most `connections` at once.
    pub fn lazy(url: &str, connections: u32) -> Result<Self, StoreError> {
        let options: PgConnectOptions = url.parse()?;
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(Duration::from_secs(10))
            .connect_lazy_with(options);
        Ok(Self::new(pool))
    }

    /// Brings the schema up to date. Run by the deploy, never by a cold start.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        sqlx::migrate!("../../migrations")
            .run(&self.pool)
            .await
            .map_err(|error| StoreError::Database(error.into()))
    }

    /// Opens a transaction that says nothing of whose rows it may see: only the engine's role sees any tenant's.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        self.watched.at("tx.begin").await?;
        Ok(Tx {
            conn: self.pool.begin().await?,
            trace: self.trace,
            open: self.watched.open(),
        })
    }

    /// Wakes whoever waits for changes; see [`Signals`].
    #[must_use]
    pub const fn signals(&self) -> &Signals {
        &self.signals
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("select 1").execute(&self.pool).await?;
        Ok(())
    }
}

impl Tx {
    /// What is written from here on belongs to `trace`.
    pub const fn follow(&mut self, trace: Trace) {
        self.trace = Some(trace);
    }

    /// Makes everything done in this transaction true.
    pub async fn commit(self) -> Result<(), StoreError> {
        let Self { conn, open, .. } = self;
        let watched = open.watched().clone();
        let verdict = watched.ask("tx.commit").await;
        if verdict == Verdict::Refuse {
            return Err(probe::lost());
        }
        conn.commit().await?;
        open.committed();
        drop(open);
        if verdict == Verdict::LoseAnswer {
            return Err(probe::lost());
        }
        watched.at("tx.committed").await
    }

    /// Takes everything back, and its locks with it. A transaction that is dropped does so too, but only when its
    /// connection is used again: whoever looks in between passes over what is locked.
    pub async fn rollback(self) -> Result<(), StoreError> {
        Ok(self.conn.rollback().await?)
    }
}
