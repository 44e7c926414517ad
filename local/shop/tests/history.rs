//! The stories can be told: every commit and deploy in them has something to work on.

use chrono::DateTime;
use nightshift_shop::recorder::{
    history::{Edit, History, HistoryError, Plan},
    scenario::{Action, Cause, SCENARIOS},
    topology::SERVICES,
};

fn noon() -> DateTime<chrono::Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap_or_default()
}

#[tokio::test]
async fn every_commit_of_every_story_applies_in_its_order() {
    for scenario in SCENARIOS {
        let dir = tempfile::tempdir().expect("a directory");
        let mut history = History::begin(dir.path(), noon())
            .await
            .expect("a repository");
        let mut last = 0;
        for step in scenario.steps {
            assert!(
                step.at >= last,
                "{}: steps stand in their order",
                scenario.name
            );
            last = step.at;
            match step.action {
                Action::Commit(plan) => {
                    history.commit(plan, noon()).await.expect("a commit");
                }
                Action::Deploy(service) | Action::Flag { service, .. } => {
                    assert!(SERVICES.contains(&service));
                }
                Action::Provider(_) => {}
            }
        }
    }
}

#[tokio::test]
async fn a_guilty_commit_is_what_its_service_is_deployed_with() {
    for scenario in SCENARIOS {
        let Cause::Commit {
            plan: guilty,
            service: at,
            ..
        } = scenario.cause
        else {
            continue;
        };
        let mut newest = "";
        let mut deployed = Vec::new();
        for step in scenario.steps {
            match step.action {
                Action::Commit(plan) => newest = plan.message,
                Action::Deploy(service) if service == at => deployed.push(newest),
                Action::Deploy(_) | Action::Flag { .. } | Action::Provider(_) => {}
            }
        }
        assert_eq!(deployed, [guilty.message], "{}", scenario.name);
    }
}

#[tokio::test]
async fn the_same_changes_at_the_same_time_have_the_same_hashes() {
    let plan = Plan {
        author: "A Person",
        message: "shelf",
        edits: &[Edit::Source {
            file: "shelf",
            name: "three",
        }],
    };
    let mut hashes = Vec::new();
    for _ in 0..2 {
        let dir = tempfile::tempdir().expect("a directory");
        let mut history = History::begin(dir.path(), noon())
            .await
            .expect("a repository");
        hashes.push(history.commit(&plan, noon()).await.expect("a commit"));
        let newest = history.commits().last().expect("the commit");
        assert_eq!(newest.files.len(), 1);
        assert_eq!(newest.files[0].path, "src/inventory/shelf.rs");
        assert!(
            newest.files[0]
                .patch
                .contains("-        1..=5 => \"only a few left\",")
        );
        assert!(history.sources().contains(&"shelf=three".to_owned()));
    }
    assert_eq!(hashes[0], hashes[1]);
}

#[tokio::test]
async fn a_change_of_words_that_are_not_there_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut history = History::begin(dir.path(), noon())
        .await
        .expect("a repository");
    let edits = [Edit::Words {
        path: "README.md",
        from: "no such words",
        to: "x",
    }];
    let plan = Plan {
        author: "A Person",
        message: "words",
        edits: &edits,
    };
    let refused = history.commit(&plan, noon()).await;
    assert!(matches!(refused, Err(HistoryError::NothingToChange(_))));
}
