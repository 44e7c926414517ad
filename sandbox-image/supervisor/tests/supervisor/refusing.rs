//! A supervisor that cannot have a step does not run, and says which.

use std::fs;

use crate::world::{World, has_uids};

#[tokio::test]
async fn a_missing_step_ends_it_before_it_asks_for_a_token_unless_it_was_accepted() {
    // One user for all is what every host can be asked for.
    let world = World::claimed(&[]);
    let run = |accepted: &'static str| {
        let mut command = world.command();
        command
            .env("NIGHTSHIFT_UIDS", "single")
            .env("NIGHTSHIFT_ACCEPTED_RISKS", accepted);
        async move { crate::world::end_of(&mut command.spawn().unwrap()).await }
    };
    assert_eq!(run("cgroups").await, Some(77));
    assert!(
        world.log().contains("`users` cannot be had"),
        "{}",
        world.log()
    );
    assert!(
        world
            .log()
            .contains("Name users in NIGHTSHIFT_ACCEPTED_RISKS"),
        "{}",
        world.log()
    );
    let asked = world.platform.lock().unwrap().statements_issued;
    assert_eq!(asked, 0);
    assert_eq!(run("cgroups,users").await, Some(0), "{}", world.log());
    assert!(
        world.log().contains("users: MISSING, accepted"),
        "{}",
        world.log()
    );
    assert_eq!(run("cgroups,everything").await, Some(78));
}

#[tokio::test]
async fn the_log_tells_every_step_and_its_outcome_and_so_does_the_self_check() {
    let world = World::new();
    assert_eq!(world.run().await, Some(0), "{}", world.log());
    let lines: Vec<_> = world.log().lines().map(str::to_owned).collect();
    let telling: Vec<_> = lines
        .iter()
        .filter(|line| line.contains("non-dumpable: held"))
        .collect();
    assert_eq!(telling.len(), 2, "{lines:?}");
    for line in telling {
        for step in nightshift_supervisor::steps::Step::ALL {
            assert!(line.contains(&format!("{}: ", step.as_str())), "{line}");
        }
        if has_uids() {
            assert!(
                line.contains("users: held") && line.contains("landlock: held"),
                "{line}"
            );
        }
    }
}

#[tokio::test]
async fn an_unclaimed_machine_with_somebodys_files_is_not_ready() {
    let world = World::new();
    fs::create_dir_all(world.path("data/work")).unwrap();
    fs::write(world.path("data/work/marker"), "of another tenant").unwrap();
    assert_eq!(world.run().await, Some(70), "{}", world.log());
    assert!(
        world.log().contains("nobody has claimed this machine"),
        "{}",
        world.log()
    );
}
