//! `AssumeRoleWithWebIdentity`: a token for short credentials. The call is not signed; the token is what proves.

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::{AwsSecrets, Keys, answer, refusal};
use crate::{Code, Reader, SecretError};

/// The shortest session that STS gives, in seconds. Ours is used once, at once.
const SESSION_SECONDS: u32 = 900;

impl AwsSecrets {
    /// Credentials for one secret of the reader's tenant.
    pub(super) async fn assume(
        &self,
        reader: Reader,
        token: &SecretString,
        policy: &str,
    ) -> Result<Keys, SecretError> {
        let form = [
            ("Action", "AssumeRoleWithWebIdentity"),
            ("Version", "2011-06-15"),
            ("RoleArn", &self.place.role),
            // The run, so that every use in CloudTrail leads to an investigation.
            ("RoleSessionName", &reader.run.to_string()),
            ("WebIdentityToken", token.expose_secret()),
            ("Policy", policy),
            ("DurationSeconds", &SESSION_SECONDS.to_string()),
        ];
        let request = self
            .http
            .post(self.place.sts.clone())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(encoded(&form));
        let (status, body) = answer(request).await?;
        let body = Zeroizing::new(body);
        let text = std::str::from_utf8(&body).map_err(|_| unreadable())?;
        if status != 200 {
            return Err(refusal(status, element(text, "Code").unwrap_or_default()));
        }
        let given = element(text, "Credentials").ok_or_else(unreadable)?;
        let part = |name| element(given, name).ok_or_else(unreadable);
        Ok(Keys {
            id: part("AccessKeyId")?.to_owned(),
            secret: part("SecretAccessKey")?.into(),
            session: part("SessionToken")?.into(),
        })
    }
}

fn unreadable() -> SecretError {
    SecretError::Unavailable(Code::of("UnreadableAnswer"))
}

/// What stands in the first element of this name. What we read of STS holds neither attributes nor entities;
/// where one does, we do not read it.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (inner, _) = rest.split_once(&format!("</{name}>"))?;
    (!inner.contains('&')).then(|| inner.trim())
}

fn encoded(form: &[(&str, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in form {
        if !body.is_empty() {
            body.push(b'&');
        }
        body.extend_from_slice(name.as_bytes());
        body.push(b'=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                body.push(byte);
            } else {
                body.extend_from_slice(format!("%{byte:02X}").as_bytes());
            }
        }
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_is_read_whole_and_an_odd_one_not_at_all() {
        let text = "<A><Credentials><AccessKeyId>ASIA1</AccessKeyId></Credentials></A>";
        let given = element(text, "Credentials").unwrap();
        assert_eq!(element(given, "AccessKeyId"), Some("ASIA1"));
        assert_eq!(element(given, "SessionToken"), None);
        assert_eq!(element("<Code>a&amp;b</Code>", "Code"), None);
        assert_eq!(element("<Code>cut", "Code"), None);
    }

    #[test]
    fn a_form_carries_every_byte_unchanged() {
        let body = encoded(&[("A", "b c&d=e+/é"), ("F", "")]);
        assert_eq!(body, b"A=b%20c%26d%3De%2B%2F%C3%A9&F=");
    }
}
