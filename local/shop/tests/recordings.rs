//! The recordings that are kept: whole, honest about their window, and with an answer that they can support.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use chrono::{DateTime, TimeDelta, Utc};
use nightshift_shop::{
    recorder::{scenario::SCENARIOS, sources::SOURCES},
    recording::{MetricRow, Recording, Span},
};
use serde_json::Value;

fn home() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn kept() -> Vec<(PathBuf, Recording, Value)> {
    let load = |name: &str| -> anyhow::Result<(PathBuf, Recording, Value)> {
        let dir = home().join("recordings").join(name);
        let recording = Recording::read(&dir)?;
        let answer = fs::read(home().join("expected").join(format!("{name}.json")))?;
        Ok((dir, recording, serde_json::from_slice(&answer)?))
    };
    let loaded: anyhow::Result<Vec<_>> = SCENARIOS.iter().map(|s| load(s.name)).collect();
    loaded.unwrap_or_else(|error| panic!("a recording does not load: {error:#}"))
}

/// When the cause came: with the guilty deploy or, where there is none, some two minutes before the alert.
fn onset(recording: &Recording, answer: &Value) -> DateTime<Utc> {
    let commit = answer["change"]["commit"].as_str();
    let deployed = recording
        .deploys
        .iter()
        .find(|deploy| Some(deploy.commit.as_str()) == commit);
    deployed.map_or(
        recording.manifest.alert_at - TimeDelta::seconds(120),
        |deploy| deploy.at,
    )
}

fn p95(spans: &[&Span]) -> u64 {
    let mut took: Vec<u64> = spans.iter().map(|span| span.duration_us).collect();
    took.sort_unstable();
    took.get(took.len() * 95 / 100).copied().unwrap_or(0)
}

fn gauge<'a>(recording: &'a Recording, metric: &str) -> Vec<&'a MetricRow> {
    recording
        .metrics
        .iter()
        .filter(|row| row.metric == metric)
        .collect()
}

#[test]
fn each_recording_is_complete_and_at_most_three_megabytes() {
    for (dir, recording, _) in kept() {
        let bytes: u64 = fs::read_dir(&dir)
            .expect("a directory")
            .flatten()
            .filter_map(|f| f.metadata().ok())
            .map(|m| m.len())
            .sum();
        assert!(bytes < 3_000_000, "{} has {bytes} bytes", dir.display());
        assert_eq!(recording.manifest.format, 1);
        assert_eq!(
            dir.file_name().and_then(|n| n.to_str()),
            Some(recording.manifest.name.as_str())
        );
        let services: BTreeSet<_> = recording
            .logs
            .iter()
            .map(|line| line.service.as_str())
            .collect();
        let traced: BTreeSet<_> = recording
            .spans
            .iter()
            .map(|span| span.service.as_str())
            .collect();
        let ours: BTreeSet<_> = recording
            .topology
            .services
            .iter()
            .filter(|node| node.kind == "service")
            .map(|node| node.name.as_str())
            .collect();
        assert_eq!(ours.len(), 5);
        assert_eq!(traced, ours);
        assert!(services.is_subset(&ours), "{services:?}");
        assert!(!recording.flags.is_empty() && !recording.files.files.is_empty());
    }
}

#[test]
fn everything_in_a_recording_happened_in_its_window() {
    for (dir, recording, _) in kept() {
        let manifest = &recording.manifest;
        let window = manifest.starts_at..=manifest.ends_at;
        assert!(window.contains(&manifest.alert_at), "{}", dir.display());
        assert_eq!(manifest.alert_at, recording.alert.fired_at);
        assert!(recording.logs.iter().all(|line| window.contains(&line.at)));
        assert!(recording.metrics.iter().all(|row| window.contains(&row.at)));
        assert!(
            recording
                .spans
                .iter()
                .all(|span| window.contains(&span.start))
        );
        assert!(recording.alert.observed > recording.alert.threshold);
    }
}

#[test]
fn no_two_recordings_tell_of_the_same_time() {
    let mut spans: Vec<(DateTime<Utc>, DateTime<Utc>, String)> = Vec::new();
    for (_, recording, _) in kept() {
        let manifest = recording.manifest;
        let changes = recording.commits.iter().map(|commit| commit.at);
        let changes = changes.chain(recording.deploys.iter().map(|deploy| deploy.at));
        let first = changes.chain([manifest.starts_at]).min();
        spans.push((
            first.unwrap_or(manifest.starts_at),
            manifest.ends_at,
            manifest.name,
        ));
    }
    spans.sort();
    for pair in spans.windows(2) {
        let ((_, ended, one), (began, _, other)) = (&pair[0], &pair[1]);
        assert!(ended < began, "{other} begins before {one} has ended");
    }
}

#[test]
fn each_recording_has_six_quiet_minutes_before_its_cause() {
    for (dir, recording, answer) in kept() {
        let quiet = onset(&recording, &answer) - recording.manifest.starts_at;
        assert!(quiet >= TimeDelta::minutes(6), "{}: {quiet}", dir.display());
        let before = recording.manifest.starts_at + TimeDelta::minutes(6);
        let errors = recording
            .logs
            .iter()
            .filter(|line| line.level == "error" && line.at < before)
            .count();
        assert!(errors <= 5, "{}: {errors} errors", dir.display());
    }
}

#[test]
fn every_span_hangs_together_with_its_trace() {
    for (dir, recording, _) in kept() {
        let known: BTreeSet<_> = recording
            .spans
            .iter()
            .map(|span| (&span.trace_id, &span.span_id))
            .collect();
        let lost = recording.spans.iter().filter(|span| {
            span.parent_id
                .as_ref()
                .is_some_and(|parent| !known.contains(&(&span.trace_id, parent)))
        });
        let lost = lost.count();
        assert!(
            lost * 1000 <= recording.spans.len(),
            "{}: {lost} without parent",
            dir.display()
        );
    }
}

#[test]
fn the_answer_names_a_commit_that_was_deployed_before_the_alert_or_none() {
    for (dir, recording, answer) in kept() {
        let component = answer["component"].as_str().unwrap_or_default();
        assert!(
            recording
                .topology
                .services
                .iter()
                .any(|node| node.name == component)
        );
        if answer["change"]["type"] == "no_change" {
            assert_eq!(component, "acmepay");
            continue;
        }
        let commit = answer["change"]["commit"].as_str().unwrap_or_default();
        assert!(
            recording.commits.iter().any(|known| known.commit == commit),
            "{}",
            dir.display()
        );
        let deploys = recording.deploys.iter();
        let guilty = deploys
            .clone()
            .find(|deploy| deploy.commit == commit && deploy.service == component);
        let guilty = guilty.unwrap_or_else(|| panic!("{}: never deployed", dir.display()));
        assert!(guilty.at < recording.manifest.alert_at);
        let nearer = deploys.filter(|d| d.at > guilty.at && d.at < recording.manifest.alert_at);
        assert!(
            nearer.count() >= 1,
            "{}: no innocent deploy lies nearer",
            dir.display()
        );
    }
}

#[test]
fn a_commit_patch_is_the_difference_of_the_sources_that_really_run() {
    for (dir, recording, answer) in kept() {
        let Some(commit) = answer["change"]["commit"].as_str() else {
            continue;
        };
        let commit = recording
            .commits
            .iter()
            .find(|known| known.commit == commit);
        let patch = &commit.unwrap_or_else(|| panic!("{}", dir.display())).files[0];
        let source = SOURCES
            .iter()
            .find(|source| source.path == patch.path)
            .expect("a source");
        let [(_, before), (_, after)] = source.texts;
        let lines = |sign: char| -> Vec<&str> {
            let own = |line: &&str| {
                line.starts_with(sign) && !line.starts_with("+++") && !line.starts_with("---")
            };
            patch
                .patch
                .lines()
                .filter(own)
                .map(|line| &line[1..])
                .collect()
        };
        assert!(!lines('+').is_empty() && !lines('-').is_empty());
        assert!(
            lines('+')
                .iter()
                .all(|line| after.lines().any(|known| known == *line))
        );
        assert!(
            lines('-')
                .iter()
                .all(|line| before.lines().any(|known| known == *line))
        );
    }
}

#[test]
fn nothing_in_a_recording_says_which_change_is_to_blame() {
    let telling = [
        "n+1",
        "leak",
        "guilty",
        "fault",
        "per_item",
        "by_line",
        "regression",
        "scenario",
    ];
    for (dir, recording, _) in kept() {
        let logs = recording.logs.iter().map(|line| line.message.clone());
        let messages = recording
            .commits
            .iter()
            .map(|commit| commit.message.clone());
        let patches = recording
            .commits
            .iter()
            .flat_map(|c| &c.files)
            .map(|file| file.patch.clone());
        let texts = recording.files.files.values().cloned();
        let alert = [
            recording.alert.title.clone(),
            recording.alert.summary.clone(),
        ];
        for text in logs
            .chain(messages)
            .chain(patches)
            .chain(texts)
            .chain(alert)
        {
            let text = text.to_lowercase().replace("default", "");
            let told = telling.iter().find(|word| text.contains(**word));
            assert_eq!(told, None, "{}: {text}", dir.display());
        }
    }
}

#[test]
fn slow_browse_shows_many_more_statements_in_each_department_page() {
    let (_, recording, answer) = kept().remove(0);
    let since = onset(&recording, &answer) + TimeDelta::seconds(5);
    let mut statements: BTreeMap<&str, usize> = BTreeMap::new();
    for span in recording
        .spans
        .iter()
        .filter(|s| s.peer.as_deref() == Some("inventory-db"))
    {
        *statements.entry(&span.trace_id).or_default() += 1;
    }
    let pages = |after: bool| -> Vec<&Span> {
        let page = |span: &&Span| {
            span.operation == "GET /browse/{category}"
                && span.kind == "server"
                && (span.start > since) == after
        };
        recording.spans.iter().filter(page).collect()
    };
    let most = |pages: &[&Span]| {
        pages
            .iter()
            .filter_map(|p| statements.get(p.trace_id.as_str()))
            .max()
            .copied()
            .unwrap_or(0)
    };
    assert!(most(&pages(false)[..50]) <= 3);
    assert!(most(&pages(true)) >= 60);
    assert!(p95(&pages(true)) > 3 * p95(&pages(false)));
}

#[test]
fn stalled_checkout_shows_connections_in_use_that_only_grow_minutes_before_the_alert() {
    let (_, recording, answer) = kept().remove(1);
    let onset = onset(&recording, &answer);
    assert!(
        recording.manifest.alert_at - onset >= TimeDelta::minutes(3),
        "the effect comes later"
    );
    let in_use = gauge(&recording, "db_pool_in_use");
    let median = |from: DateTime<Utc>, to: DateTime<Utc>| {
        let mut values: Vec<f64> = in_use
            .iter()
            .filter(|r| r.at >= from && r.at < to)
            .map(|r| r.value)
            .collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(-1.0)
    };
    assert!(median(recording.manifest.starts_at, onset) <= 2.0);
    let half = onset + (recording.manifest.alert_at - onset) / 2;
    let middle = median(half - TimeDelta::seconds(20), half + TimeDelta::seconds(20));
    assert!((3.0..12.0).contains(&middle), "{middle}");
    assert!(median(recording.manifest.alert_at, recording.manifest.ends_at) >= 12.0);
}

#[test]
fn failed_payments_shows_the_provider_refusing_while_payment_itself_answers() {
    let (_, recording, _) = kept().remove(2);
    let refused = |from: DateTime<Utc>, to: DateTime<Utc>| -> f64 {
        let charges: Vec<&Span> = recording
            .spans
            .iter()
            .filter(|s| s.peer.as_deref() == Some("acmepay") && s.start >= from && s.start < to)
            .collect();
        assert!(charges.len() >= 10, "{} charges", charges.len());
        #[expect(clippy::cast_precision_loss, reason = "a few hundred charges")]
        let share = charges
            .iter()
            .filter(|s| s.attributes.get("http.status_code") == Some(&503.into()))
            .count() as f64
            / charges.len() as f64;
        share
    };
    let payment = recording
        .deploys
        .iter()
        .rev()
        .find(|deploy| deploy.service == "payment");
    let payment = payment.expect("a deploy of payment").at;
    let (alert, end) = (recording.manifest.alert_at, recording.manifest.ends_at);
    assert!(refused(recording.manifest.starts_at, payment) < 0.05);
    assert!(
        refused(payment, payment + TimeDelta::seconds(45)) < 0.1,
        "the new release works at first"
    );
    assert!(refused(alert, end) > 0.5);
    assert!(recording.logs.iter().all(|line| line.service != "acmepay"));
}

#[test]
fn a_recording_reads_back_as_it_was_written() {
    let (_, recording, _) = kept().remove(2);
    let dir = tempfile::tempdir().expect("a directory");
    recording.write(dir.path()).expect("written");
    assert_eq!(Recording::read(dir.path()).expect("read"), recording);
}
