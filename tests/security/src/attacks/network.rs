//! Addresses that lead into our own network, and servers that send our client elsewhere.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::Result;
use http::Method;
use nightshift_engine::courier::{Courier, CourierError, Parcel};
use nightshift_http::{Client, Credential, Limits, Looking, Lookup, Reach};
use nightshift_lambda::{FileSecrets, HttpCourier, SealedFile};
use tempfile::TempDir;
use tokio::process::Command;

use crate::{
    case::{Case, Outcome, case},
    stack::{PROVIDER_KEY, Reply, Stack, Upstream, question},
};

pub(crate) const CASES: &[Case] = &[
    case!(
        33,
        "address-inside",
        [SsrfAddress],
        "a tenant's address that is ours, however written",
        address_inside
    ),
    case!(
        34,
        "rebound-name",
        [SsrfResolve],
        "a name that leads inside at the second look",
        rebound_name
    ),
    case!(
        36,
        "redirect",
        [RedirectsOff],
        "a provider that sends us elsewhere with our key",
        redirect
    ),
    case!(
        36,
        "credential-elsewhere",
        [CredentialOrigin],
        "our credential at another host",
        credential_elsewhere
    ),
    case!(
        36,
        "proxy-of-the-environment",
        [ProxyOff],
        "a proxy that the environment names",
        proxy
    ),
    case!(
        37,
        "endless-answer",
        [AnswerSize],
        "a provider whose answer has no end",
        endless_answer
    ),
];

/// Where a report is to go.
fn parcel(url: &str) -> Parcel {
    Parcel {
        url: url.to_owned(),
        id: "parcel-1".to_owned(),
        body: b"{}".to_vec(),
        secret_refs: vec!["hook".to_owned()],
        at: 1_790_000_000,
    }
}

fn courier(reach: Reach, folder: &TempDir) -> Result<HttpCourier> {
    let path = folder.path().join("secrets.sealed");
    let kept = [("hook".to_owned(), "a-secret".to_owned())];
    SealedFile::at(&path).seal(&kept.into())?;
    Ok(HttpCourier::new(Arc::new(FileSecrets::new(path)), reach))
}

async fn address_inside() -> Result<Outcome> {
    let folder = TempDir::new()?;
    let courier = courier(Reach::Public, &folder)?;
    let victim = Upstream::start().await?;
    let port = victim.url.rsplit_once(':').map_or("", |(_, port)| port);
    let loopback = [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "%31%32%37.0.0.1",
        "127.0.0.1.",
        "localhost",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "127.255.255.254",
    ];
    let elsewhere = [
        "169.254.169.254",
        "[fd00:ec2::254]",
        "169.254.170.2",
        "metadata.google.internal",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "100.100.100.200",
        "168.63.129.16",
        "[::1]",
        "[::]",
        "[fdaa:0:1::3]",
        "[fe80::1]",
        "[64:ff9b::a00:1]",
        "[2002:a00:1::]",
        "[::127.0.0.1]",
        "2852039166",
        "[ff02::1]",
        "255.255.255.255",
    ];
    let mut refused = 0;
    for host in loopback.into_iter().chain(elsewhere) {
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://{host}:{port}/latest/meta-data");
            let told = courier.deliver(&parcel(&url)).await;
            if !victim.seen().is_empty() {
                return Ok(Outcome::Succeeded(format!("{url} was asked: {told:?}")));
            }
            match told {
                Err(CourierError::Address(_)) => refused += 1,
                // A name is refused when it is resolved, or leads nowhere here.
                Err(_) if host.contains(|c: char| c.is_ascii_lowercase()) => refused += 1,
                other => anyhow::bail!("{url} was not refused: {other:?}"),
            }
        }
    }
    Ok(Outcome::Stopped(format!(
        "{refused} addresses refused, nobody asked"
    )))
}

/// Answers with a public address first and with ours ever after.
struct Flipping(AtomicUsize);

impl Lookup for Flipping {
    fn addresses<'a>(&'a self, _: &'a str) -> Looking<'a> {
        let first = self.0.fetch_add(1, Ordering::SeqCst) == 0;
        let address = if first {
            Ipv4Addr::new(192, 0, 2, 1)
        } else {
            Ipv4Addr::LOCALHOST
        };
        Box::pin(async move { Ok(vec![IpAddr::V4(address)]) })
    }
}

async fn rebound_name() -> Result<Outcome> {
    let victim = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let port = victim.local_addr()?.port();
    let limits = Limits {
        connect: std::time::Duration::from_millis(300),
        ..Limits::default()
    };
    let client = Client::with_lookup(Reach::Public, limits, Flipping(AtomicUsize::new(0)));
    let url = format!("https://rebound.evil.test:{port}/");
    let mut said = String::new();
    let asked = async {
        for _ in 0..4 {
            if let Err(error) = client.request(Method::GET, url.parse()?)?.send().await {
                said = error.causes();
            }
        }
        anyhow::Ok(())
    };
    let reached = tokio::select! {
        _ = victim.accept() => true,
        asked = asked => { asked?; false }
    };
    Ok(Outcome::of(reached, said))
}

async fn redirect() -> Result<Outcome> {
    let stack = Stack::start().await?;
    stack.ask(&stack.ours, &question("hello")).await?.honest()?;
    let stranger = Upstream::start().await?;
    let mut reply = Reply::message("moved", 1, 1);
    reply.status = 307;
    reply
        .headers
        .push(("location", format!("{}/v1/messages", stranger.url)));
    stack.upstream.tell(reply);
    let answer = stack.ask(&stack.ours, &question("hello")).await?;
    let seen = stranger.seen();
    let key = seen
        .iter()
        .any(|it| format!("{:?}", it.headers).contains(PROVIDER_KEY));
    let what = format!(
        "{}; the stranger was asked: {}, with our key: {key}",
        answer.brief(),
        !seen.is_empty()
    );
    Ok(Outcome::of(!seen.is_empty(), what))
}

async fn credential_elsewhere() -> Result<Outcome> {
    let home = Upstream::start().await?;
    let stranger = Upstream::start().await?;
    let key = Credential::bearer(&home.url.parse()?, &"canary-key".to_owned().into())?;
    let client = Client::new(Reach::Anywhere, Limits::default());
    client
        .request(Method::GET, home.url.parse()?)?
        .credential(&key)?
        .send()
        .await?;
    anyhow::ensure!(home.seen().len() == 1, "it is shown at home");
    let request = client.request(Method::GET, stranger.url.parse()?)?;
    match request.credential(&key) {
        Ok(request) => {
            request.send().await?;
            let shown = format!("{:?}", stranger.seen()).contains("canary-key");
            Ok(Outcome::of(shown, "the stranger was asked"))
        }
        Err(error) => Ok(Outcome::Stopped(error.to_string())),
    }
}

/// Names the stranger's proxy to the process whose environment is attacked.
const INNER: &str = "NIGHTSHIFT_ATTACK_INNER";

async fn proxy() -> Result<Outcome> {
    if let Some(url) = std::env::var_os(INNER).and_then(|url| url.into_string().ok()) {
        let folder = TempDir::new()?;
        courier(Reach::Anywhere, &folder)?
            .deliver(&parcel(&url))
            .await?;
        return Ok(Outcome::Skipped("the proxy tells".to_owned()));
    }
    let (home, stranger) = (Upstream::start().await?, Upstream::start().await?);
    let output = Command::new(std::env::current_exe()?)
        .args(["--one", "proxy-of-the-environment"])
        .env(INNER, format!("{}/reports", home.url))
        .envs(["http_proxy", "HTTP_PROXY", "ALL_PROXY"].map(|name| (name, &stranger.url)))
        .output()
        .await?;
    anyhow::ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let seen = stranger.seen();
    anyhow::ensure!(seen.len() + home.seen().len() == 1, "nobody was told");
    Ok(Outcome::of(
        !seen.is_empty(),
        "the report went where it should",
    ))
}

async fn endless_answer() -> Result<Outcome> {
    let stack = Stack::start().await?;
    stack.ask(&stack.ours, &question("hello")).await?.honest()?;
    stack.upstream.tell(Reply {
        body: "x".repeat(1 << 20),
        times: 40,
        ..Reply::message("", 1, 1)
    });
    let answer = stack.ask(&stack.ours, &question("hello")).await?;
    let mib = answer.text.len() >> 20;
    Ok(Outcome::of(
        mib > 16,
        format!("{} with {mib} MiB", answer.brief()),
    ))
}
