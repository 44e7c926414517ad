//! Carries reports to the addresses of those who want to be told, signed, and nowhere else.

mod reach;

pub use reach::{Reach, UnknownReach};

use std::{
    error::Error,
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt};
use hmac::{Hmac, Mac};
use nightshift_engine::courier::{Courier, CourierError, Parcel, Receipt};
use reqwest::{StatusCode, Url, header, redirect};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::Secrets;

/// How long a receiver may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(3);
/// `t=SECONDS,v1=HEX[,v1=HEX]`: HMAC-SHA256 of `SECONDS.BODY` with each of the endpoint's secrets, exactly
/// as senders of the generic source sign what they send us.
const SIGNATURE: &str = "x-nightshift-signature";
/// The parcel's id, by which a receiver tells a repeat.
const DELIVERY: &str = "x-delivery-id";

/// Carries reports over HTTP. The client is made when it is first used.
pub struct HttpCourier {
    secrets: Arc<dyn Secrets>,
    reach: Reach,
    http: OnceLock<reqwest::Client>,
}

impl HttpCourier {
    /// Signs with what `secrets` holds and goes as far as `reach` allows.
    #[must_use]
    pub const fn new(secrets: Arc<dyn Secrets>, reach: Reach) -> Self {
        Self {
            secrets,
            reach,
            http: OnceLock::new(),
        }
    }

    fn client(&self) -> Result<&reqwest::Client, CourierError> {
        if let Some(client) = self.http.get() {
            return Ok(client);
        }
        // Fails only when the process has chosen a provider already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // Neither a proxy of the environment nor a redirect decides where a report goes.
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .dns_resolver(Arc::new(self.reach))
            .connect_timeout(CONNECT)
            .timeout(PATIENCE)
            .user_agent(concat!("nightshift/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(no_answer)?;
        Ok(self.http.get_or_init(|| client))
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
        self.reach.check(&url).map_err(CourierError::Address)?;
        let answer = self
            .client()?
            .post(url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(SIGNATURE, self.sign(parcel).await?)
            .header(DELIVERY, &parcel.id)
            .body(parcel.body.clone())
            .send()
            .await
            .map_err(no_answer)?;
        match answer.status() {
            StatusCode::GONE => Ok(Receipt::Unwanted),
            status if status.is_success() => Ok(Receipt::Taken(status.as_u16())),
            status => Err(CourierError::Refused(status.as_u16())),
        }
    }
}

/// The URL may hold a token of its owner's in its path: it is in no error.
fn no_answer(error: reqwest::Error) -> CourierError {
    let error: Box<dyn Error + Send + Sync> = error.without_url().into();
    CourierError::Unreachable(error)
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
            .field("reach", &self.reach)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "courier_tests.rs"]
mod tests;
