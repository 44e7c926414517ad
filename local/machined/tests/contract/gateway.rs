//! The only way out of a sandbox.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, Request, State},
    response::Response,
    routing::{get, post},
};
use http_body_util::StreamBody;
use hyper::{HeaderMap, body::Frame};
use tokio::{
    net::TcpListener,
    sync::{Notify, mpsc},
};

use crate::world::World;

/// A server behind a name, and what it was asked.
#[derive(Clone, Default)]
pub(crate) struct Upstream {
    pub(crate) seen: Arc<Mutex<Vec<(String, HeaderMap)>>>,
    go_on: Arc<Notify>,
}

pub(crate) async fn upstream() -> (Upstream, String) {
    let upstream = Upstream::default();
    let app = Router::new()
        .route("/base/stream", get(stream))
        .route(
            "/base/echo",
            post(|body: Bytes| async move { body.len().to_string() }),
        )
        .fallback(|| async { ([("connection", "x-hop"), ("x-hop", "no")], "elsewhere") })
        .layer(DefaultBodyLimit::disable())
        .layer(axum::middleware::from_fn_with_state(upstream.clone(), note))
        .with_state(upstream.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/base", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (upstream, base)
}

async fn note(
    State(upstream): State<Upstream>,
    request: Request,
    next: axum::middleware::Next,
) -> Response {
    let entry = (request.uri().to_string(), request.headers().clone());
    upstream.seen.lock().unwrap().push(entry);
    next.run(request).await
}

/// One event at once, the other when told.
async fn stream(State(upstream): State<Upstream>) -> Response {
    let (sender, mut events) = mpsc::channel(2);
    tokio::spawn(async move {
        sender.send("data: first\n\n").await.unwrap();
        upstream.go_on.notified().await;
        sender.send("data: second\n\n").await.unwrap();
    });
    let frames = async_stream(move |cx| {
        events
            .poll_recv(cx)
            .map(|event| event.map(|event| Ok::<_, Infallible>(Frame::data(Bytes::from(event)))))
    });
    Response::new(Body::new(StreamBody::new(frames)))
}

fn async_stream<T>(
    poll: impl FnMut(&mut std::task::Context<'_>) -> std::task::Poll<Option<T>> + Unpin,
) -> impl futures_util::Stream<Item = T> {
    let mut poll = poll;
    futures_util::stream::poll_fn(move |cx| poll(cx))
}

fn ask(method: &str, path: &str, host: &str, rest: &str) -> String {
    format!("perl /opt/http.pl /run/gateway.sock {method} {path} {host} {rest}; ")
}

pub(crate) async fn forwards_what_is_allowed_and_refuses_the_rest(world: &World, seen: &Upstream) {
    let other = "setpriv --reuid 1001 --regid 1001 --clear-groups true && \
                 exec setpriv --reuid 1001 --regid 1001 --clear-groups";
    let script = ask("POST", "'/echo?q=1'", "tools:80", "hello")
        + &ask("GET", "/", "example.com", "")
        + &ask("GET", "/", "127.0.0.1", "")
        + &ask("GET", "/", "down", "")
        + &ask("CONNECT", "tools:80", "tools", "")
        + &format!("{other} {}", ask("POST", "/echo", "tools", "agent"));
    let printed = world.run("gateway", &script).await;
    let mut answers = printed.split("END\n");
    let mut next = |status: &str, part: &str| {
        let answer = answers.next().unwrap();
        assert!(
            answer.starts_with(status) && answer.contains(part),
            "{answer}\nin {printed}"
        );
    };
    next("HTTP/1.1 200", "\r\n\r\n5\n");
    next("HTTP/1.1 403", "egress_refused");
    next("HTTP/1.1 403", "`127.0.0.1` cannot be reached from here");
    next("HTTP/1.1 502", "upstream_unreachable");
    next("HTTP/1.1 405", "connect_refused");
    let seen = seen.seen.lock().unwrap().clone();
    let (path, headers) = &seen[0];
    assert_eq!(
        (path.as_str(), headers["host"].to_str().unwrap()),
        ("/base/echo?q=1", "tools")
    );
    let added: Vec<_> = headers
        .keys()
        .map(hyper::header::HeaderName::as_str)
        .collect();
    assert_eq!(added.len(), 2, "nothing is added: {added:?}");
    if world
        .client
        .metadata("gateway", &only_machine(world).await)
        .await
        .unwrap()["uid_map"]
        == "range"
    {
        next("HTTP/1.1 200", "\r\n\r\n5\n");
        assert_eq!(seen.len(), 2, "{printed}");
    }
}

async fn only_machine(world: &World) -> String {
    world.client.machines("gateway").await.unwrap()[0]
        .id
        .clone()
}

#[tokio::test]
async fn an_allowed_name_is_reached_and_everything_else_is_refused() {
    let (seen, base) = upstream().await;
    let tools = format!("--egress=tools={base}");
    let world = World::with(&[&tools, "--egress=down=http://127.0.0.1:1"]).await;
    forwards_what_is_allowed_and_refuses_the_rest(&world, &seen).await;
}

#[tokio::test]
async fn an_answer_streams_through_as_it_is_made() {
    let (upstream, base) = upstream().await;
    let world = World::with(&[&format!("--egress=tools={base}")]).await;
    let made = world.make("a", &ask("GET", "/stream", "tools", "")).await;
    world.client.start("a", &made.machine.id).await.unwrap();
    let printed = world.printed(&made, "data: first").await;
    assert!(!printed.contains("second"), "{printed}");
    upstream.go_on.notify_one();
    world.printed(&made, "data: second").await;
}

#[tokio::test]
async fn headers_of_one_hop_stay_on_it_and_bodies_end_at_16_mib() {
    let (upstream, base) = upstream().await;
    let world = World::with(&[&format!("--egress=tools={base}")]).await;
    let header = "$'Connection: close, x-secret\\r\\nx-secret: 1\\r\\nTE: trailers\\r\\nx-kept: 1'";
    let script = format!(
        "/bin/bash -c \"{}\"; {}{}",
        ask("GET", "/other", "tools", &format!("'' {header}")).trim_end_matches("; "),
        ask("POST", "/echo", "tools", "16777216x"),
        ask("POST", "/echo", "tools", "16777217x"),
    );
    let printed = world.run("a", &script).await;
    let answers: Vec<&str> = printed.split("END\n").collect();
    assert!(
        answers[0].contains("elsewhere") && !answers[0].contains("x-hop"),
        "{printed}"
    );
    assert!(answers[1].contains("\r\n\r\n16777216"), "{printed}");
    assert!(answers[2].starts_with("HTTP/1.1 413"), "{printed}");
    let seen = upstream.seen.lock().unwrap();
    let headers = &seen[0].1;
    assert!(headers.contains_key("x-kept"), "{headers:?}");
    for gone in ["x-secret", "te", "connection"] {
        assert!(!headers.contains_key(gone), "{gone} in {headers:?}");
    }
    assert_eq!(seen.len(), 2, "what is too large never leaves");
}
