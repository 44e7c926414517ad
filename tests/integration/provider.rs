//! What the engine learns of a machine's end through the Machines API.

use std::time::Duration;

use axum::{Json, Router, extract::Path, routing::get};
use nightshift_engine::provider::{Fly, Provider};
use nightshift_machines::{Client, Guest};
use serde_json::json;

/// A provider whose one machine is in `state`, and has once ended with exit code 0.
async fn provider(state: &'static str) -> Fly {
    let wait = get(move |uri: axum::http::Uri| async move {
        let query = uri.query().unwrap_or_default();
        assert!(query.contains(&format!("state={state}")), "{query}");
        Json(json!({ "ok": true, "state": state, "version": "1", "event_id": "2" }))
    });
    let machine = get(move |Path((_, id)): Path<(String, String)>| async move {
        let exit = json!({ "exit_event": { "exit_code": 0 } });
        let ended = json!({ "id": "1", "type": "exit", "status": "stopped", "source": "flyd",
                            "timestamp": 1, "request": exit });
        Json(
            json!({ "id": id, "name": "sandbox", "state": state, "region": "here",
                     "instance_id": "1", "events": [ended],
                     "created_at": "2026-07-01T10:00:00Z",
                     "updated_at": "2026-07-01T10:00:00Z" }),
        )
    });
    let app = Router::new()
        .route("/v1/apps/{app}/machines/{id}/wait", wait)
        .route("/v1/apps/{app}/machines/{id}", machine);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let guest = Guest {
        cpu_kind: "shared".to_owned(),
        cpus: 1,
        memory_mb: 512,
    };
    let client = Client::new(&base, "t".into()).unwrap();
    Fly::new(client, "acme".to_owned(), vec![], guest)
}

#[tokio::test]
async fn a_machine_that_could_not_boot_is_at_rest_and_has_no_exit_of_this_start() {
    let patience = Duration::from_secs(5);
    let stopped = provider("stopped").await;
    let exit = stopped.wait_stopped("a", "m", patience).await;
    assert_eq!(exit.unwrap(), Some(0));
    let failed = provider("failed").await;
    let exit = failed.wait_stopped("a", "m", patience).await;
    assert_eq!(exit.unwrap(), None);
}
