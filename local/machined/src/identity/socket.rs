//! The identity socket of one sandbox: it says which machine it is, to root inside and no other.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderValue},
    service::service_fn,
};
use serde::Deserialize;
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{UnixListener, UnixStream},
};

use crate::{gateway::socket, host::Host};

/// Bytes a request may have.
const BODY_BYTES_MAX: usize = 4 * 1024;

#[derive(Deserialize)]
struct Ask {
    aud: Option<String>,
}

/// Serves a machine's socket until dropped. `owner` is the host user that is root inside, if it is
/// not us.
pub(crate) async fn serve(
    host: Arc<Host>,
    machine: String,
    listener: UnixListener,
    owner: Option<u32>,
) {
    socket::accept(listener, move |stream| {
        connection(Arc::clone(&host), machine.clone(), stream, owner)
    })
    .await;
}

async fn connection(host: Arc<Host>, machine: String, stream: UnixStream, owner: Option<u32>) {
    // The directory is closed to others already; this holds if somebody inside opens it.
    let root = owner.unwrap_or_else(|| rustix::process::geteuid().as_raw());
    if !stream.peer_cred().is_ok_and(|peer| peer.uid() == root) {
        return;
    }
    converse(host, machine, stream).await;
}

/// Answers the requests of one connection of root inside.
pub(crate) async fn converse<T: AsyncRead + AsyncWrite + Unpin>(
    host: Arc<Host>,
    machine: String,
    stream: T,
) {
    let answer = service_fn(move |request| answer(Arc::clone(&host), machine.clone(), request));
    socket::converse(stream, answer).await;
}

async fn answer(
    host: Arc<Host>,
    machine: String,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() != Method::POST || request.uri().path() != "/v1/tokens/oidc" {
        return Ok(refuse(
            StatusCode::NOT_FOUND,
            "not_found: no such call here",
        ));
    }
    let Ok(body) = Limited::new(request.into_body(), BODY_BYTES_MAX)
        .collect()
        .await
    else {
        return Ok(refuse(StatusCode::BAD_REQUEST, "invalid_argument: body"));
    };
    let bytes = body.to_bytes();
    let ask = if bytes.is_empty() {
        Ok(Ask { aud: None })
    } else {
        serde_json::from_slice(&bytes)
    };
    let Ok(ask) = ask else {
        return Ok(refuse(StatusCode::BAD_REQUEST, "invalid_argument: body"));
    };
    let claims = {
        let world = host.world();
        let Some(cell) = world.machines.get(&machine) else {
            return Ok(refuse(
                StatusCode::NOT_FOUND,
                "not_found: machine not found",
            ));
        };
        host.identity
            .claims(&host.config, &world, &cell.record, ask.aud.as_deref())
    };
    match host.identity.sign(&claims) {
        Ok(token) => {
            let mut response = Response::new(Full::from(token));
            response
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
            Ok(response)
        }
        Err(error) => {
            tracing::error!(%error, machine.id = machine, "an identity is not signed");
            Ok(refuse(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal: server error",
            ))
        }
    }
}

fn refuse(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(json!({ "error": text }).to_string()));
    *response.status_mut() = status;
    response
}
