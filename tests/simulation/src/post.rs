//! Carries reports to their receivers, who may not answer.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use nightshift_engine::courier::{Courier, CourierError, Parcel, Receipt};

use crate::{
    cell::{Cell, Wait},
    core::{Shared, lock},
};

/// The post in the hands of one actor.
#[derive(Debug)]
pub struct Post {
    /// Who sends.
    pub cell: Arc<Cell>,
    /// The rest of the world.
    pub core: Shared,
}

impl Courier for Post {
    fn deliver<'a>(&'a self, parcel: &'a Parcel) -> BoxFuture<'a, Result<Receipt, CourierError>> {
        Box::pin(async move {
            self.cell.park("post.send", Wait::Turn).await;
            let answer = self.bring(parcel);
            self.cell.park("post.sent", Wait::Turn).await;
            answer
        })
    }
}

impl Post {
    fn bring(&self, parcel: &Parcel) -> Result<Receipt, CourierError> {
        let mut core = lock(&self.core);
        let faults = core.faults();
        if core.rng.happens(faults.refuse) {
            return Err(CourierError::Refused(503));
        }
        core.note(&format!("  brought {}", parcel.id));
        let known = core.parcels.insert(parcel.id.clone(), parcel.body.clone());
        if known.is_some_and(|known| known != parcel.body) {
            core.violate(&format!("the parcel {} changed on its way", parcel.id));
        }
        if core.rng.happens(faults.lose_answer) {
            return Err(CourierError::Refused(504));
        }
        Ok(Receipt::Taken(200))
    }
}
