//! Two ways of asking: a fixed number in flight, and arrivals that wait for nobody.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Result;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use tokio::task::JoinSet;

use crate::figures::{Latencies, millis, per_second};

/// What a load led to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Measured {
    /// From the moment at which each was meant to begin, in milliseconds.
    pub(crate) latencies: Latencies,
    /// Those that ended within the measured time, a second.
    pub(crate) per_second: f64,
    /// How many ended in all, the warm-up included.
    pub(crate) all: usize,
}

/// Keeps `in_flight` under way: each begins when the one before it has ended. What ends before `warm_up` is
/// over does not count.
pub(crate) async fn closed<F, R>(
    in_flight: usize,
    warm_up: Duration,
    measured: Duration,
    one: F,
) -> Result<Measured>
where
    F: Fn() -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<()>> + Send,
{
    let began = Instant::now();
    let (from, until) = (began + warm_up, began + warm_up + measured);
    let mut workers = JoinSet::new();
    for _ in 0..in_flight {
        let one = one.clone();
        workers.spawn(async move {
            let (mut found, mut all) = (Vec::new(), 0_usize);
            loop {
                let asked = Instant::now();
                if asked >= until {
                    return Ok::<_, anyhow::Error>((found, all));
                }
                one().await?;
                all += 1;
                let answered = Instant::now();
                if answered >= from && answered < until {
                    found.push(millis(answered - asked));
                }
            }
        });
    }
    let (mut found, mut all) = (Vec::new(), 0);
    while let Some(worker) = workers.join_next().await {
        let (some, count) = worker??;
        found.extend(some);
        all += count;
    }
    Ok(Measured {
        per_second: per_second(found.len(), measured),
        latencies: Latencies(found),
        all,
    })
}

/// What arrivals led to.
#[derive(Debug, Clone)]
pub(crate) struct Answers<T> {
    /// What became of each, and how long it took from its intended moment, in milliseconds.
    pub(crate) each: Vec<(T, f64)>,
    /// Those that ended within the measured time, a second.
    pub(crate) per_second: f64,
}

impl<T> Answers<T> {
    /// The figures, whatever became of each.
    pub(crate) fn measured(&self) -> Measured {
        Measured {
            latencies: Latencies(self.each.iter().map(|(_, ms)| *ms).collect()),
            per_second: self.per_second,
            all: self.each.len(),
        }
    }
}

/// Begins `rate` a second at random moments (Poisson), whatever became of those before: a slow answer does
/// not spare the system the next question. Latencies count from the intended moment. What was meant to
/// begin before `warm_up` is over does not count.
pub(crate) async fn open<T, F, R>(
    rate: f64,
    warm_up: Duration,
    during: Duration,
    seed: u64,
    one: F,
) -> Result<Answers<T>>
where
    T: Send + 'static,
    F: Fn() -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<T>> + Send,
{
    let mut random = SmallRng::seed_from_u64(seed);
    let began = Instant::now();
    let (from, until) = (began + warm_up, began + warm_up + during);
    let in_time = Arc::new(AtomicUsize::new(0));
    let mut asked = JoinSet::new();
    let mut at = began;
    loop {
        // Exponential gaps: -ln(1 - u) / rate.
        let gap = -(1.0 - random.random::<f64>()).ln() / rate;
        at += Duration::from_secs_f64(gap);
        if at >= until {
            break;
        }
        tokio::time::sleep_until(at.into()).await;
        let (one, intended, in_time) = (one.clone(), at, Arc::clone(&in_time));
        asked.spawn(async move {
            let answer = one().await?;
            let ended = Instant::now();
            if ended >= from && ended < until {
                in_time.fetch_add(1, Ordering::Relaxed);
            }
            let counts = intended >= from;
            Ok::<_, anyhow::Error>(counts.then(|| (answer, millis(ended - intended))))
        });
    }
    let mut each = Vec::new();
    while let Some(found) = asked.join_next().await {
        each.extend(found??);
    }
    Ok(Answers {
        each,
        per_second: per_second(in_time.load(Ordering::Relaxed), during),
    })
}
