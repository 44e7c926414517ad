//! Whether a request is signed (AWS Signature Version 4). The form is checked, not the secret: there
//! is none here.

use http::HeaderMap;

use crate::refusal::{Code, Refusal};

/// Refuses a request that carries no well-formed signature for SQS.
pub(super) fn check(headers: &HeaderMap) -> Result<(), Refusal> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(authorization) = text("authorization") else {
        return Err(
            Code::MissingAuthenticationToken.because("Request is missing Authentication Token")
        );
    };
    let incomplete = |what: &str| {
        Code::IncompleteSignature.because(format!("Authorization header requires {what}."))
    };
    let rest = authorization
        .strip_prefix("AWS4-HMAC-SHA256 ")
        .ok_or_else(|| incomplete("the algorithm AWS4-HMAC-SHA256"))?;
    let part = |name: &str| {
        rest.split(',')
            .find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='))
            .filter(|value| !value.is_empty())
            .ok_or_else(|| incomplete(&format!("'{name}' parameter")))
    };
    let (credential, signed, signature) = (
        part("Credential")?,
        part("SignedHeaders")?,
        part("Signature")?,
    );
    if signature.len() != 64 || !signature.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(incomplete("a signature of 64 hexadecimal digits"));
    }
    let names: Vec<_> = signed.split(';').collect();
    if !["host", "x-amz-date"]
        .iter()
        .all(|name| names.contains(name))
    {
        return Err(incomplete(
            "'host' and 'x-amz-date' among the signed headers",
        ));
    }
    let date = text("x-amz-date").ok_or_else(|| incomplete("an 'X-Amz-Date' header"))?;
    check_scope(credential, date)
}

/// A credential is `KEY/20261122/REGION/sqs/aws4_request`.
fn check_scope(credential: &str, date: &str) -> Result<(), Refusal> {
    let mismatch = |what: &str| {
        Code::SignatureDoesNotMatch.because(format!("Credential should be scoped to {what}."))
    };
    let parts: Vec<_> = credential.split('/').collect();
    let [key, day, region, service, end] = parts.as_slice() else {
        return Err(Code::IncompleteSignature
            .because("Credential must have exactly 5 slash-delimited elements."));
    };
    if key.is_empty() || region.is_empty() {
        return Err(Code::IncompleteSignature.because("Credential must name a key and a region."));
    }
    if *service != "sqs" || *end != "aws4_request" {
        return Err(mismatch("correct service: 'sqs'"));
    }
    let is_day = day.len() == 8 && day.bytes().all(|byte| byte.is_ascii_digit());
    if !is_day || !date.starts_with(day) {
        return Err(mismatch("the date of the request"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::check;
    use crate::refusal::Code;

    fn signed(credential: &str, headers: &str) -> HeaderMap {
        let value = format!(
            "AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={headers}, Signature={}",
            "a".repeat(64)
        );
        let mut map = HeaderMap::new();
        map.insert("authorization", HeaderValue::from_str(&value).unwrap());
        map.insert("x-amz-date", HeaderValue::from_static("20261122T070000Z"));
        map
    }

    const SCOPE: &str = "AKIDEXAMPLE/20261122/eu-west-1/sqs/aws4_request";

    #[test]
    fn a_request_signed_for_sqs_on_its_day_passes() {
        assert!(check(&signed(SCOPE, "content-type;host;x-amz-date")).is_ok());
    }

    #[test]
    fn an_unsigned_request_and_signatures_for_others_are_refused() {
        let code = |headers: &HeaderMap| check(headers).unwrap_err().code;
        assert_eq!(code(&HeaderMap::new()), Code::MissingAuthenticationToken);
        assert_eq!(
            code(&signed(SCOPE, "content-type")),
            Code::IncompleteSignature
        );
        assert_eq!(
            code(&signed("AKID/20261122/eu-west-1/sqs", "host;x-amz-date")),
            Code::IncompleteSignature
        );
        let other_service = SCOPE.replace("sqs", "s3");
        assert_eq!(
            code(&signed(&other_service, "host;x-amz-date")),
            Code::SignatureDoesNotMatch
        );
        let other_day = SCOPE.replace("20261122", "20261121");
        assert_eq!(
            code(&signed(&other_day, "host;x-amz-date")),
            Code::SignatureDoesNotMatch
        );
    }
}
