//! Those outside: senders of alerts, and people with questions.

use nightshift_domain::{
    InvestigationId, PoolId,
    alert::{Severity, Signal},
};
use nightshift_engine::{
    intake::{self, Arrival},
    message,
};

use super::{Actor, functions::judge_refusal};
use nightshift_store::{Pool, StoreError};

use crate::{
    cell::Wait,
    core::Core,
    world::{POOL, REGION},
};

/// Delivers what is due until it is answered, through the intake function. There may be several, and then
/// they deliver the same thing at the same time.
pub async fn sender(me: Actor) {
    loop {
        me.park("intake.idle", Wait::Delivery).await;
        let Some((index, endpoint, key, signal)) = me.core(pick) else {
            continue;
        };
        me.note(&format!("delivers {key}"));
        let arrival = Arrival {
            delivery_key: &key,
            body: b"{}",
            signal,
        };
        let clock = me.clock();
        let taken = intake::accept(&me.platform.store, &clock, &endpoint, arrival).await;
        if me.core(|core| core.wakes()) {
            me.publish().await;
        }
        me.park("intake.answer", Wait::Turn).await;
        match taken {
            Ok(accepted) => {
                me.note(&format!("answered {key}: {:?}", accepted.disposition));
                me.core(|core| {
                    if let Some(answered) = core.answered.get_mut(index) {
                        *answered = true;
                    }
                });
            }
            Err(error) => {
                me.note(&format!("failed: {}", nightshift_engine::causes(&error)));
                judge_refusal(&me, &error);
            }
        }
    }
}

fn pick(core: &mut Core) -> Option<(usize, nightshift_store::Endpoint, String, Signal)> {
    let due = core.due_deliveries();
    let place = core.rng.below(due.len());
    let index = due.get(place).copied()?;
    let delivery = core.scenario.deliveries.get(index)?.clone();
    let endpoint = core.endpoints.get(delivery.tenant)?.clone();
    let signal = Signal {
        title: format!("{} is slow", delivery.source_key),
        source_key: delivery.source_key,
        status: delivery.status,
        service: None,
        severity: Severity::High,
        fired_at: core.began + delivery.after,
        link: None,
        details: serde_json::json!({}),
    };
    Some((index, endpoint, delivery.key, signal))
}

/// Points the pool at another image, and perhaps back, when the scenario says so.
pub async fn operator(me: Actor) {
    let (rotations, began) = me.core(|core| (core.scenario.rotations.clone(), core.began));
    for (number, after) in rotations.into_iter().enumerate() {
        me.sleep("operator.idle", began + after).await;
        let image = image(number + 1);
        me.note(&format!("points the pool at {image}"));
        if let Err(error) = point_at(&me, &image).await {
            me.note(&format!("failed: {}", nightshift_engine::causes(&error)));
        }
    }
}

/// The image of the pool after so many rotations: there are two.
#[must_use]
pub fn image(rotations: usize) -> String {
    let digest = if rotations.is_multiple_of(2) {
        "5a5a"
    } else {
        "6b6b"
    };
    format!("sandbox@sha256:{digest}")
}

async fn point_at(me: &Actor, image: &str) -> Result<(), StoreError> {
    let (now, scenario) = me.core(|core| (core.now, std::sync::Arc::clone(&core.scenario)));
    let pool = Pool {
        id: PoolId::generate(),
        name: POOL.to_owned(),
        region: REGION.to_owned(),
        image: image.to_owned(),
        target_ready: scenario.target_ready,
        max_sandboxes: scenario.max_sandboxes,
    };
    let mut tx = me.platform.store.begin().await?;
    tx.put_pool(&pool, now).await?;
    tx.commit().await
}

/// Asks about investigations that work or rest.
pub async fn asker(me: Actor) {
    loop {
        let until = me.core(|core| core.now + core.rng.millis(2_000..=40_000));
        me.sleep("asker.idle", until).await;
        let Some(about) = me.core(pick_investigation) else {
            continue;
        };
        me.note(&format!("asks {about}"));
        let (store, clock) = (&me.platform.store, me.clock());
        match message::send(store, &clock, None, about, "somebody", "Why?").await {
            Ok(_) => me.core(|core| core.questions = core.questions.saturating_sub(1)),
            Err(error) => {
                me.note(&format!("failed: {}", nightshift_engine::causes(&error)));
                judge_refusal(&me, &error);
            }
        }
        if me.core(|core| core.wakes()) {
            me.publish().await;
        }
    }
}

fn pick_investigation(core: &mut Core) -> Option<InvestigationId> {
    if core.questions == 0 {
        return None;
    }
    let open: Vec<_> = core
        .snapshot
        .investigations
        .iter()
        .filter(|row| matches!(row.state.as_str(), "working" | "resting"))
        .map(|row| row.id)
        .collect();
    let place = core.rng.below(open.len());
    open.get(place).copied().map(InvestigationId::from)
}
