//! One seed's world: its actors, its database, and whoever lets one actor go at a time.

mod run;

use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, Utc};
use nightshift_domain::{EndpointId, PoolId};
use nightshift_engine::{Platform, Settings};
use nightshift_store::{Endpoint, Pool, Store};
use sqlx::PgPool;

use crate::{
    actors::{self, Actor, Life},
    cell::{Cell, Parked, Wait},
    clock::SimulatedClock,
    cloud::{Boot, Sky},
    core::{Core, Shared, lock},
    database::{Database, Line},
    post::Post,
    queues::Name,
    scenario::Hesitant,
    snapshot::Snapshot,
};

/// Where all machines are.
pub const REGION: &str = "here";

/// The pool's name.
pub const POOL: &str = "simulated";

/// Actors that are there from the beginning.
const STANDING: usize = 18;
/// Agents that may live at once; one more ends the oldest.
const AGENTS: usize = 7;

/// One seed's world.
pub struct World {
    /// What the actors share.
    pub core: Shared,
    slots: Vec<Slot>,
    monitor: PgPool,
    /// When each start of a sandbox was granted, by step.
    granted: HashMap<(uuid::Uuid, i64), usize>,
}

/// One actor, or the place of one.
struct Slot {
    cell: Arc<Cell>,
    actor: Actor,
    line: Line,
    role: Role,
    life: Option<Life>,
    /// It stands still until then, whatever it waits for.
    not_before: Option<DateTime<Utc>>,
    began: usize,
}

/// What an actor is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Role {
    Sender,
    Asker,
    Operator,
    Relay,
    Sweeper,
    Function(Name),
    Agent(Option<Boot>),
}

impl World {
    /// How many connections a world needs.
    pub const LINES: usize = STANDING + AGENTS;

    /// The world of a seed on an empty database.
    pub async fn of(core: Core, database: &mut Database) -> anyhow::Result<Self> {
        database.empty().await?;
        let core: Shared = Arc::new(core.into());
        furnish(&core, database.monitor()).await?;
        let snapshot = Arc::new(Snapshot::read(database.monitor()).await?);
        lock(&core).snapshot = snapshot;
        let roles = [
            Role::Sender,
            Role::Sender,
            Role::Asker,
            Role::Operator,
            Role::Relay,
            Role::Relay,
            Role::Sweeper,
            Role::Sweeper,
            Role::Function(Name::Claim),
            Role::Function(Name::Claim),
            Role::Function(Name::Dispatch),
            Role::Function(Name::Dispatch),
            Role::Function(Name::Refill),
            Role::Function(Name::Refill),
            Role::Function(Name::Provision),
            Role::Function(Name::Provision),
            Role::Function(Name::Retire),
            Role::Function(Name::WriteBack),
        ];
        let agents = std::iter::repeat_n(Role::Agent(None), AGENTS);
        let mut counts: HashMap<String, usize> = HashMap::new();
        let slots = roles
            .into_iter()
            .chain(agents)
            .zip(database.lines().await?)
            .map(|(role, line)| {
                let count = counts.entry(role.name()).or_default();
                *count += 1;
                let name = format!("{}-{count}", role.name());
                Slot::new(name, role, line, &core)
            })
            .collect();
        let mut world = Self {
            core,
            slots,
            monitor: database.monitor().clone(),
            granted: HashMap::new(),
        };
        for slot in &mut world.slots {
            slot.begin();
        }
        Ok(world)
    }
}

/// Tenants, their endpoints and the pool.
async fn furnish(core: &Shared, monitor: &PgPool) -> anyhow::Result<()> {
    let (scenario, now) = {
        let core = lock(core);
        (Arc::clone(&core.scenario), core.now)
    };
    let store = Store::new(monitor.clone());
    let mut tx = store.begin().await?;
    let pool = Pool {
        id: PoolId::generate(),
        name: POOL.to_owned(),
        region: REGION.to_owned(),
        image: actors::image(0),
        target_ready: scenario.target_ready,
        max_sandboxes: scenario.max_sandboxes,
    };
    let pool = tx.put_pool(&pool, now).await?;
    let mut endpoints = Vec::new();
    for (number, limit) in scenario.max_running.iter().enumerate() {
        let slug = format!("tenant-{number}");
        let tenant = tx
            .put_tenant(&slug, *limit, scenario.max_queued, now)
            .await?;
        let endpoint = Endpoint {
            id: EndpointId::generate(),
            tenant,
            source: "generic".to_owned(),
            path_token: slug,
            secret_refs: vec!["none".to_owned()],
            mapping: None,
        };
        tx.put_endpoint(&endpoint, now).await?;
        if number == 0 {
            let url = Some("https://receiver.test/reports");
            tx.put_report_url(&endpoint.path_token, url).await?;
        }
        endpoints.push(endpoint);
    }
    tx.commit().await?;
    let mut core = lock(core);
    core.endpoints = endpoints;
    core.pool = Some(pool);
    Ok(())
}

impl Role {
    fn name(&self) -> String {
        match self {
            Self::Sender => "intake".to_owned(),
            Self::Asker => "asker".to_owned(),
            Self::Operator => "operator".to_owned(),
            Self::Relay => "relay".to_owned(),
            Self::Sweeper => "sweep".to_owned(),
            Self::Function(queue) => queue.as_str().to_owned(),
            Self::Agent(_) => "agent".to_owned(),
        }
    }

    /// Whether it is one of them.
    const fn is(&self, who: Hesitant) -> bool {
        match who {
            Hesitant::Coordinators => matches!(self, Self::Function(Name::Claim)),
            Hesitant::Refills => matches!(self, Self::Function(Name::Refill)),
            Hesitant::Dispatchers => matches!(self, Self::Function(Name::Dispatch)),
            Hesitant::People => matches!(self, Self::Asker),
            Hesitant::Agents => matches!(self, Self::Agent(_)),
            Hesitant::Sweeps => matches!(self, Self::Sweeper),
        }
    }

    /// Whether it stands for a process of ours, as opposed to the world outside.
    const fn is_ours(&self) -> bool {
        matches!(
            self,
            Self::Sender | Self::Relay | Self::Sweeper | Self::Function(_)
        )
    }
}

impl Slot {
    fn new(name: String, role: Role, line: Line, core: &Shared) -> Self {
        let cell = Cell::new(name, Arc::clone(core));
        let store = Store::new(line.pool.clone()).watched_by(Arc::clone(&cell) as _);
        let sky = Sky {
            cell: Arc::clone(&cell),
            core: Arc::clone(core),
        };
        let post = Post {
            cell: Arc::clone(&cell),
            core: Arc::clone(core),
        };
        let grant_batch = lock(core).scenario.grant_batch;
        let platform = Platform {
            store,
            clock: Arc::new(SimulatedClock(Arc::clone(core))),
            provider: Arc::new(sky),
            courier: Arc::new(post),
            settings: Arc::new(Settings {
                grant_batch,
                ..Settings::default()
            }),
        };
        let actor = Actor {
            cell: Arc::clone(&cell),
            core: Arc::clone(core),
            platform,
        };
        Self {
            cell,
            actor,
            line,
            role,
            life: None,
            not_before: None,
            began: 0,
        }
    }

    /// Begins its life, or begins it again after a crash.
    fn begin(&mut self) {
        let actor = self.actor.clone();
        self.life = match &self.role {
            Role::Sender => Some(Box::pin(actors::sender(actor))),
            Role::Asker => Some(Box::pin(actors::asker(actor))),
            Role::Operator => Some(Box::pin(actors::operator(actor))),
            Role::Relay => Some(Box::pin(actors::relay(actor))),
            Role::Sweeper => Some(Box::pin(actors::sweeper(actor))),
            Role::Function(queue) => Some(Box::pin(actors::function(actor, *queue))),
            Role::Agent(boot) => {
                let boot = boot.clone();
                boot.map(|boot| Box::pin(actors::agent(actor, boot)) as Life)
            }
        };
    }

    /// When it can go on: now, later, or never by itself.
    fn ready_at(&self, core: &Core) -> Option<DateTime<Utc>> {
        self.life.as_ref()?;
        let waits = self
            .cell
            .parked()
            .map_or(Wait::Turn, |Parked { wait, .. }| wait);
        let ready = match waits {
            Wait::Turn => core.now,
            Wait::Until(time) => time,
            Wait::Message(queue) => core.next_message(queue)?,
            Wait::Delivery => core.next_delivery()?,
            Wait::Forever => return None,
        };
        Some(
            self.not_before
                .map_or(ready, |not_before| ready.max(not_before)),
        )
    }

    /// Whether it waits for something to do, as opposed to being in the middle of it.
    fn is_idle(&self) -> bool {
        self.life.is_none()
            || self.cell.parked().is_none_or(|parked| {
                matches!(
                    parked.point,
                    "sqs.receive"
                        | "intake.idle"
                        | "relay.idle"
                        | "sweep.idle"
                        | "asker.idle"
                        | "operator.idle"
                )
            })
    }
}
