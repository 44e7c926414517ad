//! What is done to the stack, and when: all of it follows from the seed.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

/// The functions, the busier ones more often.
const FUNCTIONS: [&str; 14] = [
    "alert-intake",
    "alert-intake",
    "session",
    "session",
    "claim",
    "claim",
    "dispatch",
    "dispatch",
    "provision",
    "pool-refill",
    "retire",
    "sweep",
    "api",
    "write-back",
];

/// One thing that is done to the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9` of an instance of a function, so long after it began to work.
    Instance {
        /// Of which function.
        function: &'static str,
        /// After what time at work.
        after: Duration,
    },
    /// `kill -9` of every instance of a function.
    Function(&'static str),
    /// The database ends at once (`pg_ctl stop -m immediate`) and starts again after a while.
    Database(Duration),
    /// The machines' server is dead for a while, and every sandbox with it: a host that lost power.
    MachinesDead(Duration),
    /// The machines' server answers nobody for a while.
    MachinesHung(Duration),
}

/// The faults of a run, in order of time.
pub(crate) fn faults(seed: u64, duration: Duration) -> Vec<(Duration, Fault)> {
    let mut chance = StdRng::seed_from_u64(seed);
    let mut faults = kills(&mut chance, duration);
    let part = |share: f64| duration.mul_f64(share);
    // A minute in a run of three; in a short one what fits.
    let away = part(1.0 / 3.0).min(Duration::from_mins(1));
    let dead = part(chance.random_range(0.35..0.45));
    faults.push((dead, Fault::MachinesDead(away)));
    let hung = part(chance.random_range(0.8..0.9));
    faults.push((
        hung,
        Fault::MachinesHung(part(0.1).min(Duration::from_secs(20))),
    ));
    let mut at = part(chance.random_range(0.15..0.25));
    while at < part(0.95) {
        let down = Duration::from_millis(chance.random_range(300..4_000));
        faults.push((at, Fault::Database(down)));
        at += Duration::from_secs(chance.random_range(25..60));
    }
    faults.sort_by_key(|(at, _)| *at);
    faults
}

fn kills(chance: &mut StdRng, duration: Duration) -> Vec<(Duration, Fault)> {
    let mut faults = Vec::new();
    let mut at = Duration::from_millis(500);
    while at < duration {
        let function = FUNCTIONS.choose(chance).copied().unwrap_or("dispatch");
        let after = Duration::from_micros(chance.random_range(0..60_000));
        let all = chance.random_bool(0.1);
        let fault = if all {
            Fault::Function(function)
        } else {
            Fault::Instance { function, after }
        };
        faults.push((at, fault));
        at += Duration::from_millis(chance.random_range(200..2_000));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_plans_the_same_and_another_one_something_else() {
        let minute = Duration::from_mins(1);
        assert_eq!(faults(7, minute), faults(7, minute));
        assert_ne!(faults(7, minute), faults(8, minute));
    }

    #[test]
    fn every_run_loses_its_database_and_its_machines_while_alerts_come() {
        for seed in 0..50 {
            let duration = Duration::from_secs(30);
            let faults = faults(seed, duration);
            let has = |wanted: fn(&Fault) -> bool| faults.iter().any(|(_, fault)| wanted(fault));
            assert!(has(|fault| matches!(fault, Fault::Database(_))), "{seed}");
            assert!(
                has(|fault| matches!(fault, Fault::MachinesDead(_))),
                "{seed}"
            );
            assert!(
                has(|fault| matches!(fault, Fault::MachinesHung(_))),
                "{seed}"
            );
            assert!(faults.iter().all(|(at, _)| *at < duration), "{seed}");
            assert!(faults.len() > 15, "{seed}: {}", faults.len());
        }
    }
}
