//! Whether a machine whose program has ended starts again by itself.

use std::time::{Duration, Instant};

use nightshift_machines::RestartPolicy;

use crate::world::MachineCell;

/// Restarts after a failure within [`RESTART_WINDOW`], unless the machine says otherwise.
const RESTARTS_MAX: usize = 10;
const RESTART_WINDOW: Duration = Duration::from_mins(5);

/// Whether the machine starts again by itself; the provider's default is on-failure.
pub(crate) fn restarts(cell: &mut MachineCell, exit_code: i32, now: Instant) -> bool {
    let restart = cell.record.config.restart.as_ref();
    let policy = restart.map_or(RestartPolicy::OnFailure, |restart| restart.policy);
    let most = restart.and_then(|restart| restart.max_retries);
    match policy {
        RestartPolicy::No => false,
        RestartPolicy::Always => true,
        RestartPolicy::OnFailure if exit_code == 0 => false,
        RestartPolicy::OnFailure => {
            let most = most.map_or(RESTARTS_MAX, |most| {
                usize::try_from(most).unwrap_or(usize::MAX)
            });
            cell.restarts
                .retain(|&at| now.duration_since(at) < RESTART_WINDOW);
            let again = cell.restarts.len() < most;
            if again {
                cell.restarts.push(now);
            }
            again
        }
    }
}
