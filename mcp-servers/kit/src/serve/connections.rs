//! Connections of a listener: so many at once, and none that never gets to the point.

use std::{
    io,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, body::Body};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::Instant,
};
use tower::ServiceExt;

use super::End;

/// Connections at once; further ones wait to be accepted.
pub const CONNECTIONS: usize = 4_096;
/// How long the head of a request may take from its first byte on.
pub const HEAD_TIME: Duration = Duration::from_secs(10);
/// How long a connection may rest between requests. Longer than clients keep theirs, so that they close
/// first and no request meets a closing connection.
const REST_TIME: Duration = Duration::from_secs(150);
/// How often the heads under way are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Headers of a request, at most, and the bytes that they may take.
const HEADERS: usize = 64;
const HEAD_BYTES: usize = 32 * 1024;

/// Accepts connections until the end comes, then returns those that are still open.
pub(super) async fn accept(listener: TcpListener, routes: Router, end: End) -> JoinSet<()> {
    accept_at_most(CONNECTIONS, listener, routes, end).await
}

async fn accept_at_most(
    most: usize,
    listener: TcpListener,
    routes: Router,
    end: End,
) -> JoinSet<()> {
    let room = Arc::new(Semaphore::new(most));
    let mut open = JoinSet::new();
    let mut ended = pin!(end.clone().came());
    loop {
        // Control: `connection-count`.
        let next = async {
            let permit = Arc::clone(&room).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            next = next => next,
            _ = open.join_next(), if !open.is_empty() => continue,
            () = &mut ended => return open,
        };
        match accepted {
            Ok((connection, _)) => {
                let (routes, end) = (routes.clone(), end.clone());
                open.spawn(async move {
                    serve(connection, routes, end).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "Cannot accept a connection");
                // Without file descriptors the next try fails as well; without a pause it does so at once.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(connection: TcpStream, routes: Router, end: End) {
    if let Err(error) = connection.set_nodelay(true) {
        tracing::debug!(%error, "Cannot switch off delays of small packets");
    }
    let head = Arc::new(Head::default());
    let watched = Watched {
        connection,
        head: Arc::clone(&head),
    };
    let seen = Arc::clone(&head);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let answering = seen.complete();
        let routes = routes.clone();
        async move {
            let answer = routes.oneshot(request.map(Body::new)).await;
            drop(answering);
            answer
        }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(REST_TIME)
        .max_headers(HEADERS)
        .max_buf_size(HEAD_BYTES);
    let mut served = pin!(builder.serve_connection(TokioIo::new(watched), service));
    let ended = tokio::select! {
        result = served.as_mut() => Some(result),
        () = head.overdue() => {
            tracing::warn!("Closed a connection whose request did not come to an end of its head");
            return;
        }
        () = end.came() => None,
    };
    let result = if let Some(result) = ended {
        result
    } else {
        served.as_mut().graceful_shutdown();
        served.await
    };
    if let Err(error) = result {
        tracing::debug!(%error, "A connection ended early");
    }
}

/// Since when a head has been under way.
#[derive(Debug, Default)]
struct Head {
    since: Mutex<Option<Instant>>,
    answering: AtomicBool,
}

/// While it lives, bytes that arrive belong to a request that is being answered.
struct Answering(Arc<Head>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.answering.store(false, Ordering::Release);
    }
}

impl Head {
    fn began(&self) {
        if !self.answering.load(Ordering::Acquire) {
            let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
            since.get_or_insert_with(Instant::now);
        }
    }

    fn complete(self: &Arc<Self>) -> Answering {
        self.answering.store(true, Ordering::Release);
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Answering(Arc::clone(self))
    }

    /// Control: `head-time`. Ends when a head has taken too long.
    async fn overdue(&self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let since = *self.since.lock().unwrap_or_else(PoisonError::into_inner);
            if since.is_some_and(|since| since.elapsed() >= HEAD_TIME) {
                return;
            }
        }
    }
}

/// A connection that notes when the first byte of a head arrives.
struct Watched {
    connection: TcpStream,
    head: Arc<Head>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.connection).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.head.began();
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        sync::watch,
    };

    use super::*;

    const ASK: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";

    struct Served {
        address: std::net::SocketAddr,
        _tell: watch::Sender<bool>,
    }

    impl Served {
        async fn start(most: usize) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let (tell, told) = watch::channel(false);
            let routes = Router::new().route("/", get(async || "hello"));
            tokio::spawn(accept_at_most(most, listener, routes, End::when(told)));
            Self {
                address,
                _tell: tell,
            }
        }

        async fn connect(&self) -> TcpStream {
            TcpStream::connect(self.address).await.unwrap()
        }
    }

    async fn answer(connection: &mut TcpStream) -> String {
        let mut text = String::new();
        while !text.ends_with("hello") {
            let mut piece = [0; 1024];
            let read = connection.read(&mut piece).await.unwrap();
            assert_ne!(read, 0, "closed after: {text}");
            text.push_str(std::str::from_utf8(&piece[..read]).unwrap());
        }
        text
    }

    /// `head-time`.
    #[tokio::test(start_paused = true)]
    async fn a_head_that_drips_is_cut_off() {
        let served = Served::start(8).await;
        let mut connection = served.connect().await;
        let began = Instant::now();
        let closed = loop {
            if connection
                .write_all(b"GET / HTTP/1.1\r\nx: ")
                .await
                .is_err()
            {
                break began.elapsed();
            }
            let mut byte = [0];
            tokio::select! {
                read = connection.read(&mut byte) => {
                    assert!(read.is_err() || read.is_ok_and(|read| read == 0), "an answer to half a head");
                    break began.elapsed();
                }
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
            assert!(began.elapsed() < 3 * HEAD_TIME, "still open");
        };
        assert!(closed >= HEAD_TIME, "{closed:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_may_rest_between_two_requests_for_longer_than_a_head_may_take() {
        let served = Served::start(8).await;
        let mut connection = served.connect().await;
        for _ in 0..3 {
            connection.write_all(ASK).await.unwrap();
            assert!(answer(&mut connection).await.starts_with("HTTP/1.1 200"));
            tokio::time::sleep(6 * HEAD_TIME).await;
        }
    }

    /// `connection-count`.
    #[tokio::test]
    async fn beyond_its_number_a_connection_waits_until_another_one_ends() {
        let served = Served::start(1).await;
        let mut first = served.connect().await;
        first.write_all(ASK).await.unwrap();
        answer(&mut first).await;

        let mut second = served.connect().await;
        second.write_all(ASK).await.unwrap();
        let early = tokio::time::timeout(Duration::from_millis(200), answer(&mut second)).await;
        assert!(early.is_err(), "two were served at once");
        drop(first);
        answer(&mut second).await;
    }
}
