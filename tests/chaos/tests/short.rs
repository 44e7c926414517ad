//! A short run; `./dev chaos` does long ones.

#![expect(
    clippy::print_stdout,
    reason = "what happened is read where the test fails"
)]

use std::time::Duration;

use nightshift_chaos::Chaos;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_functions_database_and_machines_are_killed() -> anyhow::Result<()> {
    let chaos = Chaos {
        duration: Duration::from_secs(20),
        seed: 1,
        rate: 0.6,
        sweep: Duration::from_secs(5),
    };
    let outcome = chaos.run(|line| println!("{line}")).await?;
    let lines = outcome.lines().join("\n");
    println!("{lines}");
    assert!(outcome.violations.is_empty(), "{lines}");
    assert!(outcome.alerts >= 10 && outcome.kills >= 5, "{lines}");
    Ok(())
}
