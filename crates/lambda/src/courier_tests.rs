//! Parcels and a receiver on this machine.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::HeaderMap,
    response::{IntoResponse, Redirect, Response},
    routing::post,
};
use futures_util::future::ready;

use super::*;
use crate::SecretError;

#[derive(Debug)]
struct Known;

impl Secrets for Known {
    fn read<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<SecretString, SecretError>> {
        let found = match reference {
            "old" => Ok("the-old-secret".into()),
            "new" => Ok("the-new-secret".into()),
            unknown => Err(SecretError::Unknown(unknown.to_owned())),
        };
        ready(found).boxed()
    }
}

#[derive(Debug, Clone, Default)]
struct Receiver {
    got: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
    answers: Arc<Mutex<VecDeque<u16>>>,
}

impl Receiver {
    async fn listen(&self) -> String {
        let router = Router::new()
            .route("/hook", post(Self::take))
            .with_state(self.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}/hook")
    }

    #[expect(clippy::unused_async, reason = "a handler is asynchronous")]
    async fn take(State(receiver): State<Self>, headers: HeaderMap, body: Bytes) -> Response {
        let mut got = receiver.got.lock().unwrap_or_else(PoisonError::into_inner);
        got.push((headers, body));
        let answer = receiver.answers.lock().unwrap().pop_front().unwrap_or(204);
        if answer == 307 {
            return Redirect::temporary("/elsewhere").into_response();
        }
        StatusCode::from_u16(answer).unwrap().into_response()
    }
}

fn parcel(url: &str) -> Parcel {
    Parcel {
        url: url.to_owned(),
        secret_refs: vec!["new".to_owned(), "old".to_owned()],
        id: "inv_1-1".to_owned(),
        body: br#"{"type":"report"}"#.to_vec(),
        at: 1_700_000_000,
    }
}

fn courier() -> HttpCourier {
    HttpCourier::new(Arc::new(Known), Reach::Anywhere)
}

#[tokio::test]
async fn a_parcel_arrives_signed_by_every_secret_over_its_time_and_exact_bytes() {
    let receiver = Receiver::default();
    let url = receiver.listen().await;

    let receipt = courier().deliver(&parcel(&url)).await.unwrap();

    assert_eq!(receipt, Receipt::Taken(204));
    let got = receiver.got.lock().unwrap();
    let (headers, body) = got.first().unwrap();
    assert_eq!(&body[..], br#"{"type":"report"}"#);
    assert_eq!(headers[DELIVERY], "inv_1-1");
    // printf '1700000000.{"type":"report"}' | openssl dgst -sha256 -hmac the-new-secret
    let expected = concat!(
        "t=1700000000",
        ",v1=933b66ab2e5268590aaafc1401bc5dc083c00d3c55a3a9eb99cf0c0751d98e04",
        ",v1=c7f86bedd50a7b9d0b072ea196db6a0e551944f844188875ec4ed2798f6c948c"
    );
    assert_eq!(headers[SIGNATURE], expected);
}

#[tokio::test]
async fn each_answer_has_its_meaning_and_a_redirect_is_not_followed() {
    let receiver = Receiver::default();
    let url = receiver.listen().await;
    for (answer, expected) in [
        (200, Ok(Receipt::Taken(200))),
        (202, Ok(Receipt::Taken(202))),
        (410, Ok(Receipt::Unwanted)),
        (307, Err(307)),
        (404, Err(404)),
        (429, Err(429)),
        (500, Err(500)),
    ] {
        receiver.answers.lock().unwrap().push_back(answer);
        let told = match courier().deliver(&parcel(&url)).await {
            Ok(receipt) => Ok(receipt),
            Err(CourierError::Refused(status)) => Err(status),
            Err(error) => panic!("{answer}: {error}"),
        };
        assert_eq!(told, expected, "{answer}");
    }
    assert_eq!(receiver.got.lock().unwrap().len(), 7, "one request each");
}

#[tokio::test]
async fn a_secret_that_is_gone_is_passed_over_and_without_any_nothing_is_sent() {
    let receiver = Receiver::default();
    let url = receiver.listen().await;
    let rotated = Parcel {
        secret_refs: vec!["gone".to_owned(), "new".to_owned()],
        ..parcel(&url)
    };
    assert_eq!(
        courier().deliver(&rotated).await.unwrap(),
        Receipt::Taken(204)
    );

    for secret_refs in [vec![], vec!["gone".to_owned()]] {
        let unsigned = Parcel {
            secret_refs,
            ..parcel(&url)
        };
        let error = courier().deliver(&unsigned).await.unwrap_err();
        assert!(matches!(error, CourierError::Unsigned(_)), "{error}");
    }
    assert_eq!(receiver.got.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn an_address_beyond_reach_is_refused_unasked_and_no_error_shows_the_address() {
    let receiver = Receiver::default();
    let url = receiver.listen().await;
    let careful = HttpCourier::new(Arc::new(Known), Reach::Public);
    let error = careful.deliver(&parcel(&url)).await.unwrap_err();
    assert!(matches!(error, CourierError::Address(_)), "{error}");
    assert!(receiver.got.lock().unwrap().is_empty());

    let nobody = parcel("http://127.0.0.1:9/token-in-the-path");
    let error = courier().deliver(&nobody).await.unwrap_err();
    let words = nightshift_engine::causes(&error);
    assert!(matches!(error, CourierError::Unreachable(_)));
    assert!(!words.contains("token-in-the-path"), "{words}");
}
