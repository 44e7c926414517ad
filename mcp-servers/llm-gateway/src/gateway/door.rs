//! Before the gate: one token however it is sent. After it: refusals in the provider's shape.

use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{AUTHORIZATION, WWW_AUTHENTICATE},
};
use nightshift_controls::{Control, holds};
use nightshift_protocol::proof::TOKEN_SCHEME;

use super::refusal::Refusal;

const API_KEY: &str = "x-api-key";

/// Clients of the provider send the token as `x-api-key`, in `Authorization`, or as both. Both must be
/// the same; the gate then sees one, and the proof that it wants beside it.
pub(crate) async fn one_token(mut request: Request, next: Next) -> Response {
    if merge(request.headers_mut()).is_err() {
        return Refusal::Token.into_response();
    }
    next.run(request).await
}

struct TwoTokens;

fn merge(headers: &mut HeaderMap) -> Result<(), TwoTokens> {
    let mut keys = headers.get_all(API_KEY).iter();
    let key = match (keys.next(), keys.next()) {
        (None, _) => return Ok(()),
        (Some(key), None) => key.to_str().map_err(|_| TwoTokens)?.to_owned(),
        (Some(_), Some(_)) => return Err(TwoTokens),
    };
    let bound = format!("{TOKEN_SCHEME} {key}");
    let given: Vec<&HeaderValue> = headers.get_all(AUTHORIZATION).iter().collect();
    // Neither value is ours to keep secret from their sender, so a plain comparison does.
    let same = given.iter().all(|value| {
        value
            .to_str()
            .ok()
            .and_then(|text| text.split_once(' '))
            .is_some_and(|(scheme, token)| {
                scheme.eq_ignore_ascii_case(TOKEN_SCHEME) && token == key
            })
    });
    if (given.len() > 1 || !same) && holds(Control::OneToken) {
        return Err(TwoTokens);
    }
    let mut value = HeaderValue::try_from(bound).map_err(|_| TwoTokens)?;
    value.set_sensitive(true);
    headers.insert(AUTHORIZATION, value);
    headers.remove(API_KEY);
    Ok(())
}

/// Marks an answer that a provider gave, whatever its status.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FromProvider;

/// The gate speaks for itself; here its refusals are put in the shape that clients of the API read.
pub(crate) async fn in_their_shape(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if response.extensions().get::<FromProvider>().is_some() {
        return response;
    }
    match response.status() {
        StatusCode::UNAUTHORIZED => {
            let challenge = response.headers().get(WWW_AUTHENTICATE).cloned();
            let mut refusal = Refusal::Token.into_response();
            if let Some(challenge) = challenge {
                refusal.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            }
            refusal
        }
        StatusCode::SERVICE_UNAVAILABLE => Refusal::Unavailable.into_response(),
        _ => response,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(bearer: Option<&str>, key: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(bearer) = bearer {
            headers.insert(AUTHORIZATION, HeaderValue::try_from(bearer).unwrap());
        }
        if let Some(key) = key {
            headers.insert(API_KEY, HeaderValue::try_from(key).unwrap());
        }
        headers
    }

    #[test]
    fn either_header_carries_the_token_and_both_must_agree() {
        for (bearer, key) in [
            (Some("DPoP abc"), None),
            (None, Some("abc")),
            (Some("dpop abc"), Some("abc")),
        ] {
            let mut headers = headers(bearer, key);
            assert!(merge(&mut headers).is_ok());
            let value = headers[AUTHORIZATION].to_str().unwrap();
            assert_eq!(value.to_lowercase(), "dpop abc");
            assert!(!headers.contains_key(API_KEY));
        }
        let mut differ = headers(Some("DPoP abc"), Some("abd"));
        assert!(merge(&mut differ).is_err());
        let mut other_scheme = headers(Some("Basic abc"), Some("abc"));
        assert!(merge(&mut other_scheme).is_err());
    }
}
