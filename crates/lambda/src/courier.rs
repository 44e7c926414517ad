//! Carries reports to the addresses of those who want to be told, signed, and nowhere else.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::future::{BoxFuture, FutureExt};
use hmac::{Hmac, Mac};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use nightshift_engine::courier::{Courier, CourierError, Parcel, Receipt};
use nightshift_http::{Client, HttpError, Limits};
pub use nightshift_http::{Reach, UnknownReach};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::Secrets;

/// How long a receiver may take, and how much of its answer is read.
const LIMITS: Limits = Limits {
    connect: Duration::from_secs(3),
    silence: Duration::from_secs(10),
    whole: Some(Duration::from_secs(10)),
    answer_bytes: 64 * 1024,
};
/// `t=SECONDS,v1=HEX[,v1=HEX]`: HMAC-SHA256 of `SECONDS.BODY` with each of the endpoint's secrets, exactly
/// as senders of the generic source sign what they send us.
const SIGNATURE: HeaderName = HeaderName::from_static("x-nightshift-signature");
/// The parcel's id, by which a receiver tells a repeat.
const DELIVERY: HeaderName = HeaderName::from_static("x-delivery-id");

/// Carries reports over HTTP. Where a report may go is the client's to check.
pub struct HttpCourier {
    secrets: Arc<dyn Secrets>,
    client: Client,
}

impl HttpCourier {
    /// Signs with what `secrets` holds and goes as far as `reach` allows.
    #[must_use]
    pub fn new(secrets: Arc<dyn Secrets>, reach: Reach) -> Self {
        Self {
            secrets,
            client: Client::new(reach, LIMITS),
        }
    }

    async fn sign(&self, parcel: &Parcel) -> Result<String, CourierError> {
        let mut signature = format!("t={}", parcel.at);
        let mut missing = None;
        let mut signed = 0;
        for reference in &parcel.secret_refs {
            // During a rotation one of them may be gone already.
            match self.secrets.read(reference).await {
                Ok(secret) => {
                    signature.push_str(",v1=");
                    signature.push_str(&mac(&secret, parcel)?);
                    signed += 1;
                }
                Err(error) => missing = Some(error),
            }
        }
        match missing {
            _ if signed > 0 => Ok(signature),
            Some(error) => Err(CourierError::Unsigned(error.into())),
            None => Err(CourierError::Unsigned("the endpoint has no secret".into())),
        }
    }

    async fn carry(&self, parcel: &Parcel) -> Result<Receipt, CourierError> {
        let url = Url::parse(&parcel.url).map_err(|_| CourierError::Address("it is not a URL"))?;
        // Checked before anything is signed.
        let request = self.client.request(Method::POST, url).map_err(untold)?;
        let text = |text: &str| {
            HeaderValue::try_from(text).map_err(|error| CourierError::Unsigned(error.into()))
        };
        let answer = request
            .header(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/json"),
            )
            .header(SIGNATURE, text(&self.sign(parcel).await?)?)
            .header(DELIVERY, text(&parcel.id)?)
            .body(parcel.body.clone())
            .send()
            .await
            .map_err(untold)?;
        match answer.status() {
            StatusCode::GONE => Ok(Receipt::Unwanted),
            status if status.is_success() => Ok(Receipt::Taken(status.as_u16())),
            status => Err(CourierError::Refused(status.as_u16())),
        }
    }
}

/// Why it was not told.
fn untold(error: HttpError) -> CourierError {
    match error {
        HttpError::Beyond(why) => CourierError::Address(why),
        error @ (HttpError::Elsewhere(_)
        | HttpError::NoClient(_)
        | HttpError::NoAnswer(_)
        | HttpError::TooLarge { .. }
        | HttpError::NotJson(_)) => CourierError::Unreachable(error.into()),
    }
}

fn mac(secret: &SecretString, parcel: &Parcel) -> Result<String, CourierError> {
    let key = secret.expose_secret().as_bytes();
    let mut mac = Hmac::<Sha256>::new_from_slice(key)
        .map_err(|error| CourierError::Unsigned(error.into()))?;
    mac.update(parcel.at.to_string().as_bytes());
    mac.update(b".");
    mac.update(&parcel.body);
    Ok(hex::encode(mac.finalize().into_bytes()))
}

impl Courier for HttpCourier {
    fn deliver<'a>(&'a self, parcel: &'a Parcel) -> BoxFuture<'a, Result<Receipt, CourierError>> {
        self.carry(parcel).boxed()
    }
}

impl fmt::Debug for HttpCourier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpCourier")
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "courier_tests.rs"]
mod tests;
