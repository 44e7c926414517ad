//! The client against answers given on a real socket: what it sends, repeats, and never repeats.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    extract::Request,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use nightshift_machines::{Client, Decision, MachinesError, WaitFor};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// Serves the n-th request (from 0) with the answer of `answer`, and counts.
async fn provider(
    answer: impl Fn(usize, &Request) -> Response + Clone + Send + Sync + 'static,
) -> (Client, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let app = Router::new().fallback(move |request: Request| {
        let answer = answer(counter.fetch_add(1, SeqCst), &request);
        async move { answer }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (Client::new(&base, "the-token".into()).unwrap(), count)
}

/// Reads one request on each connection and hangs up, `times` times; then answers `{}`.
async fn breaks(times: usize) -> (Client, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await.unwrap();
            if counter.fetch_add(1, SeqCst) >= times {
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
                stream.write_all(answer).await.unwrap();
            }
        }
    });
    (Client::new(&base, "the-token".into()).unwrap(), count)
}

fn refused(status: u16, body: Value) -> Response {
    (StatusCode::from_u16(status).unwrap(), Json(body)).into_response()
}

#[tokio::test]
async fn a_start_is_exactly_one_request_that_shows_the_token() {
    let (client, count) = provider(|_, request| {
        assert_eq!(request.method(), "POST");
        assert_eq!(request.uri(), "/v1/apps/a/machines/m/start");
        assert_eq!(request.headers()["authorization"], "Bearer the-token");
        Json(json!({ "previous_state": "stopped", "migrated": false })).into_response()
    })
    .await;
    let started = client.start("a", "m").await.unwrap();
    assert_eq!(started.previous_state, "stopped");
    assert_eq!(count.load(SeqCst), 1);
}

#[tokio::test]
async fn a_write_is_never_sent_twice_by_the_client() {
    let (client, count) = provider(|_, _| refused(503, json!({ "error": "no capacity" }))).await;
    let error = client.start("a", "m").await.unwrap_err();
    assert!(matches!(error, MachinesError::Ambiguous(_)), "{error}");
    assert_eq!(
        (error.decision(), count.load(SeqCst)),
        (Decision::LookUp, 1)
    );

    let (client, count) = breaks(1).await;
    let error = client.create_app("a", "o", "n").await.unwrap_err();
    assert!(matches!(error, MachinesError::Ambiguous(_)), "{error}");
    assert_eq!(count.load(SeqCst), 1);
}

#[tokio::test]
async fn a_write_that_could_not_even_connect_changed_nothing() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let client = Client::new(&format!("http://{closed}"), "t".into()).unwrap();
    let error = client.create_app("a", "o", "n").await.unwrap_err();
    assert_eq!(error.decision(), Decision::Retry, "{error}");
}

#[tokio::test]
async fn a_read_whose_connection_broke_is_sent_again_but_not_for_ever() {
    let (client, count) = breaks(2).await;
    client.metadata("a", "m").await.unwrap();
    assert_eq!(count.load(SeqCst), 3);

    let (client, count) = breaks(9).await;
    let error = client.metadata("a", "m").await.unwrap_err();
    assert!(matches!(error, MachinesError::Unavailable(_)), "{error}");
    assert_eq!(count.load(SeqCst), 3);
}

#[tokio::test]
async fn a_wait_goes_on_after_the_providers_408_and_ends_at_our_own_deadline() {
    let (client, count) = provider(|nth, request| {
        let query = request.uri().query().unwrap();
        assert!(
            query.contains("state=stopped") && query.contains("timeout=60"),
            "{query}"
        );
        match nth {
            0..3 => refused(408, json!({ "error": "deadline_exceeded: machine failed" })),
            _ => Json(json!({ "ok": true, "state": "stopped", "version": "v1" })).into_response(),
        }
    })
    .await;
    let waited = client
        .wait("a", "m", WaitFor::Stopped, Duration::from_mins(2))
        .await
        .unwrap();
    assert_eq!((waited.version.as_str(), count.load(SeqCst)), ("v1", 4));

    let (client, _) = provider(|_, _| {
        std::thread::sleep(Duration::from_millis(30));
        refused(408, json!({ "error": "deadline_exceeded: machine failed" }))
    })
    .await;
    let began = Instant::now();
    let ended = client
        .wait("a", "m", WaitFor::Stopped, Duration::from_millis(200))
        .await;
    assert!(
        matches!(ended, Err(MachinesError::WaitTimedOut { .. })),
        "{ended:?}"
    );
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn not_found_is_destroyed_and_a_400_ends_the_wait() {
    let (client, _) = provider(|_, _| refused(404, json!({ "error": "not_found" }))).await;
    let patience = Duration::from_secs(5);
    client
        .wait("a", "m", WaitFor::Destroyed, patience)
        .await
        .unwrap();
    let stopped = client.wait("a", "m", WaitFor::Stopped, patience).await;
    assert!(stopped.unwrap_err().is_gone());

    let (client, count) = provider(|_, _| refused(400, json!({ "error": "not heading" }))).await;
    let ended = client.wait("a", "m", WaitFor::Started, patience).await;
    assert!(
        matches!(ended, Err(MachinesError::WaitRefused(_))),
        "{ended:?}"
    );
    assert_eq!(count.load(SeqCst), 1);
}

#[tokio::test]
async fn a_wait_for_several_states_names_each_and_ends_with_the_one_that_came() {
    let (client, _) = provider(|_, request| {
        let query = request.uri().query().unwrap();
        assert!(query.starts_with("state=stopped&state=failed&"), "{query}");
        Json(json!({ "ok": true, "state": "failed", "version": "1" })).into_response()
    })
    .await;
    let either = [WaitFor::Stopped, WaitFor::Failed];
    let patience = Duration::from_secs(5);
    let waited = client.wait_any("a", "m", &either, patience).await;
    assert_eq!(waited.unwrap().state, "failed");
}

#[tokio::test]
async fn an_app_is_asked_where_its_last_write_was_answered() {
    let (client, _) = provider(|nth, request| {
        let cookie = request
            .headers()
            .get("cookie")
            .map(|cookie| cookie.to_str().unwrap());
        let path = request.uri().path();
        let expected =
            (nth > 0 && path.starts_with("/v1/apps/a/")).then_some("fly_flaps_affinity=n7");
        assert_eq!(cookie, expected, "{nth} {path}");
        let cookie = "fly_flaps_affinity=n7; Path=/v1/apps/a";
        match nth {
            0 => ([("set-cookie", cookie)], Json(json!({}))).into_response(),
            _ => Json(json!({})).into_response(),
        }
    })
    .await;
    client.start("a", "m").await.unwrap();
    client.start("a", "m").await.unwrap();
    client.start("b", "m").await.unwrap();
}

#[tokio::test]
async fn the_organisations_pages_are_joined_and_silent_regions_remembered() {
    let machine = |id: &str| {
        json!({ "id": id, "app_name": "a", "name": id, "region": "ams", "state": "stopped",
            "config": { "image": "i", "metadata": {} }, "version": "v",
            "created_at": "2026-07-01T10:00:00Z", "updated_at": "2026-07-01T10:00:00Z" })
    };
    let (client, count) = provider(move |nth, _| {
        let page = match nth {
            0 => json!({ "machines": [machine("m1")], "next_cursor": "c1" }),
            1 => json!({ "machines": [], "error_regions": ["iad"], "next_cursor": "c2" }),
            _ => json!({ "machines": [machine("m2")], "next_cursor": "" }),
        };
        Json(page).into_response()
    })
    .await;
    let all = client.org_machines("o").await.unwrap();
    let ids: Vec<_> = all
        .machines
        .iter()
        .map(|machine| machine.id.as_str())
        .collect();
    assert_eq!(
        (ids, all.error_regions),
        (vec!["m1", "m2"], vec!["iad".to_owned()])
    );
    assert_eq!(count.load(SeqCst), 3);
}

#[test]
fn the_token_is_not_in_what_the_client_shows_of_itself() {
    let client = Client::new("http://127.0.0.1:1", "the-token".into()).unwrap();
    assert!(!format!("{client:?}").contains("the-token"));
    assert!(Client::new("ftp://127.0.0.1", "t".into()).is_err());
    assert!(Client::new("nonsense", "t".into()).is_err());
}

#[tokio::test]
async fn an_organisations_apps_are_read_to_the_last_page() {
    let (client, count) = provider(|nth, request| {
        assert_eq!(request.uri().path(), "/v1/apps");
        let query = request.uri().query().unwrap();
        assert!(query.contains("org_slug=o"), "{query}");
        let app = |name: &str| json!({ "id": name, "name": name });
        // A page may be empty and still not be the last.
        Json(match nth {
            0 => json!({ "apps": [app("a")], "total_apps": 2, "next_cursor": "a" }),
            1 => json!({ "apps": [], "next_cursor": "b" }),
            _ => json!({ "apps": [app("c")], "next_cursor": "" }),
        })
        .into_response()
    })
    .await;
    let apps = client.org_apps("o").await.unwrap();
    let names: Vec<_> = apps.iter().map(|app| app.name.as_str()).collect();
    assert_eq!(names, ["a", "c"]);
    assert_eq!(count.load(SeqCst), 3);
}
