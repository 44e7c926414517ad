//! What a sandbox must be able to do before it is called ready.

use std::{sync::Arc, time::Duration};

use crate::{
    children::Children,
    config::Config,
    exit::Failure,
    hardening::Hardening,
    harness::HarnessProcess,
    scratch,
    shell::{Shell, ShellRequest},
    steps::{Step, Steps},
    volume,
};

const PATIENCE: Duration = Duration::from_secs(10);

/// Asks the kernel, from inside the agent's shell, what the shell may do.
const WHO_AM_I: &str =
    "id -u; cat /proc/self/status; ls / >/dev/null 2>&1 && echo the root is open; true";

/// Does what a run would do, without a brief: writes to the volume, has the agent's shell say who
/// it is, and lets the harness end for want of work. That the gateway is reachable is known already:
/// the session endpoint answered. A volume that has been worked on is refused: it may be somebody else's.
///
/// # Errors
/// The first check that failed.
pub async fn check(
    config: &Config,
    hardening: &Arc<Hardening>,
    children: &Children,
    mut harness: HarnessProcess,
) -> Result<(), Failure> {
    let failed = |check, detail| Failure::SelfCheck { check, detail };
    volume::check_writable(config).map_err(|error| failed("volume", error.to_string()))?;
    for name in ["session", "work"] {
        if !scratch::is_empty(&config.volume.join(name)) {
            let detail =
                format!("nobody has claimed this machine, but there is something in `{name}`");
            return Err(failed("volume", detail));
        }
    }

    let shell = Shell::new(config, hardening, children.clone(), harness.pid());
    let asked = ShellRequest {
        command: WHO_AM_I.to_owned(),
        timeout_ms: Some(10_000),
    };
    let said = shell
        .run(&asked)
        .await
        .map_err(|error| failed("shell", error.to_string()))?;
    if said.exit_code != Some(0) {
        return Err(failed("shell", format!("it said {said:?}")));
    }
    let user = config
        .agent_id()
        .unwrap_or_else(|| rustix::process::geteuid().as_raw());
    judge(&said.stdout, user, &hardening.without()).map_err(|detail| failed("shell", detail))?;

    harness
        .dismiss(PATIENCE)
        .await
        .map_err(|detail| failed("harness", detail))
}

/// Whether the shell is confined as it must be.
fn judge(said: &str, user: u32, without: &Steps) -> Result<(), String> {
    let field = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().trim()
    };
    let users = vec![user.to_string(); 4].join("\t");
    let holds = [
        (
            Step::Users,
            field("Uid:") == users && field("Gid:") == users,
        ),
        (
            Step::NoCapabilities,
            ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"]
                .iter()
                .all(|set| field(set).bytes().all(|digit| digit == b'0')),
        ),
        (Step::NoNewPrivileges, field("NoNewPrivs:") == "1"),
        (Step::Seccomp, field("Seccomp:") == "2"),
        (Step::Landlock, !said.contains("the root is open")),
    ];
    let broken = holds
        .iter()
        .find(|(step, holds)| !holds && !without.has(*step));
    broken.map_or(Ok(()), |(step, _)| {
        Err(format!(
            "`{}` does not hold in the agent's shell: {said}",
            step.as_str()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_that_may_more_than_it_should_is_found_out() {
        let good = "1002\nUid:\t1002\t1002\t1002\t1002\nGid:\t1002\t1002\t1002\t1002\nCapInh:\t0000\n\
                    CapPrm:\t0000\nCapEff:\t0000\nCapAmb:\t0000\nNoNewPrivs:\t1\nSeccomp:\t2\n";
        judge(good, 1002, &Steps::NONE).unwrap();
        for (from, to, step) in [
            ("Uid:\t1002", "Uid:\t0", "users"),
            ("CapAmb:\t0000", "CapAmb:\t0020", "no-capabilities"),
            ("Privs:\t1", "Privs:\t0", "no-new-privileges"),
            ("Seccomp:\t2", "Seccomp:\t0", "seccomp"),
            ("1002\nUid", "the root is open\nUid", "landlock"),
        ] {
            let bad = good.replace(from, to);
            assert!(judge(&bad, 1002, &Steps::NONE).unwrap_err().contains(step));
            judge(&bad, 1002, &Steps::parse(step).unwrap()).unwrap();
        }
    }
}
