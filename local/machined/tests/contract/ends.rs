//! What is known of a machine's end that nobody asked for, and what an end in order leaves.

use nightshift_machines::WaitFor;

use crate::world::{Options, SOON, World, until};

#[tokio::test]
async fn the_last_words_of_a_machine_that_ended_by_itself_are_in_the_servers_log() {
    let options = Options {
        log: Some("log"),
        ..Options::default()
    };
    let world = World::start(options).await;
    let words = |code: u8| {
        format!(
            "for n in 1 2 3 4 5 6 7 8; do echo line $n of {code}; done; \
             printf 'no landlock \\033[2Jhere {code}\\n'; exit {code}"
        )
    };
    let failed = world.make("failed", &words(77)).await;
    let fine = world.make("fine", &words(0)).await;
    for made in [&fine, &failed] {
        let started = world.client.start(&made.app, &made.machine.id).await;
        started.unwrap();
        world.stopped(made).await;
    }
    let asked = world
        .make("asked", "echo line of asked; exec sleep 69.25")
        .await;
    let started = world.client.start(&asked.app, &asked.machine.id).await;
    started.unwrap();
    world.printed(&asked, "asked").await;
    world
        .client
        .stop(&asked.app, &asked.machine.id)
        .await
        .unwrap();
    world.stopped(&asked).await;

    until("the words are not told", || {
        world.logged().contains("here 77")
    })
    .await;
    let logged = world.logged();
    assert!(
        logged.contains("exit code 77") && logged.contains(&failed.machine.id),
        "{logged}"
    );
    assert!(logged.contains("| no landlock  [2Jhere 77"), "{logged}");
    assert!(
        logged.contains("line 8 of 77") && !logged.contains("line 4 of 77"),
        "{logged}"
    );
    assert!(
        !logged.contains("of 0") && !logged.contains("of asked"),
        "{logged}"
    );
}

#[tokio::test]
async fn a_machine_that_had_to_be_killed_keeps_what_it_wrote() {
    let world = World::with(&["--settle-ms", "0"]).await;
    // It ends by no signal that can be caught, and nothing brings the file to the disk.
    let script = "cat /data/file; trap '' INT TERM; echo kept > /data/file; echo READY; \
                  while :; do sleep 1; done";
    let mut made = world.make("a", script).await;
    let app = made.app.clone();
    world.client.start(&app, &made.machine.id).await.unwrap();
    world.printed(&made, "READY").await;
    let path = format!("/v1/apps/{app}/machines/{}/stop", made.machine.id);
    let body = serde_json::json!({ "timeout": "500ms" });
    assert_eq!(world.call("POST", &path, Some(body)).await.status(), 200);
    world.stopped(&made).await;
    made.machine = world.client.machine(&app, &made.machine.id).await.unwrap();
    assert_eq!(
        made.machine.last_exit().map(|exit| exit.exit_code),
        Some(137)
    );
    world.client.start(&app, &made.machine.id).await.unwrap();
    world.printed(&made, "READY\nkept\nREADY").await;
}

#[tokio::test]
async fn a_wait_may_be_for_whichever_of_several_states_comes_first() {
    let world = World::new().await;
    let made = world.make("a", "exit 3").await;
    world.client.start("a", &made.machine.id).await.unwrap();
    let either = [WaitFor::Failed, WaitFor::Stopped];
    let waited = world
        .client
        .wait_any("a", &made.machine.id, &either, SOON)
        .await;
    assert_eq!(waited.unwrap().state, "stopped");
}
