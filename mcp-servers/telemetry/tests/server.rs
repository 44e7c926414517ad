//! The server as a sandbox meets it: real gate, real transport, a store of recordings on disk.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

#[path = "fixture/recording.rs"]
mod recording;

use std::{collections::BTreeMap, path::Path};

use chrono::{DateTime, TimeDelta, Utc};
use nightshift_domain::Scope;
use nightshift_mcp_kit::testing::TestServer;
use nightshift_telemetry::{Connections, TelemetryServer};
use recording::{ALERT_AFTER, FAULT_AFTER, LENGTH, start, text};
use serde_json::{Value, json};
use tempfile::TempDir;

fn server(store: &Path, fired_at: DateTime<Utc>, connection: Value) -> TestServer {
    let directories = [("shop".to_owned(), store.display().to_string())];
    let server = TelemetryServer::new(Connections::index(&directories).unwrap()).unwrap();
    let connections = BTreeMap::from([("telemetry".to_owned(), connection)]);
    TestServer::new(server, fired_at, connections).0
}

/// A server whose store holds one recording, asked about its alert.
fn shop() -> (TempDir, TestServer) {
    let store = TempDir::new().unwrap();
    recording::write(store.path(), "one", start(), "");
    let connection = json!({ "backend": "recording", "store": "shop" });
    let server = server(store.path(), start() + ALERT_AFTER, connection);
    (store, server)
}

async fn answer(server: &TestServer, tool: &str, arguments: Value) -> Value {
    let answer = server.call(tool, arguments).await;
    answer.structured()["answer"].clone()
}

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn every_tool_refuses_a_stranger() {
    let (_store, server) = shop();
    server.refuses_strangers().await;
}

#[tokio::test]
async fn each_scope_shows_its_own_tools() {
    let (_store, server) = shop();
    let mut metrics = server.list_as(&[Scope::MetricsRead]).await;
    metrics.sort();
    assert_eq!(metrics, ["query_metrics", "rank_metric_anomalies"]);
    assert_eq!(server.list_as(&[Scope::CodeRead]).await, [""; 0]);
}

#[tokio::test]
async fn services_come_with_their_kind_and_what_they_told() {
    let (_store, server) = shop();
    let services = answer(&server, "list_services", json!({})).await;

    let named: Vec<&str> = services["services"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["name"].as_str().unwrap())
        .collect();
    assert_eq!(named, ["cart", "cart-db", "web"]);
    assert_eq!(services["services"][1]["kind"], "database");
    assert_eq!(
        services["services"][0]["metrics"],
        json!(["db_pool_size", "db_queries_total"])
    );
    assert_eq!(
        services["edges"][0],
        json!({ "from": "cart", "to": "cart-db" })
    );
}

#[tokio::test]
async fn metrics_that_changed_are_ranked_and_the_onset_is_found() {
    let (_store, server) = shop();
    let ranked = answer(&server, "rank_metric_anomalies", json!({})).await;

    let onset = time(&ranked["windows"]["onset"]);
    let off = (onset - (start() + FAULT_AFTER)).abs();
    assert!(off <= TimeDelta::seconds(15), "{onset}");
    assert_eq!(ranked["windows"]["onset_estimated"], true);
    let metrics: Vec<&str> = ranked["anomalies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["metric"].as_str().unwrap())
        .collect();
    for expected in [
        "db_queries_total:rate",
        "request_seconds:p50",
        "requests_failed_total:rate",
    ] {
        assert!(
            metrics.contains(&expected),
            "{expected} is missing in {metrics:?}"
        );
    }
    assert!(
        !metrics.contains(&"db_pool_size"),
        "a constant is no anomaly"
    );
}

#[tokio::test]
async fn the_new_failure_is_the_first_template() {
    let (_store, server) = shop();
    let diff = answer(&server, "compare_log_templates", json!({})).await;

    let first = &diff["templates"][0];
    assert_eq!(first["template"], "statement <*> timed out after <*> ms");
    assert_eq!(
        (first["service"].as_str(), first["level"].as_str()),
        (Some("cart"), Some("error"))
    );
    assert_eq!(first["before_per_minute"], 0.0);
    assert_eq!(first["trace_ids"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn the_query_in_a_loop_is_the_first_edge() {
    let (_store, server) = shop();
    let onset = text(start() + FAULT_AFTER);
    let diff = answer(&server, "compare_trace_edges", json!({ "onset": onset })).await;

    let edge = &diff["edges"][0];
    assert_eq!(
        (edge["from"].as_str(), edge["to"].as_str()),
        (Some("cart"), Some("cart-db"))
    );
    assert_eq!(edge["before"]["calls_per_request"], 1.0);
    assert_eq!(edge["after"]["calls_per_request"], 20.0);
    assert_eq!(diff["windows"]["onset_estimated"], false);
    let loud = diff["edges"]
        .as_array()
        .unwrap()
        .iter()
        .find(|edge| edge["from"] == "web")
        .unwrap();
    assert_eq!(loud["after"]["gap_p50_ms"], 2.0);
}

#[tokio::test]
async fn a_slow_trace_is_folded_and_its_queries_are_counted() {
    let (_store, server) = shop();
    let traces = answer(
        &server,
        "query_traces",
        json!({ "errors_only": true, "limit": 1 }),
    )
    .await;

    assert!(traces["matched"].as_u64().unwrap() > 50);
    let spans = traces["traces"][0]["spans"].as_array().unwrap();
    let rows: Vec<(u64, &str, u64)> = spans
        .iter()
        .map(|it| {
            (
                it["depth"].as_u64().unwrap(),
                it["operation"].as_str().unwrap(),
                it["count"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        rows,
        [
            (0, "GET /cart", 1),
            (1, "cart.list", 1),
            (2, "GET /items", 1),
            (3, "select", 20)
        ]
    );

    let id = traces["traces"][0]["trace_id"].as_str().unwrap();
    let same = answer(&server, "query_traces", json!({ "trace_id": id })).await;
    assert_eq!(same["traces"][0]["trace_id"], id);
}

#[tokio::test]
async fn logs_are_found_by_service_level_text_and_trace_newest_first() {
    let (_store, server) = shop();
    let found = server
        .call(
            "query_logs",
            json!({ "service": "cart", "level": "WARN", "contains": "TIMED OUT", "limit": 3 }),
        )
        .await;
    let found = found.structured();

    assert_eq!(found["truncated"], true);
    let lines = found["answer"]["lines"].as_array().unwrap();
    assert_eq!(lines.len(), 3);
    assert!(time(&lines[0]["at"]) > time(&lines[1]["at"]));
    let of_field = answer(
        &server,
        "query_logs",
        json!({ "contains": "/CART", "service": "cart" }),
    )
    .await;
    assert_eq!(of_field["matched"], found["answer"]["matched"]);
    let trace = lines[0]["trace_id"].as_str().unwrap();
    let of_trace = answer(&server, "query_logs", json!({ "trace_id": trace })).await;
    assert_eq!(of_trace["matched"], 2);
}

#[tokio::test]
async fn counters_are_shown_as_rates_and_histograms_as_quantiles() {
    let (_store, server) = shop();
    let onset = start() + FAULT_AFTER;
    let range = json!({ "metric": "db_queries_total", "from": text(onset - TimeDelta::minutes(2)),
        "to": text(onset + TimeDelta::minutes(2)), "step_seconds": 60 });
    let rates = answer(&server, "query_metrics", range).await;
    assert_eq!(rates["series"][0]["metric"], "db_queries_total:rate");
    let points = rates["series"][0]["points"].as_array().unwrap();
    assert!(
        (points[0][1].as_f64().unwrap() - 1.1).abs() < 0.05,
        "{points:?}"
    );
    assert!(
        (points[3][1].as_f64().unwrap() - 20.0).abs() < 0.05,
        "{points:?}"
    );

    let quantiles = answer(
        &server,
        "query_metrics",
        json!({ "metric": "request_seconds_bucket" }),
    )
    .await;
    let names: Vec<&str> = quantiles["series"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["metric"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "request_seconds:p50",
            "request_seconds:p95",
            "request_seconds_count:rate"
        ]
    );
    assert_eq!(
        quantiles["series"][0]["labels"],
        json!({ "route": "/cart" })
    );
}

#[tokio::test]
async fn a_misspelt_name_is_answered_with_those_that_come_close() {
    let (_store, server) = shop();
    for (tool, arguments, part) in [
        (
            "query_logs",
            json!({ "service": "kart" }),
            "no service `kart` here; there are cart",
        ),
        (
            "query_metrics",
            json!({ "metric": "db_querys_total" }),
            "db_queries_total:rate",
        ),
        (
            "compare_trace_edges",
            json!({ "service": "webb" }),
            "there are web",
        ),
        (
            "query_traces",
            json!({ "trace_id": "beef" }),
            "no trace `beef`",
        ),
        (
            "query_logs",
            json!({ "level": "loud" }),
            "use `debug`, `info`, `warn` or `error`",
        ),
    ] {
        let failed = server.call(tool, arguments).await;
        assert!(failed.failure().contains(part), "{}", failed.failure());
    }
}

#[tokio::test]
async fn a_time_without_data_is_refused_with_the_windows_that_have_some() {
    let (_store, server) = shop();
    let past = start() - TimeDelta::days(3);
    let range = json!({ "from": text(past), "to": text(past + TimeDelta::hours(1)) });
    for tool in [
        "list_services",
        "query_logs",
        "query_metrics",
        "query_traces",
        "rank_metric_anomalies",
        "compare_log_templates",
        "compare_trace_edges",
    ] {
        let refused = server.call(tool, range.clone()).await;
        assert!(
            refused
                .failure()
                .contains("data exists for 2026-01-01T00:00:00Z..2026-01-01T00:23:00Z"),
            "{tool}: {}",
            refused.failure()
        );
    }
    let onset = json!({ "onset": text(start() - TimeDelta::hours(1)) });
    let refused = server.call("rank_metric_anomalies", onset).await;
    assert!(
        refused.failure().contains("leaves nothing to compare"),
        "{}",
        refused.failure()
    );
}

#[tokio::test]
async fn a_connection_that_leads_nowhere_is_said_plainly() {
    let store = TempDir::new().unwrap();
    recording::write(store.path(), "one", start(), "");
    for (connection, part) in [
        (
            json!({ "backend": "recording", "store": "other" }),
            "store `other` is not available",
        ),
        (
            json!({ "backend": "recording", "store": "../one" }),
            "store `../one` is not available",
        ),
        (json!({ "backend": "recording" }), "names no `store`"),
        (json!({ "backend": "loki", "store": "shop" }), "cannot read"),
        (json!("shop"), "not usable"),
    ] {
        let server = server(store.path(), start() + ALERT_AFTER, connection);
        let refused = server.call("query_logs", json!({})).await;
        assert!(refused.failure().contains(part), "{}", refused.failure());
    }
}

#[tokio::test]
async fn what_an_answer_holds_stays_below_its_limit() {
    let (_store, server) = shop();
    let lines = server.call("query_logs", json!({ "limit": 100_000 })).await;
    let traces = server
        .call("query_traces", json!({ "limit": 100_000 }))
        .await;
    for answer in [lines, traces] {
        assert_eq!(answer.structured()["truncated"], true);
        assert!(answer.structured()["answer"].to_string().len() <= 64 * 1024);
    }
}

#[tokio::test]
async fn two_recordings_are_one_store_with_a_gap() {
    let store = TempDir::new().unwrap();
    recording::write(store.path(), "one", start(), "first");
    recording::write(store.path(), "two", start() + TimeDelta::hours(1), "second");
    let connection = json!({ "backend": "recording", "store": "shop" });
    let fired_at = start() + TimeDelta::hours(1) + ALERT_AFTER;
    let server = server(store.path(), fired_at, connection);

    let all = json!({ "from": text(start()), "to": text(start() + TimeDelta::hours(2)), "contains": "timed out" });
    let lines = answer(&server, "query_logs", all.clone()).await;
    let own = answer(&server, "query_logs", json!({ "contains": "timed out" })).await;
    assert_eq!(
        lines["matched"].as_u64().unwrap(),
        2 * own["matched"].as_u64().unwrap()
    );

    // A comparison stays within the stretch around the alert.
    let ranked = answer(&server, "rank_metric_anomalies", all).await;
    assert_eq!(
        time(&ranked["windows"]["before_from"]),
        start() + TimeDelta::hours(1)
    );
    assert_eq!(
        time(&ranked["windows"]["after_to"]),
        start() + TimeDelta::hours(1) + LENGTH
    );
}

#[tokio::test]
async fn of_recordings_of_the_same_minutes_only_the_alerts_own_speaks() {
    let store = TempDir::new().unwrap();
    let shift = TimeDelta::seconds(90);
    recording::write(store.path(), "one", start(), "first");
    recording::write(store.path(), "two", start() + shift, "second");
    let connection = json!({ "backend": "recording", "store": "shop" });
    for (fired_at, own, other) in [
        (start() + ALERT_AFTER, "first", "second"),
        (start() + shift + ALERT_AFTER, "second", "first"),
    ] {
        let server = server(store.path(), fired_at, connection.clone());
        let lines = answer(&server, "query_logs", json!({ "contains": own })).await;
        assert!(lines["matched"].as_u64().unwrap() > 100);
        let lines = answer(&server, "query_logs", json!({ "contains": other })).await;
        assert_eq!(lines["matched"], 0);
    }
}

#[tokio::test]
async fn a_broken_recording_and_a_link_do_not_hide_a_good_one() {
    let store = TempDir::new().unwrap();
    let outside = TempDir::new().unwrap();
    recording::write(outside.path(), "secret", start(), "outside");
    recording::write(store.path(), "good", start(), "inside");
    std::os::unix::fs::symlink(outside.path().join("secret"), store.path().join("link")).unwrap();
    std::fs::create_dir(store.path().join("broken")).unwrap();
    std::fs::write(
        store.path().join("broken/recording.json"),
        "{\"format\": 9}",
    )
    .unwrap();
    std::fs::write(store.path().join("README.md"), "not a recording").unwrap();
    let connection = json!({ "backend": "recording", "store": "shop" });
    let server = server(store.path(), start() + ALERT_AFTER, connection);

    assert_ne!(
        answer(&server, "query_logs", json!({ "contains": "inside" })).await["matched"],
        0
    );
    assert_eq!(
        answer(&server, "query_logs", json!({ "contains": "outside" })).await["matched"],
        0
    );
}

#[tokio::test]
async fn a_file_that_is_a_link_is_not_read_and_the_path_is_not_told() {
    let (store, server) = shop();
    let outside = TempDir::new().unwrap();
    let moved = outside.path().join("logs.ndjson.gz");
    std::fs::rename(store.path().join("one/logs.ndjson.gz"), &moved).unwrap();
    std::os::unix::fs::symlink(&moved, store.path().join("one/logs.ndjson.gz")).unwrap();

    let refused = server.call("query_logs", json!({})).await;
    assert_eq!(refused.failure(), "the recording `one` cannot be read");
}
