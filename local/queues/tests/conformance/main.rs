//! What AWS documents about SQS, asked over HTTP with AWS's own SDK: of the simulator always, and of
//! ministack, an emulator that others wrote, where it runs.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::similar_names,
    clippy::case_sensitive_file_extension_comparisons,
    reason = "a helper fails its test, the figures are printed, and what was sent is called sent"
)]

mod check;
mod checks;
mod ministack;
mod peer;

use check::{Check, Outcome};
use peer::Peer;

/// Each check has queues and a clock of its own, so it may jump hours ahead.
#[tokio::test(flavor = "multi_thread")]
async fn the_simulator_does_everything_that_aws_documents() {
    let mut failed = Vec::new();
    for check in checks::all() {
        let peer = Peer::simulator(check.name).await;
        if let Outcome::Failed(why) = check.run(&peer).await {
            failed.push(format!("{}: {}\n    but {why}", check.name, check.says));
        }
    }
    assert!(
        failed.is_empty(),
        "{} checks failed:\n{}",
        failed.len(),
        failed.join("\n")
    );
}

/// The independent opinion: where both agree, neither was made to please the other. A divergence
/// that is gone fails as much as a new one, so that the list says what is.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs ministack: ./dev test --ministack"]
async fn ministack_diverges_only_where_it_is_known_to() {
    let url = ministack::url();
    // It may have seen an earlier run.
    let run = std::process::id().to_string();
    let runs = checks::all().into_iter().map(|check| {
        let peer = Peer::ministack(&url, check.name, &run);
        tokio::spawn(async move { (check.name, check.run(&peer).await) })
    });
    let runs: Vec<_> = runs.collect();
    let mut surprises = Vec::new();
    let (mut agreed, mut unasked) = (0, 0);
    for run in runs {
        let (name, outcome) = run.await.expect("a check panicked");
        let known = ministack::DIVERGENCES
            .iter()
            .find(|divergence| divergence.0 == name);
        match (outcome, known) {
            (Outcome::Unasked, _) => unasked += 1,
            (Outcome::Passed, None) => agreed += 1,
            (Outcome::Passed, Some(_)) => {
                surprises.push(format!("{name} agrees now: take it off the list"));
            }
            (Outcome::Failed(_), Some(_)) => {}
            (Outcome::Failed(why), None) => surprises.push(format!("{name} diverges: {why}")),
        }
    }
    let known = ministack::DIVERGENCES.len();
    println!("ministack: {agreed} agree, {known} diverge as known, {unasked} would take too long");
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
}

#[test]
fn every_check_has_a_name_of_its_own_and_every_known_divergence_a_check() {
    let mut names: Vec<_> = checks::all().iter().map(|check| check.name).collect();
    for (name, why) in ministack::DIVERGENCES {
        assert!(names.contains(name), "{name} is not a check");
        assert!(!why.is_empty(), "{name}: say how it diverges");
    }
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "two checks have one name");
    assert!(count >= 40, "{count} checks");
}

#[test]
fn a_check_that_does_not_hold_is_reported() {
    let wrong = Check::new(
        "wrong",
        "queues exist before they are made",
        |peer: &Peer| {
            Box::pin(async move {
                peer.client
                    .get_queue_url()
                    .queue_name("never-made")
                    .send()
                    .await?;
                Ok(())
            })
        },
    );
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let outcome = runtime.block_on(async {
        let peer = Peer::simulator("wrong").await;
        wrong.run(&peer).await
    });
    assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
}
