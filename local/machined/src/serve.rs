//! Serving until told to stop.

use std::{future::IntoFuture, time::Duration};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use crate::{
    Config, api,
    host::{Host, OpenError},
};

/// How long sandboxes may take to stop when the server does.
const PATIENCE: Duration = Duration::from_secs(2);

/// The server did not start, or broke.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The state directory cannot be used.
    #[error("cannot open the state directory: {0}")]
    Open(String),
    /// A signal or the listener failed.
    #[error("the server broke")]
    Io(#[from] std::io::Error),
}

impl From<OpenError> for ServeError {
    fn from(error: OpenError) -> Self {
        let source = std::error::Error::source(&error).map(ToString::to_string);
        Self::Open(format!("{error} {}", source.unwrap_or_default()))
    }
}

/// Serves until SIGTERM, SIGINT or, if asked for, the end of standard input; then stops every
/// sandbox.
pub async fn serve(config: Config, exit_with_parent: bool) -> Result<(), ServeError> {
    let address = config.listen;
    // Taken first: two servers must not share a state directory, and they share the address.
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| ServeError::Listen { address, source })?;
    allow_descriptors();
    let host = Host::open(config)?;
    tracing::info!(%address, uids = host.uids.name(), "machines API listening");
    let (mut term, mut int) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    tokio::select! {
        served = axum::serve(listener, api::router(&host)).into_future() => served?,
        _ = term.recv() => {}
        _ = int.recv() => {}
        () = parent_gone(), if exit_with_parent => {}
    }
    host.stop_all(PATIENCE).await;
    host.cgroups.close();
    Ok(())
}

/// Takes as many descriptors as we may: each sandbox needs about ten. Sandboxes get a bound of their own.
fn allow_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, all) {
        tracing::warn!(%error, ?limit, "the number of descriptors stays as it is");
    }
}

/// Reads standard input on a thread of its own, which the process's end does not wait for.
async fn parent_gone() {
    let (gone, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = gone.send(());
    });
    let _ = told.await;
}
