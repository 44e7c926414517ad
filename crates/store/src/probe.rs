//! Where a test may hold the store up, refuse it, or lose its answer. In production there is no
//! probe, and each point costs one comparison.
//!
//! The points are the lines between which a process can die: before and after a transaction begins
//! and commits, and on both sides of the statements that commit by themselves.

use std::{fmt, future::Future, io, pin::Pin, sync::Arc};

use crate::StoreError;

/// The time until a point lets its caller go on.
pub type Held<'a> = Pin<Box<dyn Future<Output = Verdict> + Send + 'a>>;

/// How it goes on from a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it should.
    GoOn,
    /// The connection is lost before anything more happens.
    Refuse,
    /// What comes next happens, but its answer is lost.
    LoseAnswer,
}

/// Watches a store from inside.
pub trait Probe: Send + Sync + fmt::Debug {
    /// Stands at a point until it may go on.
    fn at(&self, point: &'static str) -> Held<'_>;
    /// A transaction is open from here on.
    fn opened(&self);
    /// A transaction was made true; its end is told as well.
    fn committed(&self);
    /// A transaction ended, one way or the other; a rollback may still be on its way.
    fn closed(&self);
    /// Somebody asked for a signal on a channel. With a probe none is sent.
    fn signalled(&self, channel: &'static str);
}

/// The probe of a store, if it has one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watched(Option<Arc<dyn Probe>>);

/// The probe of an open transaction; tells its end.
#[derive(Debug)]
pub(crate) struct Open(Watched);

impl Watched {
    pub(crate) fn by(probe: Arc<dyn Probe>) -> Self {
        Self(Some(probe))
    }

    /// Stands at a point.
    pub(crate) async fn ask(&self, point: &'static str) -> Verdict {
        match &self.0 {
            None => Verdict::GoOn,
            Some(probe) => probe.at(point).await,
        }
    }

    /// Stands at a point, and fails there unless it may go on.
    pub(crate) async fn at(&self, point: &'static str) -> Result<(), StoreError> {
        match self.ask(point).await {
            Verdict::GoOn => Ok(()),
            Verdict::Refuse | Verdict::LoseAnswer => Err(lost()),
        }
    }

    /// Whether somebody watches, who is told of the signal instead of its listeners.
    pub(crate) fn takes_signal(&self, channel: &'static str) -> bool {
        let Some(probe) = &self.0 else { return false };
        probe.signalled(channel);
        true
    }

    pub(crate) fn open(&self) -> Open {
        if let Some(probe) = &self.0 {
            probe.opened();
        }
        Open(self.clone())
    }
}

impl Open {
    pub(crate) fn watched(&self) -> &Watched {
        &self.0
    }

    pub(crate) fn committed(&self) {
        if let Some(probe) = &self.0.0 {
            probe.committed();
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(probe) = &self.0.0 {
            probe.closed();
        }
    }
}

/// What a client sees when its connection breaks.
pub(crate) fn lost() -> StoreError {
    let broken = io::Error::new(io::ErrorKind::ConnectionReset, "the connection was lost");
    StoreError::Database(sqlx::Error::Io(broken))
}
