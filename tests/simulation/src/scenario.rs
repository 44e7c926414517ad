//! What a seed stands for: who sends what, how big everything is, and how badly it goes.

use chrono::TimeDelta;
use nightshift_domain::alert::AlertStatus;

use crate::rng::Rng;

/// Everything about one seed that is decided before it runs.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Each tenant's limit of sandboxes.
    pub max_running: Vec<i32>,
    /// Each tenant's limit of waiting tickets.
    pub max_queued: i32,
    /// Sandboxes that should be ready.
    pub target_ready: i32,
    /// Sandboxes that may exist.
    pub max_sandboxes: i32,
    /// Grants written in one transaction, at most.
    pub grant_batch: i64,
    /// What is delivered, in the order of time.
    pub deliveries: Vec<Delivery>,
    /// When the pool is pointed at another image, and back.
    pub rotations: Vec<TimeDelta>,
    /// Questions from people.
    pub questions: usize,
    /// How long a reported sandbox is kept for them.
    pub rest_for: TimeDelta,
    /// How many steps are taken while things go wrong.
    pub rough_steps: usize,
    /// How they go wrong.
    pub faults: Faults,
}

/// Something that a sender delivers until it is answered.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// After so long.
    pub after: TimeDelta,
    /// To whose endpoint.
    pub tenant: usize,
    /// The sender's identity of the delivery.
    pub key: String,
    /// The sender's identity of what fired.
    pub source_key: String,
    /// Whether it fires.
    pub status: AlertStatus,
}

/// How often each thing goes wrong, in ten thousand, and what is directed rather than left to chance.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// A process dies at a point.
    pub crash: u64,
    /// A process stands still at a point for longer than leases last.
    pub pause: u64,
    /// The database or a queue refuses.
    pub refuse: u64,
    /// A commit or a send takes effect, and its answer is lost.
    pub lose_answer: u64,
    /// A queue delivers twice, or one entry of a batch fails.
    pub queue: u64,
    /// A claim is handed to the other coordinator as well, as while two versions of it are deployed.
    pub overlap: u64,
    /// Who often stands still between deciding and committing.
    pub hesitant: Option<Hesitant>,
    /// A call to the provider fails in one of its ways.
    pub provider: u64,
    /// A call takes effect only long after it timed out.
    pub late: u64,
    /// A machine vanishes, its agent falls silent or dies.
    pub machine: u64,
    /// Lists are old.
    pub stale_lists: u64,
    /// After this step no function publishes what it wrote, and no signal arrives.
    pub no_wakes_after: Option<usize>,
    /// Nobody sweeps: what was lost stays lost, and is seen.
    pub no_sweep: bool,
    /// Until this step the previous version of everything writes the messages.
    pub old_messages_until: usize,
}

/// Who decides and then takes its time. Whoever decides meanwhile must not decide the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hesitant {
    /// Those who grant.
    Coordinators,
    /// Those who plan and rotate.
    Refills,
    /// Those who start and stop machines.
    Dispatchers,
    /// People with questions.
    People,
    /// The agents themselves.
    Agents,
    /// Those who sweep.
    Sweeps,
}

impl Scenario {
    /// What `seed` stands for.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        // A stream of its own: what the seed stands for does not depend on how far it runs.
        let mut rng = Rng::of(seed ^ 0x5ce0_a210);
        let tenants = 1 + rng.below(3);
        let alerts = 2 + rng.below(6);
        let rush = rng.happens(4_000);
        let mut deliveries = Vec::new();
        let mut after = TimeDelta::zero();
        for number in 0..alerts {
            if !rush {
                after += rng.millis(0..=15_000);
            }
            if rng.happens(2_500) {
                // The pool has been full for a while, and everybody idle.
                after += rng.millis(15_000..=60_000);
            }
            let tenant = rng.below(tenants);
            let source_key = format!("thing-{number}");
            let firing = |key: String, after, status| Delivery {
                after,
                tenant,
                key,
                source_key: source_key.clone(),
                status,
            };
            deliveries.push(firing(format!("d{number}"), after, AlertStatus::Firing));
            if rng.happens(1_500) {
                // The same trouble, told twice.
                deliveries.push(firing(
                    format!("d{number}-again"),
                    after,
                    AlertStatus::Firing,
                ));
            }
            if rng.happens(1_000) {
                let later = after + rng.millis(1_000..=40_000);
                let over = firing(format!("d{number}-over"), later, AlertStatus::Resolved);
                deliveries.push(over);
            }
        }
        deliveries.sort_by_key(|delivery| delivery.after);
        let rotations = rotations(&mut rng);
        // There must be something to replace.
        let target_ready = rng.within(i64::from(!rotations.is_empty())..=2);
        let room = rng.within(1..=3);
        let limit = |rng: &mut Rng| i32::try_from(rng.within(1..=3)).unwrap_or(1);
        Self {
            max_running: (0..tenants).map(|_| limit(&mut rng)).collect(),
            max_queued: 100,
            target_ready: i32::try_from(target_ready).unwrap_or(0),
            max_sandboxes: i32::try_from(target_ready + room).unwrap_or(1),
            grant_batch: rng.within(1..=4),
            deliveries,
            rotations,
            questions: rng.below(6),
            rest_for: rng.millis(20_000..=200_000),
            rough_steps: 200 + rng.below(800),
            faults: Faults::of(&mut rng),
        }
    }
}

fn rotations(rng: &mut Rng) -> Vec<TimeDelta> {
    let mut at = TimeDelta::zero();
    let mut rotations = Vec::new();
    if rng.happens(5_000) {
        for _ in 0..=rng.below(4) {
            at += rng.millis(1_000..=60_000);
            rotations.push(at);
        }
    }
    rotations
}

impl Faults {
    fn of(rng: &mut Rng) -> Self {
        let mut faults = Self {
            crash: 300,
            pause: 200,
            refuse: 100,
            lose_answer: 150,
            queue: 500,
            overlap: 0,
            hesitant: None,
            provider: 700,
            late: 50,
            machine: 300,
            stale_lists: 2_000,
            no_wakes_after: None,
            no_sweep: false,
            old_messages_until: 0,
        };
        match rng.below(8) {
            // Nothing but the order in which things happen.
            0 => faults = Self::default(),
            // Processes die all the time; nothing else happens.
            1 => {
                faults = Self {
                    crash: 900,
                    ..Self::default()
                }
            }
            // Everybody is slow.
            2 => {
                faults = Self {
                    pause: 900,
                    queue: 500,
                    ..Self::default()
                }
            }
            // The provider has a bad day.
            3 => {
                faults.provider = 3_000;
                faults.late = 300;
            }
            // Machines and agents have one.
            4 => faults.machine = 1_500,
            _ => {}
        }
        if rng.happens(2_500) {
            faults.no_wakes_after = Some(rng.below(300));
        }
        faults.no_sweep = rng.happens(2_500);
        if rng.happens(3_000) {
            faults.overlap = 4_000;
        }
        if rng.happens(6_500) {
            faults.hesitant = Some(match rng.below(20) {
                0..=8 => Hesitant::Coordinators,
                9 | 10 => Hesitant::Refills,
                11 | 12 => Hesitant::Dispatchers,
                13..=16 => Hesitant::People,
                17 | 18 => Hesitant::Agents,
                _ => Hesitant::Sweeps,
            });
        }
        if rng.happens(2_500) {
            faults.old_messages_until = rng.below(200);
        }
        faults
    }
}
