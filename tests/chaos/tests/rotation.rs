//! A rotation under a few runs, with tokens that live for less long; `./dev chaos --rotation` does the whole.

#![expect(
    clippy::print_stdout,
    reason = "what happened is read where the test fails"
)]

use std::time::Duration;

use nightshift_chaos::Rotation;

#[tokio::test(flavor = "multi_thread")]
async fn keys_take_turns_under_live_runs_while_what_they_stand_on_is_killed() -> anyhow::Result<()>
{
    let rotation = Rotation {
        runs: 8,
        life: Duration::from_secs(20),
        lead: Duration::from_secs(10),
        plant: None,
    };
    let outcome = rotation.run(|line| println!("{line}")).await?;
    let lines = outcome.lines().join("\n");
    println!("{lines}");
    assert!(outcome.violations().is_empty(), "{lines}");
    for name in ["llm-gateway", "session", "telemetry", "codebase"] {
        let struck = outcome.struck.get(name).copied().unwrap_or_default();
        assert!(struck.kills >= 1, "{name} was killed: {lines}");
    }
    assert!(
        outcome.repeated() > 0,
        "somebody met a server that was away: {lines}"
    );
    Ok(())
}
