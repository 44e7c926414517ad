//! Serving until told to stop.

use std::future::IntoFuture;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{Args, InvalidArgs};
use crate::http::router;

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
    /// The command line does not work out.
    #[error(transparent)]
    Args(#[from] InvalidArgs),
    /// A signal or the listener failed.
    #[error("the server broke")]
    Io(#[from] std::io::Error),
}

/// Serves until SIGTERM, SIGINT or, if asked for, the end of standard input.
pub async fn serve(args: Args) -> Result<(), ServeError> {
    let listener = TcpListener::bind(args.listen)
        .await
        .map_err(|source| ServeError::Listen {
            address: args.listen,
            source,
        })?;
    let address = listener.local_addr()?;
    let queues = args.open(address)?;
    tracing::info!(%address, kept = args.journal.is_some(), "queues listening");
    let (mut term, mut int) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    tokio::select! {
        served = axum::serve(listener, router(queues, args.admin)).into_future() => served?,
        _ = term.recv() => {}
        _ = int.recv() => {}
        () = parent_gone(), if args.exit_with_parent => {}
    }
    Ok(())
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
