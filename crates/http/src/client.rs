//! The client itself: what it asks is checked, and so is what the name turns out to be.

use std::{
    error::Error,
    fmt,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use http::{HeaderName, HeaderValue, Method};
use nightshift_controls::{Control, holds};
use reqwest::{
    Body, RequestBuilder, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect,
};
use serde::Serialize;

use crate::{Answer, Credential, Elsewhere, Lookup, Origin, Reach, SystemLookup, tls};

/// How long things may take, and how large an answer may be.
///
/// Control: `answer-time`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long a connection may take to be made, the name's resolution included.
    pub connect: Duration,
    /// How long the next bytes of an answer may take.
    pub silence: Duration,
    /// How long everything may take; `None` where an answer is a stream without a set end.
    pub whole: Option<Duration>,
    /// The most that is read of an answer, in bytes.
    pub answer_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            silence: Duration::from_secs(10),
            whole: Some(Duration::from_secs(30)),
            answer_bytes: 8 * 1024 * 1024,
        }
    }
}

/// A request was not made, or gave no usable answer. No variant shows the URL: it may hold a secret.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address lies beyond the client's reach; nothing was sent.
    #[error("the address cannot be asked: {0}")]
    Beyond(&'static str),
    /// The credential is for another origin; nothing was sent.
    #[error(transparent)]
    Elsewhere(#[from] Elsewhere),
    /// The HTTP client could not be made.
    #[error("the HTTP client cannot be made")]
    NoClient(#[source] reqwest::Error),
    /// Nobody answered, or the answer broke off.
    #[error("no answer")]
    NoAnswer(#[source] reqwest::Error),
    /// The answer is larger than we read.
    #[error("the answer has more than {limit} bytes")]
    TooLarge {
        /// How many are read.
        limit: usize,
    },
    /// The answer is not the JSON that was expected.
    #[error("the answer is not what was expected")]
    NotJson(#[source] serde_json::Error),
}

impl HttpError {
    pub(crate) fn no_answer(error: reqwest::Error) -> Self {
        Self::NoAnswer(if holds(Control::ErrorsTyped) {
            error.without_url()
        } else {
            error
        })
    }

    /// The error with all its causes in one line.
    #[must_use]
    pub fn causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(next) = cause {
            text.push_str(": ");
            text.push_str(&next.to_string());
            cause = next.source();
        }
        text
    }
}

/// An HTTP client with a reach. Clones share their connections.
///
/// Controls: `ssrf-resolve` (every resolved address is checked, and the connection is made to one of
/// those), `redirects-off`, `proxy-off`.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    guard: Arc<Guard>,
    limits: Limits,
    http: OnceLock<reqwest::Client>,
}

impl Client {
    /// A client that goes as far as `reach` allows. The connections' part of it is made at the first
    /// request: reading the roots of TLS takes milliseconds.
    #[must_use]
    pub fn new(reach: Reach, limits: Limits) -> Self {
        Self::with_lookup(reach, limits, SystemLookup)
    }

    /// As [`Client::new`], with a resolver of one's own.
    #[must_use]
    pub fn with_lookup(reach: Reach, limits: Limits, lookup: impl Lookup) -> Self {
        tls::choose();
        let guard = Arc::new(Guard {
            reach,
            lookup: Box::new(lookup),
        });
        Self(Arc::new(Inner {
            guard,
            limits,
            http: OnceLock::new(),
        }))
    }

    /// A request, if its address lies within reach.
    pub fn request(&self, method: Method, url: Url) -> Result<Outgoing, HttpError> {
        self.0.guard.reach.check(&url).map_err(HttpError::Beyond)?;
        let origin = Origin::of(&url).ok_or(HttpError::Beyond("it has no host"))?;
        Ok(Outgoing {
            request: self.http()?.request(method, url),
            origin,
            limit: self.0.limits.answer_bytes,
        })
    }

    fn http(&self) -> Result<&reqwest::Client, HttpError> {
        if let Some(made) = self.0.http.get() {
            return Ok(made);
        }
        let limits = self.0.limits;
        let mut builder = reqwest::Client::builder()
            .redirect(if holds(Control::RedirectsOff) {
                redirect::Policy::none()
            } else {
                redirect::Policy::limited(5)
            })
            .dns_resolver(Arc::new(Resolver(Arc::clone(&self.0.guard))))
            .connect_timeout(limits.connect)
            .read_timeout(limits.silence)
            .tcp_nodelay(true)
            .user_agent(concat!("nightshift/", env!("CARGO_PKG_VERSION")));
        if holds(Control::ProxyOff) {
            builder = builder.no_proxy();
        }
        if let Some(whole) = limits.whole {
            builder = builder.timeout(whole);
        }
        let client = builder.build().map_err(HttpError::NoClient)?;
        Ok(self.0.http.get_or_init(|| client))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("reach", &self.0.guard.reach)
            .field("limits", &self.0.limits)
            .finish_non_exhaustive()
    }
}

/// A request within reach, not sent yet.
#[derive(Debug)]
pub struct Outgoing {
    request: RequestBuilder,
    origin: Origin,
    limit: usize,
}

impl Outgoing {
    /// Adds the credential, if the request goes to the credential's origin.
    pub fn credential(mut self, credential: &Credential) -> Result<Self, Elsewhere> {
        self.request = credential.put(self.request, &self.origin)?;
        Ok(self)
    }

    /// Adds a header. What must stay secret goes through [`Outgoing::credential`].
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    /// Sends this as JSON.
    #[must_use]
    pub fn json(mut self, body: &(impl Serialize + ?Sized)) -> Self {
        self.request = self.request.json(body);
        self
    }

    /// Sends these bytes.
    #[must_use]
    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.request = self.request.body(body);
        self
    }

    /// Adds to the query, encoded.
    #[must_use]
    pub fn query(mut self, pairs: &(impl Serialize + ?Sized)) -> Self {
        self.request = self.request.query(pairs);
        self
    }

    /// Sends it and waits for the head of the answer, whatever its status.
    pub async fn send(self) -> Result<Answer, HttpError> {
        let response = self.request.send().await.map_err(HttpError::no_answer)?;
        Ok(Answer::new(response, self.limit))
    }
}

/// What a name may lead to, for one client.
struct Guard {
    reach: Reach,
    lookup: Box<dyn Lookup>,
}

impl Guard {
    /// The addresses of the name that may be connected to.
    ///
    /// Control: `ssrf-resolve`.
    async fn admitted(&self, name: &str) -> Result<Vec<SocketAddr>, Box<dyn Error + Send + Sync>> {
        let admitted = self.reach.of_name(name);
        let found = self.lookup.addresses(name).await?;
        let good: Vec<SocketAddr> = found
            .into_iter()
            .filter(|address| admitted.admits(*address) || !holds(Control::SsrfResolve))
            .map(|address| SocketAddr::new(address, 0))
            .collect();
        if good.is_empty() {
            return Err("the name leads to no address that may be asked".into());
        }
        Ok(good)
    }
}

/// Resolves names for the connections. What it gives is what is connected to: nobody asks a second time.
struct Resolver(Arc<Guard>);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = Arc::clone(&self.0);
        Box::pin(async move {
            let good = guard.admitted(name.as_str()).await?;
            let addresses: Addrs = Box::new(good.into_iter());
            Ok(addresses)
        })
    }
}
