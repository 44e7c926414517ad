//! Serving: the public API with its spans, metrics and log, and the operators' port beside it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{MatchedPath, Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use http::StatusCode;
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpSocket},
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::{
    settings::Settings,
    telemetry::{Telemetry, spans::OpenSpan, trace::Trace},
};

/// Serves `api` until SIGTERM, then finishes what is under way.
pub async fn serve(
    settings: &Settings,
    telemetry: Arc<Telemetry>,
    api: Router,
    admin: Router,
) -> anyhow::Result<()> {
    let observer = Observer {
        telemetry: Arc::clone(&telemetry),
        sample: settings.sample,
        edge: settings.edge,
    };
    let api = api.layer(from_fn_with_state(observer, observe));
    let scraped = Arc::clone(&telemetry);
    let admin = admin.route("/health", get(|| async { "ok" })).route(
        "/metrics",
        get(move || async move {
            process_metrics(&scraped);
            scraped.metrics.render()
        }),
    );

    let (stop, stopped) = watch::channel(false);
    let mut asked = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        asked.recv().await;
        let _nobody_waits = stop.send(true);
    });
    let wait = |mut stopped: watch::Receiver<bool>| async move {
        let _sender_gone = stopped.wait_for(|stop| *stop).await;
    };
    let public = axum::serve(listen(settings.port)?, api)
        .with_graceful_shutdown(wait(stopped.clone()))
        .into_future();
    let private = axum::serve(listen(settings.admin_port)?, admin)
        .with_graceful_shutdown(wait(stopped.clone()))
        .into_future();
    let (name, version, commit) = (&telemetry.service, &settings.version, &settings.commit);
    telemetry.journal.note(
        &format!("{name} {version} listening on port {}", settings.port),
        json!({"version": version, "commit": commit}),
    );
    let served = async { tokio::try_join!(public, private) };
    tokio::select! {
        outcome = served => { outcome?; }
        () = async { wait(stopped).await; tokio::time::sleep(Duration::from_secs(4)).await } => {}
    }
    telemetry
        .journal
        .note(&format!("{name} {version} stopped"), json!({}));
    Ok(())
}

/// Two releases of a service share its port while one takes over from the other.
fn listen(port: u16) -> anyhow::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], port)))?;
    Ok(socket.listen(1024)?)
}

#[derive(Clone)]
struct Observer {
    telemetry: Arc<Telemetry>,
    sample: f64,
    edge: bool,
}

async fn observe(State(observer): State<Observer>, mut request: Request, next: Next) -> Response {
    let telemetry = observer.telemetry;
    let method = request.method().to_string();
    let path = request.uri().path().to_owned();
    let route = request.extensions().get::<MatchedPath>().map_or_else(
        || "unmatched".to_owned(),
        |matched| matched.as_str().to_owned(),
    );
    let trace = request
        .headers()
        .get("traceparent")
        .filter(|_| !observer.edge)
        .and_then(|header| Trace::continued(header.to_str().ok()?))
        .unwrap_or_else(|| Trace::root(observer.sample));
    let span = OpenSpan::server(trace, &format!("{method} {route}"));
    request.extensions_mut().insert(trace);
    telemetry.metrics.add("http_requests_in_flight", &[], 1.0);

    let response = next.run(request).await;

    let code = response.status();
    let status = code.as_u16().to_string();
    let seconds = span.seconds();
    let route_label = [("route", route.as_str())];
    telemetry.metrics.add("http_requests_in_flight", &[], -1.0);
    telemetry
        .metrics
        .observe("http_request_duration_seconds", &route_label, seconds);
    let labels = [("route", route.as_str()), ("status", status.as_str())];
    telemetry.metrics.count("http_requests_total", &labels, 1.0);
    let attributes = json!({"http.route": route, "http.status_code": code.as_u16()});
    telemetry
        .spans
        .end(&span, !code.is_server_error(), attributes);
    let message = format!(
        "{method} {path} answered {status} in {:.0} ms",
        seconds * 1000.0
    );
    let fields = json!({"route": route, "status": code.as_u16()});
    if code.is_server_error() {
        telemetry.journal.error(&trace, &message, fields);
    } else {
        telemetry.journal.info(&trace, &message, fields);
    }
    response
}

/// An answer that says what is wrong.
#[must_use]
pub fn problem(status: StatusCode, what: &str) -> Response {
    (status, Json(json!({"problem": what}))).into_response()
}

/// CPU seconds, memory and open files as the kernel counts them.
fn process_metrics(telemetry: &Telemetry) {
    let metrics = &telemetry.metrics;
    if let Ok(stat) = std::fs::read_to_string("/proc/self/stat") {
        // Fields after the name in brackets: utime and stime are the 12th and 13th, in ticks of 10 ms.
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .map_or(Vec::new(), |(_, rest)| rest.split_whitespace().collect());
        let ticks = |at: usize| {
            fields
                .get(at)
                .and_then(|f| f.parse::<f64>().ok())
                .unwrap_or(0.0)
        };
        metrics.set(
            "process_cpu_seconds_total",
            &[],
            (ticks(11) + ticks(12)) / 100.0,
        );
        metrics.set("process_threads", &[], ticks(17));
        metrics.set("process_resident_memory_bytes", &[], ticks(21) * 4096.0);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        let open = u32::try_from(open.count()).unwrap_or(u32::MAX);
        metrics.set("process_open_fds", &[], f64::from(open));
    }
}
