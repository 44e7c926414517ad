//! Whoever wants to be told what was found: takes reports, and refuses some of them at first.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Result;
use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use tokio::{net::TcpListener, task::JoinHandle};

/// One of so many deliveries is refused when it comes first.
const REFUSED: usize = 5;

/// A receiver of reports on a port of its own; it ends with this.
#[derive(Debug)]
pub(crate) struct Receiver {
    /// Where it takes reports.
    pub(crate) url: String,
    attempts: Attempts,
    server: JoinHandle<()>,
}

/// How often each delivery came, by its id.
type Attempts = Arc<Mutex<BTreeMap<String, usize>>>;

impl Receiver {
    /// Begins to listen.
    pub(crate) async fn open() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}/reports", listener.local_addr()?);
        let attempts = Attempts::default();
        let router = Router::new()
            .route("/reports", post(take))
            .with_state(Arc::clone(&attempts));
        let server = tokio::spawn(async move {
            // It ends with the run; until then nothing ends it.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            url,
            attempts,
            server,
        })
    }

    /// The deliveries that were taken.
    pub(crate) fn taken(&self) -> Vec<String> {
        let attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        attempts.keys().cloned().collect()
    }

    /// How often something came that had come before.
    pub(crate) fn repeats(&self) -> usize {
        let attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        attempts.values().map(|times| times - 1).sum()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn take(State(attempts): State<Attempts>, headers: HeaderMap) -> StatusCode {
    let id = headers.get("x-delivery-id").and_then(|id| id.to_str().ok());
    let Some(id) = id else {
        return StatusCode::BAD_REQUEST;
    };
    let mut attempts = attempts.lock().unwrap_or_else(PoisonError::into_inner);
    let before = attempts.len();
    let times = attempts.entry(id.to_owned()).or_default();
    *times += 1;
    if *times == 1 && before % REFUSED == 0 {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    StatusCode::NO_CONTENT
}
