//! The client against real listeners, and a resolver that says what an attacker's would.

#![expect(clippy::unwrap_used, reason = "a test says what broke by ending")]

use std::{
    net::{IpAddr, Ipv4Addr},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, StatusCode},
    response::Redirect,
    routing::get,
};
use futures_util::stream;
use nightshift_http::{
    Client, Credential, Elsewhere, HttpError, Limits, Lookup, LookupFailed, Reach,
};
use reqwest::Url;
use secrecy::SecretString;
use tokio::net::TcpListener;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Connecting there reaches this machine, and no permission covers it.
const THIS_HOST: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Answers with the first list once, then with the second, and counts.
#[derive(Clone)]
struct Flipping {
    first: Vec<IpAddr>,
    then: Vec<IpAddr>,
    asked: Arc<AtomicUsize>,
}

impl Flipping {
    fn new(first: &[IpAddr], then: &[IpAddr]) -> Self {
        Self {
            first: first.to_vec(),
            then: then.to_vec(),
            asked: Arc::default(),
        }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Lookup for Flipping {
    fn addresses<'a>(
        &'a self,
        _name: &'a str,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, LookupFailed>> + Send + 'a>>
    {
        let before = self.asked.fetch_add(1, Ordering::SeqCst);
        let answer = if before == 0 { &self.first } else { &self.then };
        Box::pin(async move { Ok(answer.clone()) })
    }
}

/// A server that counts its requests and closes after each.
struct Server {
    port: u16,
    requests: Arc<AtomicUsize>,
}

impl Server {
    async fn start() -> Self {
        let requests = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&requests);
        let hello = get(async move |headers: HeaderMap| {
            count.fetch_add(1, Ordering::SeqCst);
            let shown = headers.contains_key("authorization");
            ([("connection", "close")], shown.to_string())
        });
        let long = get(async || {
            let chunks = (0..64).map(|_| Ok::<_, std::io::Error>(vec![b'x'; 64 * 1024]));
            Body::from_stream(stream::iter(chunks))
        });
        let said = get(async || vec![b'x'; 2 * 1024 * 1024]);
        let stuck =
            get(async || Body::from_stream(stream::pending::<Result<Vec<u8>, std::io::Error>>()));
        let routes = Router::new()
            .route("/", hello)
            .route("/long", long)
            .route("/said", said)
            .route("/stuck", stuck)
            .route("/away", get(async || Redirect::temporary("/")));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(axum::serve(listener, routes).into_future());
        Self { port, requests }
    }

    fn url(&self, host: &str, path: &str) -> Url {
        format!("http://{host}:{}{path}", self.port)
            .parse()
            .unwrap()
    }

    /// A client that may ask this server under this name.
    fn client(&self, host: &str, lookup: Flipping) -> Client {
        let reach = Reach::to(&self.url(host, "/"));
        Client::with_lookup(reach, limits(), lookup)
    }

    fn near(&self) -> Client {
        Client::new(Reach::to(&self.url("127.0.0.1", "/")), limits())
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

fn limits() -> Limits {
    Limits {
        connect: Duration::from_secs(2),
        silence: Duration::from_millis(300),
        whole: Some(Duration::from_secs(5)),
        answer_bytes: 1024 * 1024,
    }
}

async fn text(client: &Client, url: Url) -> Result<String, HttpError> {
    let answer = client.request(Method::GET, url)?.send().await?;
    Ok(String::from_utf8(answer.bytes().await?.to_vec()).unwrap())
}

/// `ssrf-resolve`.
#[tokio::test]
async fn a_name_that_rebinds_after_its_first_answer_is_not_followed() {
    let server = Server::start().await;
    let lookup = Flipping::new(&[LOOPBACK], &[THIS_HOST]);
    let client = server.client("rebind.example", lookup.clone());
    let url = server.url("rebind.example", "/");

    assert_eq!(text(&client, url.clone()).await.unwrap(), "false");
    assert_eq!(
        lookup.asked(),
        1,
        "what was checked is what is connected to"
    );
    let error = text(&client, url).await.unwrap_err();

    assert!(
        error.causes().contains("no address that may be asked"),
        "{}",
        error.causes()
    );
    assert_eq!(server.requests(), 1);
}

/// `ssrf-resolve`.
#[tokio::test]
async fn a_public_name_that_leads_inside_opens_no_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let lookup = Flipping::new(&[LOOPBACK, THIS_HOST], &[LOOPBACK]);
    let client = Client::with_lookup(Reach::Public, limits(), lookup);
    let url: Url = format!("https://inside.example:{port}/").parse().unwrap();

    assert!(text(&client, url).await.is_err());

    let came = tokio::time::timeout(Duration::from_millis(200), listener.accept()).await;
    assert!(came.is_err(), "somebody connected");
}

/// `ssrf-address`.
#[tokio::test]
async fn an_address_beyond_reach_is_refused_before_anything_is_sent() {
    let server = Server::start().await;
    let client = Client::new(Reach::Public, limits());
    let error = text(&client, server.url("127.0.0.1", "/"))
        .await
        .unwrap_err();
    assert!(matches!(error, HttpError::Beyond(_)), "{error}");
    assert_eq!(server.requests(), 0);
}

/// `redirects-off`.
#[tokio::test]
async fn a_redirect_is_an_answer_and_not_followed() {
    let server = Server::start().await;
    let url = server.url("127.0.0.1", "/away");
    let answer = server
        .near()
        .request(Method::GET, url)
        .unwrap()
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(server.requests(), 0);
}

/// `credential-origin`.
#[tokio::test]
async fn a_credential_goes_home_and_nowhere_else_and_is_never_shown() {
    let (home, other) = (Server::start().await, Server::start().await);
    let secret = SecretString::from("swordfish");
    let at_home = home.url("127.0.0.1", "/");
    let credential = Credential::bearer(&at_home, &secret).unwrap();
    let client = Client::new(Reach::Anywhere, limits());
    let with = |url: Url| {
        client
            .request(Method::GET, url)
            .unwrap()
            .credential(&credential)
    };

    let answer = with(home.url("127.0.0.1", "/deeper/?a=b"))
        .unwrap()
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    let answer = with(at_home.clone()).unwrap().send().await.unwrap();
    assert_eq!(answer.bytes().await.unwrap(), "true");

    let mut over_tls = at_home.clone();
    over_tls.set_scheme("https").unwrap();
    for elsewhere in [
        other.url("127.0.0.1", "/"),
        home.url("localhost", "/"),
        home.url("127.0.0.1.example.com", "/"),
        over_tls,
    ] {
        let refused = with(elsewhere.clone());
        assert!(matches!(refused, Err(Elsewhere { .. })), "{elsewhere}");
    }
    assert_eq!((home.requests(), other.requests()), (1, 0));

    let outgoing = with(at_home).unwrap();
    for shown in [format!("{credential:?}"), format!("{outgoing:?}")] {
        assert!(!shown.contains("swordfish"), "{shown}");
    }
}

/// `answer-size`.
#[tokio::test]
async fn an_answer_without_an_end_is_cut_off_whether_it_says_its_length_or_not() {
    let server = Server::start().await;
    for path in ["/long", "/said"] {
        let error = text(&server.near(), server.url("127.0.0.1", path))
            .await
            .unwrap_err();
        assert!(
            matches!(error, HttpError::TooLarge { limit: 1_048_576 }),
            "{path}: {error}"
        );
    }
}

/// `answer-time`.
#[tokio::test]
async fn a_silent_answer_is_given_up() {
    let server = Server::start().await;
    let client = server.near();
    let asked = text(&client, server.url("127.0.0.1", "/stuck"));
    let given_up = tokio::time::timeout(Duration::from_secs(3), asked).await;
    assert!(matches!(given_up.unwrap(), Err(HttpError::NoAnswer(_))));
}

#[tokio::test]
async fn no_error_shows_the_address() {
    let client = Client::new(Reach::Anywhere, limits());
    let nobody: Url = "http://127.0.0.1:9/token-in-the-path".parse().unwrap();
    let error = text(&client, nobody).await.unwrap_err();
    assert!(
        !error.causes().contains("token-in-the-path"),
        "{}",
        error.causes()
    );
}

/// `proxy-off`. The environment is read once by a process, so the asking is done by another one.
#[test]
fn a_proxy_of_the_environment_is_ignored() {
    let child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "asks_with_a_proxy_in_its_environment",
            "--ignored",
        ])
        .envs(
            ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"]
                .map(|name| (name, "http://127.0.0.1:9")),
        )
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
}

#[tokio::test]
#[ignore = "the other half of a_proxy_of_the_environment_is_ignored"]
async fn asks_with_a_proxy_in_its_environment() {
    let server = Server::start().await;
    let lookup = Flipping::new(&[LOOPBACK], &[LOOPBACK]);
    let client = server.client("behind-a-proxy.example", lookup);
    let url = server.url("behind-a-proxy.example", "/");
    assert_eq!(text(&client, url).await.unwrap(), "false");
}
