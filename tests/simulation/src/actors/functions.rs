//! The functions behind the queues, the relays and the sweep, as the hosts of Lambda run them.

use nightshift_engine::{Classify, Disposition, steps, sweep};
use nightshift_protocol::{Step, step::VERSION};
use serde_json::Value;

use super::Actor;
use crate::{
    cell::{Wait, Work},
    core::Core,
    queues::{Name, Received},
};

/// Receives from one queue, carries out, publishes, and deletes what was done: in this order.
pub async fn function(me: Actor, queue: Name) {
    loop {
        me.park("sqs.receive", Wait::Message(queue)).await;
        let batch = me.core(|core| receive(core, queue));
        if batch.is_empty() {
            continue;
        }
        me.park("sqs.received", Wait::Turn).await;
        let mut done = Vec::new();
        for message in &batch {
            if carry_out(&me, message).await {
                done.push(message);
            } else if queue.is_fifo() {
                // Whatever stands behind it must not overtake it.
                break;
            }
        }
        me.cell.begin_work(None);
        if me.core(|core| core.wakes()) {
            me.publish().await;
        }
        me.park("sqs.delete", Wait::Turn).await;
        me.core(|core| {
            for message in done {
                core.queues.delete(queue, message);
            }
        });
        me.park("sqs.deleted", Wait::Turn).await;
    }
}

fn receive(core: &mut Core, queue: Name) -> Vec<Received> {
    let (now, faults) = (core.now, core.faults());
    let duplicate = if queue.is_fifo() {
        faults.overlap
    } else {
        faults.queue
    };
    let Core { queues, rng, .. } = core;
    let batch = queues.receive(queue, now, rng, duplicate);
    for message in &batch {
        let line = format!(
            "  received #{} ({}) {}",
            message.id, message.receives, message.body
        );
        core.note(&line);
    }
    batch
}

/// Tells whether the message may be deleted.
async fn carry_out(me: &Actor, message: &Received) -> bool {
    let envelope = match steps::read(&message.body) {
        Ok(envelope) => envelope,
        Err(unreadable) => {
            me.core(|core| judge_version(core, &message.body, &unreadable.to_string()));
            return false;
        }
    };
    me.cell
        .begin_work(Some(me.core(|core| work(core, envelope.step))));
    match steps::follow(&me.platform, envelope).await {
        Ok(()) => true,
        Err(error) => {
            me.note(&format!("failed: {}", nightshift_engine::causes(&error)));
            judge_refusal(me, &error);
            error.disposition() == Disposition::Discard
        }
    }
}

/// I11: what the version before this one wrote is read.
fn judge_version(core: &mut Core, body: &Value, why: &str) {
    let written_by = body["v"].as_u64().unwrap_or_default();
    if written_by == u64::from(VERSION) || written_by + 1 == u64::from(VERSION) {
        core.violate(&format!(
            "I11: a message of version {written_by} was refused: {why}"
        ));
    }
}

/// The constraints of the schema are the last net: whoever falls into it broke a rule before.
pub(super) fn judge_refusal(me: &Actor, error: &(dyn std::error::Error + 'static)) {
    let text = nightshift_engine::causes(error);
    let broken = ["violates unique constraint", "violates check constraint"];
    if broken.iter().any(|words| text.contains(words)) {
        me.core(|core| core.violate(&format!("a constraint had to stop a write: {text}")));
    }
}

/// Whether the investigation waits for exactly the start that a dispatch is about.
fn work(core: &Core, step: Step) -> Work {
    let Step::Dispatch {
        investigation,
        sandbox,
        epoch,
    } = step
    else {
        return Work {
            dispatch: false,
            speaks: false,
        };
    };
    let found = core.snapshot.investigation(investigation.as_uuid());
    let speaks = found.is_some_and(|row| {
        row.state == "claimed"
            && row.sandbox_id == Some(sandbox.as_uuid())
            && row.epoch == Some(epoch.0)
    });
    Work {
        dispatch: true,
        speaks,
    }
}

/// Publishes now and then what functions that died left behind.
pub async fn relay(me: Actor) {
    loop {
        let until = me.core(|core| core.now + core.rng.millis(10_000..=40_000));
        me.sleep("relay.idle", until).await;
        me.publish().await;
    }
}

/// Looks at what is overdue, each minute.
pub async fn sweeper(me: Actor) {
    loop {
        let until = me.core(|core| core.now + core.rng.millis(55_000..=65_000));
        me.sleep("sweep.idle", until).await;
        // Side by side only while things go wrong: afterwards one is enough.
        let first = me.cell.name().ends_with("-1");
        if !me.core(|core| core.net && (first || !core.calm)) {
            continue;
        }
        match sweep::sweep(&me.platform).await {
            Ok(swept) => me.note(&format!("{swept:?}")),
            Err(error) => {
                me.note(&format!("failed: {}", nightshift_engine::causes(&error)));
                judge_refusal(&me, &error);
            }
        }
        me.publish().await;
    }
}
