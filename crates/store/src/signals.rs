//! Waking others after a commit.
//!
//! A `notify` inside the writing transaction would take PostgreSQL's one global lock for its commit, so signals go
//! out afterwards, on a connection that writes nothing, and are coalesced: however many commits ask, one
//! `notify` is under way at a time and at most one more waits, [`GATHER`] later. A lost signal costs time, never work:
//! whoever listens scans when it connects, and the sweep scans each minute.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sqlx::{PgPool, postgres::PgListener};
use tokio::{sync::Notify, time};

use crate::{StoreError, probe::Watched};

/// The shortest time between two signals on one channel; the first goes out at once.
const GATHER: Duration = Duration::from_millis(2);
/// A signal holds a lock of the whole server while it commits, and nothing of it has to outlast a crash.
const NOTIFY: &str = "select pg_notify($1, '')
                       where (select set_config('synchronous_commit', 'off', true)) = 'off'";

/// Steps were written.
pub const CHANNEL_OUTBOX: &str = "nightshift_outbox";
/// Events of an investigation were written.
pub const CHANNEL_EVENTS: &str = "nightshift_events";

/// Wakes whoever listens on a channel.
#[derive(Debug, Clone)]
pub struct Signals {
    pool: PgPool,
    pending: Arc<Mutex<HashMap<&'static str, Sending>>>,
    local: Arc<Local>,
    watched: Watched,
}

/// Listeners in this process need no round trip.
#[derive(Debug, Default)]
struct Local {
    outbox: Notify,
    events: Notify,
}

impl Local {
    fn of(&self, channel: &str) -> &Notify {
        if channel == CHANNEL_OUTBOX {
            &self.outbox
        } else {
            &self.events
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sending {
    Once,
    Again,
}

impl Signals {
    pub(crate) fn over(pool: PgPool) -> Self {
        Self {
            pool,
            pending: Arc::default(),
            local: Arc::default(),
            watched: Watched::default(),
        }
    }

    pub(crate) fn beside(self, other: &Self) -> Self {
        Self {
            local: Arc::clone(&other.local),
            ..self
        }
    }

    pub(crate) fn watched_by(self, watched: Watched) -> Self {
        Self { watched, ..self }
    }

    /// Wakes the listeners of `channel`, soon and without waiting for it. Call it after the commit.
    pub fn send(&self, channel: &'static str) {
        if self.watched.takes_signal(channel) {
            return;
        }
        let local = self.local.of(channel);
        // One permit for a listener that is busy scanning, and a wake for all that wait now.
        local.notify_one();
        local.notify_waiters();
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sending) = pending.get_mut(channel) {
            *sending = Sending::Again;
            return;
        }
        pending.insert(channel, Sending::Once);
        drop(pending);
        let signals = self.clone();
        tokio::spawn(async move { signals.deliver(channel).await });
    }

    async fn deliver(&self, channel: &'static str) {
        loop {
            let sent = sqlx::query(NOTIFY).bind(channel).execute(&self.pool).await;
            if let Err(error) = sent {
                tracing::warn!(channel, %error, "Could not send a signal; the sweep will find the work");
            }
            time::sleep(GATHER).await;
            if !self.is_asked_again(channel) {
                return;
            }
        }
    }

    /// Whether somebody asked since the last signal; forgets the channel if nobody did.
    fn is_asked_again(&self, channel: &'static str) -> bool {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        match pending.get_mut(channel) {
            Some(sending @ Sending::Again) => {
                *sending = Sending::Once;
                true
            }
            Some(Sending::Once) | None => {
                pending.remove(channel);
                false
            }
        }
    }

    /// Listens on `channel`. The listener reconnects by itself; it then reports a gap, after which
    /// its owner must scan.
    pub async fn listen(&self, channel: &'static str) -> Result<Listener, StoreError> {
        let mut listener = PgListener::connect_with(&self.pool).await?;
        listener.listen(channel).await?;
        Ok(Listener {
            connection: listener,
            channel,
            local: Arc::clone(&self.local),
        })
    }
}

/// Waits for signals.
#[derive(Debug)]
pub struct Listener {
    connection: PgListener,
    channel: &'static str,
    local: Arc<Local>,
}

impl Listener {
    /// Returns when there may be something to do: a signal came, or the connection was lost and
    /// is back, so that signals may have been missed.
    pub async fn wait(&mut self) -> Result<(), StoreError> {
        tokio::select! {
            () = self.local.of(self.channel).notified() => {}
            received = self.connection.try_recv() => { received?; }
        }
        while self.connection.next_buffered().is_some() {}
        Ok(())
    }
}
