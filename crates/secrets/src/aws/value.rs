//! `GetSecretValue`, signed with the session's credentials.

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::{AwsSecrets, Keys, answer, refusal, sign};
use crate::{Code, Credential, SecretError};

#[derive(Deserialize)]
struct Refused {
    #[serde(rename = "__type")]
    kind: String,
}

#[derive(Deserialize)]
struct Given {
    #[serde(rename = "SecretString")]
    text: Option<String>,
}

impl AwsSecrets {
    /// What a secret says now.
    pub(super) async fn value(&self, secret: &str, keys: &Keys) -> Result<Credential, SecretError> {
        let unsaid = || SecretError::Unavailable(Code::of("UnreadableAnswer"));
        let body = json!({"SecretId": secret, "VersionStage": "AWSCURRENT"}).to_string();
        let headers = [
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", "secretsmanager.GetSecretValue"),
        ];
        let place = &self.place;
        let host = authority(&place.secrets_manager).ok_or_else(unsaid)?;
        let scope = (place.region.as_str(), "secretsmanager");
        let signature = sign(
            keys,
            scope,
            &host,
            &headers,
            body.as_bytes(),
            self.clock.now(),
        );
        let mut request = self.http.post(place.secrets_manager.clone());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request
            .header("x-amz-date", signature.date)
            .header(
                "x-amz-security-token",
                sensitive(keys.session.expose_secret())?,
            )
            .header("authorization", sensitive(&signature.authorization)?)
            .body(body);
        let (status, body) = answer(request).await?;
        let body = Zeroizing::new(body);
        if status != 200 {
            let refused: Option<Refused> = serde_json::from_slice(&body).ok();
            let kind = refused.map(|refused| refused.kind).unwrap_or_default();
            // `com.amazonaws.secretsmanager#AccessDeniedException` and the bare name both occur.
            return Err(refusal(status, kind.rsplit('#').next().unwrap_or_default()));
        }
        let given: Given = serde_json::from_slice(&body).map_err(|_| unsaid())?;
        // A binary secret is none of ours.
        let text = given.text.ok_or(SecretError::Unknown)?;
        Ok(Credential::new(SecretString::from(text)))
    }
}

/// The `Host` that is sent and signed.
fn authority(url: &reqwest::Url) -> Option<String> {
    let host = url.host_str()?;
    Some(
        url.port()
            .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")),
    )
}

fn sensitive(text: &str) -> Result<HeaderValue, SecretError> {
    let value = HeaderValue::from_str(text);
    let mut value = value.map_err(|_| SecretError::Unavailable(Code::of("UnreadableAnswer")))?;
    value.set_sensitive(true);
    Ok(value)
}
