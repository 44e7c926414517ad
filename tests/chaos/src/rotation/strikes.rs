//! What is killed meanwhile: the model's gateway, session, a server, and a server while session is away.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use nightshift_stack::Stack;
use tokio::time::{self, Instant};

use super::Struck;
use crate::faults::{Dead, keep_dead};

/// One after the other, and again: what is killed, for how long, and then what else while it is away.
const STRIKES: [(&str, Duration, Option<&str>); 4] = [
    ("llm-gateway", Duration::from_secs(2), None),
    ("session", Duration::from_secs(6), None),
    ("telemetry", Duration::from_secs(1), None),
    ("session", Duration::from_secs(6), Some("codebase")),
];

/// Kills until `so_long` is over, and leaves the last quiet again.
pub(crate) async fn strike(
    stack: &Stack,
    so_long: Duration,
    tell: &impl Fn(&str),
) -> Result<BTreeMap<&'static str, Struck>> {
    let began = Instant::now();
    let every = (so_long / 12).clamp(Duration::from_secs(12), Duration::from_secs(30));
    let mut struck = BTreeMap::new();
    for (at, (name, away, other)) in STRIKES.iter().cycle().copied().enumerate() {
        let due = began + every.mul_f64(f64::from(u32::try_from(at)?) + 0.5);
        if due + away + Duration::from_secs(5) > began + so_long {
            break;
        }
        time::sleep_until(due).await;
        let with = other.map_or(String::new(), |other| format!(", and {other} meanwhile"));
        let seconds = began.elapsed().as_secs();
        tell(&format!(
            "at {seconds} s: {name} is away for {} s{with}",
            away.as_secs()
        ));
        let another = async {
            let Some(other) = other else {
                return Ok(Dead::default());
            };
            // Its keys are gone with it, and nobody gives it any.
            time::sleep(Duration::from_secs(1)).await;
            keep_dead(stack, other, Duration::from_millis(200)).await
        };
        let (first, second) = tokio::join!(keep_dead(stack, name, away), another);
        struck
            .entry(name)
            .or_insert_with(Struck::default)
            .add(first?);
        if let Some(other) = other {
            struck
                .entry(other)
                .or_insert_with(Struck::default)
                .add(second?);
        }
    }
    Ok(struck)
}
