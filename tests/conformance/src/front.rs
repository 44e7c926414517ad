//! Stands before one server on a port of its own: adds a token and a proof to each request, and nothing else.

use std::{net::Ipv4Addr, sync::Arc};

use anyhow::{Context, Result};
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use nightshift_domain::scope::Audience;
use nightshift_protocol::proof::{PROOF_HEADER, TOKEN_SCHEME};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::run::{Badge, LiveRun};

/// A front on a port of its own; it ends with this.
#[derive(Debug)]
pub(crate) struct Front {
    /// Where the suite finds the server.
    pub(crate) url: String,
    serving: JoinHandle<()>,
}

struct Behind {
    address: String,
    /// Scheme and host that proofs name.
    origin: String,
    audience: Audience,
    badge: Arc<Badge>,
    client: Client<HttpConnector, Body>,
}

impl Front {
    /// Begins to listen before this server.
    pub(crate) async fn open(server: &str, live: &LiveRun) -> Result<Self> {
        let audience = Audience::ALL
            .iter()
            .find(|audience| audience.server() == server);
        let behind = Behind {
            address: live.address(server)?,
            origin: format!("http://{server}.nightshift.internal"),
            audience: *audience.context("no such server")?,
            badge: live.badge(),
            client: Client::builder(TokioExecutor::new()).build_http(),
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}/mcp", listener.local_addr()?);
        let router = Router::new().fallback(pass).with_state(Arc::new(behind));
        let serving = tokio::spawn(async move {
            // It ends with this; until then nothing ends it.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { url, serving })
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn pass(State(behind): State<Arc<Behind>>, request: Request) -> Response {
    match behind.pass(request).await {
        Ok(answer) => answer,
        Err(error) => (StatusCode::BAD_GATEWAY, format!("{error:#}")).into_response(),
    }
}

impl Behind {
    async fn pass(&self, mut request: Request) -> Result<Response> {
        let path = request.uri().path().to_owned();
        let url = format!("{}{path}", self.origin);
        let method = request.method().as_str().to_owned();
        let (token, proof) = self.badge.show(self.audience, &method, &url).await?;
        let token = HeaderValue::try_from(format!("{TOKEN_SCHEME} {token}"))?;
        request.headers_mut().insert(header::AUTHORIZATION, token);
        request.headers_mut().insert(PROOF_HEADER, proof);
        let rest = request
            .uri()
            .path_and_query()
            .map_or("/", |rest| rest.as_str());
        *request.uri_mut() = Uri::try_from(format!("http://{}{rest}", self.address))?;
        // Whom the request names stays as it came: that is among what the suite looks at.
        let answer = self.client.request(request).await?;
        Ok(answer.map(Body::new))
    }
}
