//! The HTTP front before a function that is a router, as the product's are.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Path, RawQuery},
    http::{HeaderMap, Request, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use nightshift_queues::front;
use tower::ServiceExt;

use crate::{Deployed, sample};

/// The function's routes.
pub(crate) fn routes() -> Router {
    Router::new()
        .route(
            "/echo",
            post(async |headers: HeaderMap, body: Bytes| (headers, body).into_response()),
        )
        .route(
            "/hex",
            post(async |body: Bytes| {
                let digits = body.iter().map(|byte| format!("{byte:02x}"));
                digits.collect::<Vec<_>>().concat()
            }),
        )
        .route(
            "/items/{id}",
            get(async |Path(id): Path<String>, RawQuery(query): RawQuery| {
                let query = query.unwrap_or_default();
                ([("x-query", query)], id)
            }),
        )
        .route("/no", get(async || (StatusCode::CONFLICT, "not now")))
        .route(
            "/crash",
            get(async || -> Response { std::process::exit(1) }),
        )
        .route(
            "/slow",
            get(async || {
                tokio::time::sleep(std::time::Duration::from_secs(3)).await;
                "slow"
            }),
        )
}

async fn ask(deployed: &Deployed, request: Request<Body>) -> (StatusCode, HeaderMap, Bytes) {
    let response = front::router(
        deployed.host.owner().clone(),
        Arc::new((deployed.host.clone(), "sample".to_owned())),
    )
    .oneshot(request)
    .await
    .unwrap();
    let (head, body) = response.into_parts();
    (
        head.status,
        head.headers,
        to_bytes(body, 1 << 20).await.unwrap(),
    )
}

fn get_of(path: &str) -> Request<Body> {
    Request::get(path)
        .header("host", "api.test")
        .body(Body::empty())
        .unwrap()
}

#[tokio::test]
async fn bodies_of_any_bytes_pass_both_ways_unchanged() {
    let deployed = Deployed::new(sample(1, &[("SAMPLE_HTTP", "1")]));
    let every: Vec<u8> = (0..=255).collect();
    for (kind, body) in [
        (
            "application/json",
            br#"{ "id":1,  "text":"\u00e9 \u{1}" }"#.to_vec(),
        ),
        ("application/octet-stream", every),
        ("text/plain", "žluťoučký\r\n".into()),
    ] {
        let request = Request::post("/echo")
            .header("host", "api.test")
            .header("content-type", kind)
            .header("x-signature", "v1=abc, v1=def")
            .body(Body::from(body.clone()))
            .unwrap();
        let (status, headers, echoed) = ask(&deployed, request).await;
        assert_eq!(
            (status, echoed.as_ref()),
            (StatusCode::OK, body.as_slice()),
            "{kind}"
        );
        assert_eq!(headers["x-signature"], "v1=abc, v1=def");
    }
}

#[tokio::test]
async fn a_body_that_only_claims_to_be_text_arrives_as_it_was_signed() {
    let deployed = Deployed::new(sample(1, &[("SAMPLE_HTTP", "1")]));
    let request = Request::post("/hex")
        .header("host", "api.test")
        .header("content-type", "application/json");
    let (status, _, body) = ask(
        &deployed,
        request.body(Body::from(vec![b'{', 0xff, 0, b'}'])).unwrap(),
    )
    .await;
    assert_eq!(
        (status, body.as_ref()),
        (StatusCode::OK, b"7bff007d".as_slice())
    );
}

#[tokio::test]
async fn paths_queries_and_statuses_pass() {
    let deployed = Deployed::new(sample(1, &[("SAMPLE_HTTP", "1")]));
    let (status, headers, id) = ask(&deployed, get_of("/items/inv_01?after=7&wait_ms=10")).await;
    assert_eq!(
        (status, id.as_ref()),
        (StatusCode::OK, b"inv_01".as_slice())
    );
    assert_eq!(headers["x-query"], "after=7&wait_ms=10");
    let (status, _, body) = ask(&deployed, get_of("/no")).await;
    assert_eq!(
        (status, body.as_ref()),
        (StatusCode::CONFLICT, b"not now".as_slice())
    );
    assert_eq!(
        ask(&deployed, get_of("/nowhere")).await.0,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn a_function_that_ends_is_a_500_and_one_that_is_busy_a_503() {
    let deployed = Deployed::new(sample(1, &[("SAMPLE_HTTP", "1")]));
    let (status, _, body) = ask(&deployed, get_of("/crash")).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(body.as_ref(), br#"{"message":"Internal Server Error"}"#);

    let busy = async {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        ask(&deployed, get_of("/no")).await
    };
    let (slow, busy) = tokio::join!(ask(&deployed, get_of("/slow")), busy);
    assert_eq!(
        (slow.0, slow.2.as_ref()),
        (StatusCode::OK, b"slow".as_slice())
    );
    assert_eq!(busy.0, StatusCode::SERVICE_UNAVAILABLE);
}
