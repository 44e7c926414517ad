//! Hands steps over to the queues, as the carrier over SQS does: in batches, each entry accepted or not.

use std::sync::Arc;

use chrono::TimeDelta;
use futures_util::future::BoxFuture;
use nightshift_engine::relay::Carrier;
use nightshift_store::{LeasedStep, Settlement, Verdict};
use serde_json::Value;

use crate::{
    cell::{Cell, Wait},
    core::{Shared, lock},
    queues::Name,
};

/// Entries of one `SendMessageBatch`.
const ENTRIES: usize = 10;

/// The queues in the hands of one actor.
#[derive(Debug)]
pub struct ToQueues {
    /// Who sends.
    pub cell: Arc<Cell>,
    /// The rest of the world.
    pub core: Shared,
}

impl Carrier for ToQueues {
    /// One batch, sent part by part: an actor does one thing at a time.
    fn batches(&self, leased: Vec<LeasedStep>) -> Vec<Vec<LeasedStep>> {
        if leased.is_empty() {
            Vec::new()
        } else {
            vec![leased]
        }
    }

    fn carry<'a>(&'a self, batch: &'a [LeasedStep]) -> BoxFuture<'a, Vec<Settlement>> {
        Box::pin(async move {
            let mut told = Vec::new();
            for entries in batch.chunks(ENTRIES) {
                if self.cell.park("sqs.send", Wait::Turn).await != Verdict::GoOn {
                    return told;
                }
                let settled: Vec<_> = entries.iter().map(|step| self.send(step)).collect();
                if self.cell.park("sqs.sent", Wait::Turn).await != Verdict::GoOn {
                    // Accepted, for all we know; whoever comes after the lease sends them again.
                    return told;
                }
                told.extend(settled);
            }
            told
        })
    }
}

impl ToQueues {
    fn send(&self, step: &LeasedStep) -> Settlement {
        let mut core = lock(&self.core);
        let faults = core.faults();
        let now = core.now;
        if core.rng.happens(faults.queue) {
            core.note(&format!("  not accepted: {} {}", step.id, step.kind));
            return Settlement::Again {
                due_at: now + TimeDelta::seconds(1),
                error: "the queue did not take it".to_owned(),
            };
        }
        let body = if core.writes_old_messages() {
            previous_version(&step.payload)
        } else {
            step.payload.clone()
        };
        let queue = Name::of(&step.kind);
        let unique = step.id.to_string();
        core.note(&format!("  sent {} {}", step.id, body));
        core.queues
            .send(queue, &step.group_key, &unique, body.clone(), now);
        if !queue.is_fifo() && core.rng.happens(faults.queue) {
            core.note(&format!("  sent twice {}", step.id));
            core.queues.send(queue, &step.group_key, &unique, body, now);
        }
        Settlement::Done
    }
}

/// What the version before this one wrote: no trace.
fn previous_version(payload: &Value) -> Value {
    serde_json::json!({ "v": nightshift_protocol::step::VERSION - 1, "step": payload["step"] })
}
