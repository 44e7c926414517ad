//! Suspending a machine, and going on: virtual machines can, others refuse.

use std::time::Instant;

use nightshift_machines::{MachineState, WaitFor};

use crate::world::{Made, SOON, World, is_qemu, skipped, traces, until};

/// Why there is nothing to try.
const NONE: &str = "bubblewrap cannot suspend; MACHINED_CONTRACT_BACKEND=qemu tries it";

async fn suspend(world: &World, made: &Made) {
    let path = format!("/v1/apps/{}/machines/{}/suspend", made.app, made.machine.id);
    let answer = world.call("POST", &path, None).await;
    assert_eq!(answer.status(), 200);
    let waited = world
        .client
        .wait(&made.app, &made.machine.id, WaitFor::Suspended, SOON)
        .await;
    waited.unwrap();
}

#[tokio::test]
async fn a_sandbox_that_cannot_be_suspended_says_so_and_runs_on() {
    if is_qemu() {
        return skipped("virtual machines can be suspended");
    }
    let world = World::new().await;
    let made = world.make("a", "echo READY; exec sleep 67.25").await;
    world.client.start("a", &made.machine.id).await.unwrap();
    let path = format!("/v1/apps/a/machines/{}/suspend", made.machine.id);
    assert_eq!(world.call("POST", &path, None).await.status(), 501);
    let machine = world.client.machine("a", &made.machine.id).await.unwrap();
    assert_eq!(machine.state, MachineState::Started);
}

#[tokio::test]
#[expect(
    clippy::print_stderr,
    reason = "how long it takes is what the host allows, and told"
)]
async fn a_suspended_machine_goes_on_where_it_was_with_its_memory_and_the_right_time() {
    if !is_qemu() {
        return skipped(NONE);
    }
    let mut world = World::new().await;
    // The shell's counter is in memory only, and the socket is one that was there before.
    let ask = "perl /opt/http.pl /.fly/api POST /v1/tokens/oidc localhost '{\"aud\":\"x\"}'";
    let script = format!(
        "echo kept > /data/file; n=0; while :; do n=$((n+1)); echo \"tick $n $(date +%s)\"; \
         [ -e /tmp/asked ] || {{ {ask}; touch /tmp/asked; }}; \
         [ $n = 4 ] && echo HALF; sleep 0.5; [ $n -ge 12 ] && {ask} && cat /data/file && exit 5; done"
    );
    let made = world.make("a", &script).await;
    world.client.start("a", &made.machine.id).await.unwrap();
    world.printed(&made, "HALF").await;
    let began = Instant::now();
    suspend(&world, &made).await;
    let suspended = began.elapsed();
    until("QEMU runs on", || traces(&made, "").is_empty()).await;
    // What is suspended survives us.
    world.kill();
    world.launch().await;
    let machine = world.client.machine("a", &made.machine.id).await.unwrap();
    assert_eq!(machine.state, MachineState::Suspended);

    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let began = Instant::now();
    let started = world.client.start("a", &made.machine.id).await.unwrap();
    eprintln!(
        "suspended in {} ms, restored in {} ms",
        suspended.as_millis(),
        began.elapsed().as_millis()
    );
    assert_eq!(started.previous_state, "suspended");
    let kept = world.state().join("machines").join(&made.machine.id);
    assert!(!kept.join("suspended").exists(), "it could go on twice");
    world.stopped(&made).await;
    let printed = world.printed(&made, "kept").await;
    let ticks: Vec<(u32, u64)> = printed
        .lines()
        .filter_map(|line| line.strip_prefix("tick "))
        .filter_map(|line| line.split_once(' '))
        .map(|(n, at)| (n.parse().unwrap(), at.parse().unwrap()))
        .collect();
    let counted: Vec<u32> = ticks.iter().map(|tick| tick.0).collect();
    assert_eq!(counted, (1..=12).collect::<Vec<_>>(), "{printed}");
    assert!(
        ticks.windows(2).any(|pair| pair[1].1 - pair[0].1 >= 3),
        "its clock stood still: {printed}"
    );
    assert_eq!(printed.matches("HTTP/1.1 200").count(), 2, "{printed}");
    let machine = world.client.machine("a", &made.machine.id).await.unwrap();
    assert_eq!(machine.last_exit().map(|exit| exit.exit_code), Some(5));
}

#[tokio::test]
async fn stopping_a_suspended_machine_gives_up_its_memory_and_the_next_start_is_a_new_one() {
    if !is_qemu() {
        return skipped(NONE);
    }
    let world = World::new().await;
    let made = world
        .make("a", "echo BEGIN; sleep 1; echo READY; exec sleep 60")
        .await;
    world.client.start("a", &made.machine.id).await.unwrap();
    world.printed(&made, "READY").await;
    suspend(&world, &made).await;
    let kept = world
        .state()
        .join("machines")
        .join(&made.machine.id)
        .join("suspended");
    assert!(kept.exists());
    let path = format!("/v1/apps/a/machines/{}/stop", made.machine.id);
    assert_eq!(world.call("POST", &path, None).await.status(), 200);
    world.stopped(&made).await;
    assert!(!kept.exists());
    world.client.start("a", &made.machine.id).await.unwrap();
    world.printed(&made, "READY\nBEGIN\nREADY").await;
}

#[tokio::test]
async fn a_machine_whose_kept_memory_is_broken_boots_anew_and_says_so_to_nobody() {
    if !is_qemu() {
        return skipped(NONE);
    }
    let world = World::new().await;
    let made = world.make("a", "echo BEGIN; exec sleep 60").await;
    world.client.start("a", &made.machine.id).await.unwrap();
    world.printed(&made, "BEGIN").await;
    suspend(&world, &made).await;
    let directory = world.state().join("machines").join(&made.machine.id);
    std::fs::write(directory.join("suspended"), b"nonsense").unwrap();
    world.client.start("a", &made.machine.id).await.unwrap();
    let printed = world.printed(&made, "BEGIN\n").await;
    let twice = async {
        while world.printed(&made, "").await.matches("BEGIN").count() < 2 {
            crate::world::pause().await;
        }
    };
    assert!(tokio::time::timeout(SOON, twice).await.is_ok(), "{printed}");
}
