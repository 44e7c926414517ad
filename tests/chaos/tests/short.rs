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
        duration: Duration::from_secs(15),
        seed: 1,
        rate: 0.8,
        sweep: Duration::from_secs(2),
        longest: Some(Duration::from_secs(6)),
    };
    let outcome = chaos.run(|line| println!("{line}")).await?;
    let lines = outcome.lines().join("\n");
    println!("{lines}");
    assert!(outcome.violations.is_empty(), "{lines}");
    assert!(outcome.alerts >= 6, "{lines}");
    let done = &outcome.done;
    // How many are hit at work depends on the machine; that some were makes the run worth something.
    assert!(
        done.busy.values().sum::<usize>() >= 2,
        "functions at work were killed: {lines}"
    );
    assert!(
        done.database >= 1 && outcome.recoveries >= done.database,
        "the database ended at once and recovered: {lines}"
    );
    assert!(
        done.machines >= 1 && done.machines_gone >= Duration::from_secs(3),
        "the machines were gone: {lines}"
    );
    assert!(
        done.machines_hung >= Duration::from_secs(1),
        "the machines answered nobody: {lines}"
    );
    assert!(
        outcome.versions.0 >= 10 && outcome.versions.1 >= 10 && outcome.old_steps >= 5,
        "two versions worked side by side: {lines}"
    );
    Ok(())
}
