//! A credential that goes to one origin. The value cannot be read back, copied or shown.

use nightshift_controls::{Control, holds};
use std::fmt;

use http::{HeaderName, HeaderValue, header::AUTHORIZATION};
use reqwest::{RequestBuilder, Url};
use secrecy::{ExposeSecret, SecretString};

/// Scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

impl Origin {
    /// The origin of a URL; `None` where it has no host.
    #[must_use]
    pub fn of(url: &Url) -> Option<Self> {
        Some(Self {
            scheme: url.scheme().to_owned(),
            host: url.host_str()?.to_ascii_lowercase(),
            port: url.port_or_known_default()?,
        })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.scheme, self.host, self.port)
    }
}

/// A credential in one header, for one origin.
///
/// Control: `credential-origin`. Only a request to that origin can be made to carry it, and nothing but a
/// request can take it.
pub struct Credential {
    origin: Origin,
    header: HeaderName,
    value: HeaderValue,
}

/// The credential cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnusableCredential {
    /// Some of its characters have no place in a header.
    #[error("the credential holds characters that a header cannot carry")]
    Characters,
    /// The URL has no host to bind it to.
    #[error("the credential's address has no host")]
    NoHost,
}

/// The request goes to another origin than the credential's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the credential is for {bound} and not for {asked}")]
pub struct Elsewhere {
    /// Where it may go.
    pub bound: String,
    /// Where it was asked to go.
    pub asked: String,
}

impl Credential {
    /// A bearer token for the origin of `home`.
    pub fn bearer(home: &Url, token: &SecretString) -> Result<Self, UnusableCredential> {
        let value = SecretString::from(format!("Bearer {}", token.expose_secret()));
        Self::header(home, AUTHORIZATION, &value)
    }

    /// A header of this name for the origin of `home`.
    pub fn header(
        home: &Url,
        name: HeaderName,
        value: &SecretString,
    ) -> Result<Self, UnusableCredential> {
        let mut value = HeaderValue::try_from(value.expose_secret())
            .map_err(|_| UnusableCredential::Characters)?;
        value.set_sensitive(true);
        Ok(Self {
            origin: Origin::of(home).ok_or(UnusableCredential::NoHost)?,
            header: name,
            value,
        })
    }

    /// Where it may go.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(crate) fn put(
        &self,
        request: RequestBuilder,
        to: &Origin,
    ) -> Result<RequestBuilder, Elsewhere> {
        if *to != self.origin && holds(Control::CredentialOrigin) {
            return Err(Elsewhere {
                bound: self.origin.to_string(),
                asked: to.to_string(),
            });
        }
        Ok(request.header(self.header.clone(), self.value.clone()))
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("origin", &self.origin)
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}
