//! What a sandbox must be able to do before it is called ready.

use std::time::Duration;

use crate::{
    children::Children,
    config::Config,
    exit::Failure,
    harness::HarnessProcess,
    shell::{Shell, ShellRequest},
    volume,
};

const PATIENCE: Duration = Duration::from_secs(10);

/// Does what a run would do, without a brief: writes to the volume, has the agent's shell say who
/// it is, and lets the harness end for want of work. That the gateway is reachable is known already:
/// the session endpoint answered.
///
/// # Errors
/// The first check that failed.
pub async fn check(
    config: &Config,
    children: &Children,
    mut harness: HarnessProcess,
) -> Result<(), Failure> {
    let failed = |check, detail| Failure::SelfCheck { check, detail };
    volume::check_writable(config).map_err(|error| failed("volume", error.to_string()))?;

    let shell = Shell::new(config, children.clone(), harness.pid());
    let asked = ShellRequest {
        command: "id -u".to_owned(),
        timeout_ms: Some(10_000),
    };
    let said = shell
        .run(&asked)
        .await
        .map_err(|error| failed("shell", error.to_string()))?;
    let user = config
        .agent_id()
        .unwrap_or_else(|| rustix::process::geteuid().as_raw());
    if said.exit_code != Some(0) || said.stdout.trim() != user.to_string() {
        return Err(failed(
            "shell",
            format!("asked for user {user}, got {said:?}"),
        ));
    }

    harness
        .dismiss(PATIENCE)
        .await
        .map_err(|detail| failed("harness", detail))
}
