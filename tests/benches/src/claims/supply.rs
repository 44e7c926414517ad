//! Refill and provisioning beside the grants: the engine's own, on a provider that answers after a while.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use nightshift_domain::{PoolId, bucket::Limits};
use nightshift_engine::{
    Platform, Settings,
    provider::{Answer, Inventory, MachinePlan, Made, Presence, Provider, Remains},
    provision, refill,
};
use nightshift_protocol::Step;
use nightshift_store::Store;
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::{JoinHandle, JoinSet},
};

use crate::seed;

/// How long the provider thinks about each call.
const THINKS: Duration = Duration::from_millis(60);
/// Sandboxes made at once.
const AT_ONCE: usize = 16;
/// Ready sandboxes that the pool wants: more than can be made while it is measured.
const WANTED: i32 = 50_000;

/// Takes the steps of supply and carries them out elsewhere.
pub(super) struct Supply(mpsc::UnboundedSender<Step>);

impl Supply {
    /// Makes the pool want more than it has, and begins.
    pub(super) async fn start(
        platform: &Platform,
        store: Store,
        pool: PoolId,
        stopped: &watch::Receiver<bool>,
    ) -> Result<(Self, JoinHandle<Result<()>>)> {
        want(&store, pool, WANTED).await?;
        let platform = Platform {
            store,
            provider: Arc::new(Slow),
            settings: Arc::new(Settings {
                // Fast enough that provisioning never pauses: the worst neighbour a grant can have.
                limits: Limits {
                    burst: 1e6,
                    fastest: 1e6,
                    ..Limits::default()
                },
                ..(*platform.settings).clone()
            }),
            ..platform.clone()
        };
        let (sender, mut queue) = mpsc::unbounded_channel();
        let mut stopped = stopped.clone();
        let runs = tokio::spawn(async move {
            // Dropped with the loop, and with it whatever is under way.
            let mut under_way = JoinSet::new();
            let room = Arc::new(Semaphore::new(AT_ONCE));
            loop {
                let step = tokio::select! {
                    step = queue.recv() => step,
                    _ = stopped.changed() => break,
                };
                let Some(step) = step else { break };
                let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
                    break;
                };
                let platform = platform.clone();
                while under_way.try_join_next().is_some() {}
                under_way.spawn(async move {
                    carry_out(&platform, step).await;
                    drop(permit);
                });
            }
            under_way.shutdown().await;
            Ok(())
        });
        let _ = sender.send(Step::Refill { pool });
        Ok((Self(sender), runs))
    }

    /// Takes a step.
    pub(super) fn take(&self, step: Step) {
        let _ = self.0.send(step);
    }
}

/// Makes the pool want `ready` sandboxes.
pub(super) async fn want(store: &Store, pool: PoolId, ready: i32) -> Result<()> {
    let mut tx = store.begin().await?;
    if let Some(found) = tx.pool(pool).await? {
        let changed = nightshift_store::Pool {
            target_ready: ready,
            ..found
        };
        tx.put_pool(&changed, seed::now()).await?;
    }
    Ok(tx.commit().await?)
}

async fn carry_out(platform: &Platform, step: Step) {
    let done = match step {
        Step::Refill { pool } => refill::refill(platform, pool)
            .await
            .map_err(anyhow::Error::from),
        Step::Provision { sandbox } => provision::provision(platform, sandbox)
            .await
            .map_err(anyhow::Error::from),
        Step::ClaimWake { .. }
        | Step::Dispatch { .. }
        | Step::Rest { .. }
        | Step::Retire { .. }
        | Step::WriteBack { .. } => Ok(()),
    };
    if let Err(error) = done {
        crate::figures::say(&format!("supply: {error:#}"));
    }
}

/// A provider that does what it is asked, after a while.
#[derive(Debug)]
struct Slow;

fn after_a_while<T: Send + 'static>(answer: T) -> Answer<'static, T> {
    Box::pin(async move {
        tokio::time::sleep(THINKS).await;
        Ok(answer)
    })
}

impl Provider for Slow {
    fn make_app<'a>(&'a self, _: &'a str) -> Answer<'a, ()> {
        after_a_while(())
    }

    fn make_volume<'a>(&'a self, app: &'a str, _: &'a str, _: u64) -> Answer<'a, String> {
        after_a_while(format!("vol-{app}"))
    }

    fn make_machine<'a>(&'a self, app: &'a str, _: &'a MachinePlan) -> Answer<'a, Made> {
        after_a_while(Made {
            machine: format!("machine-{app}"),
            version: "v1".to_owned(),
        })
    }

    fn wait_stopped<'a>(&'a self, _: &'a str, _: &'a str, _: Duration) -> Answer<'a, Option<i32>> {
        after_a_while(Some(0))
    }

    fn start<'a>(&'a self, _: &'a str, _: &'a str) -> Answer<'a, ()> {
        after_a_while(())
    }

    fn stop<'a>(&'a self, _: &'a str, _: &'a str) -> Answer<'a, ()> {
        after_a_while(())
    }

    fn remove<'a>(&'a self, _: &'a str, _: &'a Remains) -> Answer<'a, ()> {
        after_a_while(())
    }

    fn inventory(&self) -> Answer<'_, Inventory> {
        after_a_while(Inventory::default())
    }

    fn presence<'a>(&'a self, _: &'a str, _: &'a str) -> Answer<'a, Presence> {
        after_a_while(Presence::There)
    }
}
