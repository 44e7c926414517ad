//! The server as a sandbox meets it: real gate, real transport, a store of recordings on disk.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

use std::{collections::BTreeMap, fs::File, io::Write, path::Path};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use flate2::{Compression, write::GzEncoder};
use nightshift_codebase::{CodebaseServer, Connections};
use nightshift_mcp_kit::testing::TestServer;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Two commits that share their first seven digits, and one that does not.
const LOOP: &str = "abcdef01230000000000000000000000000000aa";
const TEXT: &str = "abcdef04560000000000000000000000000000bb";
const BASE: &str = "0123456789000000000000000000000000000000";

fn fired_at() -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600, 0).unwrap()
}

fn ago(time: TimeDelta) -> String {
    (fired_at() - time).to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Writes a recording whose alert fires so long after the usual time; `mark` is in its messages.
fn write(store: &Path, name: &str, later: TimeDelta, mark: &str) {
    let directory = store.join(name);
    std::fs::create_dir_all(&directory).unwrap();
    let at = |before: TimeDelta| ago(before - later);
    let plain = |file: &str, value: Value| {
        std::fs::write(directory.join(file), value.to_string()).unwrap();
    };
    let packed = |file: &str, value: Value| {
        let file = File::create(directory.join(file)).unwrap();
        let mut packed = GzEncoder::new(file, Compression::fast());
        packed.write_all(value.to_string().as_bytes()).unwrap();
        packed.finish().unwrap();
    };
    let minutes = TimeDelta::minutes;
    plain(
        "recording.json",
        json!({
            "format": 1, "name": name, "title": "t", "system": "shop",
            "starts_at": at(minutes(30)), "alert_at": at(minutes(0)), "ends_at": at(minutes(-5)),
        }),
    );
    plain(
        "topology.json",
        json!({ "services": [{ "name": "cart-db", "kind": "database" }], "edges": [] }),
    );
    let commit = |hash: &str, before: TimeDelta, message: &str, path: &str, patch: &str| {
        json!({
            "commit": hash, "author": "ada", "at": at(before), "message": format!("{message} {mark}"),
            "files": [{ "path": path, "patch": patch }],
        })
    };
    packed(
        "commits.json.gz",
        json!([
            commit(BASE, minutes(60 * 48), "Begin", "README.md", "+shop\n"),
            commit(
                LOOP,
                minutes(20),
                "Load items singly",
                "cart/src/list.rs",
                "@@ -1 +1,3 @@\n+for id in ids {\n+    db.query(id);\n"
            ),
            commit(
                TEXT,
                minutes(10),
                "Word the greeting",
                "web/src/greet.rs",
                "+Good evening\n"
            ),
        ]),
    );
    packed(
        "files.json.gz",
        json!({ "commit": TEXT, "files": {
            "cart/src/list.rs": "fn list() {\n    for id in ids {\n        db.query(id);\n    }\n}\n",
            "web/src/greet.rs": "Good evening\n",
        } }),
    );
    plain(
        "deploys.json",
        json!([
            { "at": at(minutes(60 * 48)), "service": "cart", "commit": BASE, "version": "cart-1" },
            { "at": at(minutes(15)), "service": "cart", "commit": LOOP, "previous": BASE, "version": "cart-2" },
            { "at": at(minutes(2)), "service": "web", "commit": TEXT, "version": "web-2" },
        ]),
    );
    plain(
        "flags.json",
        json!([
            { "at": at(minutes(8)), "flag": "new-prices", "service": "web", "from": false, "to": true, "by": "ada" },
            { "at": at(minutes(4)), "flag": "banner", "from": "a", "to": "b", "by": "grace" },
        ]),
    );
}

fn server(store: &Path, fired_at: DateTime<Utc>, connection: Value) -> TestServer {
    let directories = [("shop".to_owned(), store.display().to_string())];
    let server = CodebaseServer::new(Connections::index(&directories).unwrap()).unwrap();
    let connections = BTreeMap::from([("codebase".to_owned(), connection)]);
    TestServer::new(server, fired_at, connections).0
}

fn shop() -> (TempDir, TestServer) {
    let store = TempDir::new().unwrap();
    write(store.path(), "one", TimeDelta::zero(), "");
    let connection = json!({ "backend": "recording", "store": "shop" });
    let server = server(store.path(), fired_at(), connection);
    (store, server)
}

async fn answer(server: &TestServer, tool: &str, arguments: Value) -> Value {
    let answer = server.call(tool, arguments).await;
    answer.structured()["answer"].clone()
}

fn each<'a>(rows: &'a Value, field: &str) -> Vec<&'a str> {
    rows.as_array()
        .unwrap()
        .iter()
        .map(|row| row[field].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn every_tool_refuses_a_stranger() {
    let (_store, server) = shop();
    server.refuses_strangers().await;
}

#[tokio::test]
async fn changes_of_the_last_day_are_listed_newest_first() {
    let (_store, server) = shop();
    let deploys = answer(&server, "list_deploys", json!({})).await;
    assert_eq!(each(&deploys["deploys"], "version"), ["web-2", "cart-2"]);
    assert_eq!(deploys["deploys"][1]["previous"], BASE);
    let flags = answer(&server, "list_flags", json!({})).await;
    assert_eq!(each(&flags["changes"], "flag"), ["banner", "new-prices"]);
    assert_eq!(each(&flags["changes"], "to"), ["b", "true"]);
    let commits = answer(&server, "list_commits", json!({})).await;
    assert_eq!(each(&commits["commits"], "commit"), [TEXT, LOOP]);
    assert_eq!(commits["commits"][1]["paths"], json!(["cart/src/list.rs"]));
}

#[tokio::test]
async fn changes_are_narrowed_by_service_path_and_time() {
    let (_store, server) = shop();
    let deploys = answer(&server, "list_deploys", json!({ "service": "cart" })).await;
    assert_eq!(each(&deploys["deploys"], "version"), ["cart-2"]);
    // A flag for no service in particular is for every one.
    let flags = answer(&server, "list_flags", json!({ "service": "cart" })).await;
    assert_eq!(each(&flags["changes"], "flag"), ["banner"]);
    let commits = answer(&server, "list_commits", json!({ "path": "list.rs" })).await;
    assert_eq!(each(&commits["commits"], "commit"), [LOOP]);
    let all = json!({ "from": ago(TimeDelta::days(3)) });
    assert_eq!(
        answer(&server, "list_commits", all).await["commits"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
    let early = json!({ "to": ago(TimeDelta::minutes(12)) });
    assert_eq!(
        each(
            &answer(&server, "list_deploys", early).await["deploys"],
            "version"
        ),
        ["cart-2"]
    );
    let none = answer(&server, "list_deploys", json!({ "service": "cart-db" })).await;
    assert_eq!(none["deploys"], json!([]));
    let unknown = server
        .call("list_deploys", json!({ "service": "carts" }))
        .await;
    assert!(
        unknown
            .failure()
            .contains("no service `carts` here; there are cart"),
        "{}",
        unknown.failure()
    );
    let backwards = json!({ "from": ago(TimeDelta::zero()), "to": ago(TimeDelta::hours(1)) });
    assert!(
        server
            .call("list_flags", backwards)
            .await
            .failure()
            .contains("before it begins")
    );
}

#[tokio::test]
async fn a_commit_is_read_by_enough_of_its_hash() {
    let (_store, server) = shop();
    for hash in [LOOP, "abcdef0123", "ABCDEF0123"] {
        let commit = answer(&server, "read_commit", json!({ "commit": hash })).await;
        assert_eq!(commit["commit"], LOOP);
        assert!(
            commit["files"][0]["patch"]
                .as_str()
                .unwrap()
                .contains("db.query(id)")
        );
    }
    for (hash, part) in [
        ("abcdef0", "several commits begin with"),
        ("abcdef", "at least its first seven"),
        ("main", "is no commit hash"),
        ("../../etc/passwd", "is no commit hash"),
        ("ffffffff", "no commit begins with `ffffffff`"),
    ] {
        let refused = server.call("read_commit", json!({ "commit": hash })).await;
        assert!(refused.failure().contains(part), "{}", refused.failure());
    }
}

#[tokio::test]
async fn code_is_searched_and_read_from_the_recorded_tree_only() {
    let (_store, server) = shop();
    let found = answer(&server, "search_code", json!({ "pattern": r"db\.query" })).await;
    assert_eq!(found["matches"][0]["path"], "cart/src/list.rs");
    assert_eq!(found["matches"][0]["line"], 3);
    let file = answer(
        &server,
        "read_file",
        json!({ "path": "cart/src/list.rs", "from_line": 2, "lines": 1 }),
    )
    .await;
    assert_eq!(file["text"], "    for id in ids {\n");
    assert_eq!(
        (file["commit"].as_str(), file["total_lines"].as_u64()),
        (Some(TEXT), Some(5))
    );
    for path in [
        "/etc/passwd",
        "../one/recording.json",
        "cart/../cart/src/list.rs",
        "recording.json",
    ] {
        let refused = server.call("read_file", json!({ "path": path })).await;
        assert!(
            refused.failure().starts_with("there is no file"),
            "{}",
            refused.failure()
        );
    }
    let refused = server.call("search_code", json!({ "pattern": "(" })).await;
    assert!(
        refused.failure().starts_with("the pattern cannot be used"),
        "{}",
        refused.failure()
    );
}

#[tokio::test]
async fn of_several_recordings_the_alerts_own_tells_the_changes() {
    let store = TempDir::new().unwrap();
    // Two runs of the same minutes, and one of an hour before.
    write(store.path(), "one", TimeDelta::zero(), "first");
    write(store.path(), "two", TimeDelta::seconds(90), "second");
    write(store.path(), "old", TimeDelta::hours(-1), "old");
    let connection = json!({ "backend": "recording", "store": "shop" });
    for (fired_at, own) in [
        (fired_at(), "first"),
        (fired_at() + TimeDelta::seconds(90), "second"),
        (fired_at() - TimeDelta::hours(1), "old"),
    ] {
        let server = server(store.path(), fired_at, connection.clone());
        let commits = answer(&server, "list_commits", json!({})).await;
        let messages = each(&commits["commits"], "message");
        assert_eq!(messages.len(), 2);
        assert!(
            messages.iter().all(|message| message.ends_with(own)),
            "{messages:?}"
        );
        let commit = answer(&server, "read_commit", json!({ "commit": LOOP })).await;
        assert!(commit["message"].as_str().unwrap().ends_with(own));
    }
}

#[tokio::test]
async fn a_connection_that_leads_nowhere_is_said_plainly() {
    let store = TempDir::new().unwrap();
    for (connection, part) in [
        (
            json!({ "backend": "recording", "store": "other" }),
            "store `other` is not available",
        ),
        (json!({ "backend": "github" }), "cannot read"),
        (
            json!({ "backend": "recording", "store": "shop" }),
            "holds no code and no changes",
        ),
    ] {
        let server = server(store.path(), fired_at(), connection);
        let refused = server.call("list_deploys", json!({})).await;
        assert!(refused.failure().contains(part), "{}", refused.failure());
    }
}

#[tokio::test]
async fn a_recording_that_is_not_whole_is_an_error_without_paths() {
    let (store, server) = shop();
    std::fs::write(store.path().join("one/deploys.json"), "[{}]").unwrap();
    let refused = server.call("list_deploys", json!({})).await;
    assert_eq!(refused.failure(), "the recording `one` cannot be read");
}
