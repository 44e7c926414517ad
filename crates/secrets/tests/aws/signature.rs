//! Our signature against AWS's published ones.

use nightshift_secrets::aws::{Keys, sign};

/// `post-sts-header-before` of AWS's signing test suite.
#[test]
fn a_post_with_a_session_token_is_signed_as_aws_publishes_it() {
    let session = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflf\
                   KD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd\
                   8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3i\
                   SIlTJabIQwj2ICCR/oLxBA==";
    let keys = Keys {
        id: "AKIDEXAMPLE".to_owned(),
        secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
        session: session.into(),
    };
    let now = "2015-08-30T12:36:00Z".parse().unwrap();
    let signed = sign(
        &keys,
        ("us-east-1", "service"),
        "example.amazonaws.com",
        &[],
        b"",
        now,
    );
    assert_eq!(signed.date, "20150830T123600Z");
    assert_eq!(
        signed.authorization,
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
         SignedHeaders=host;x-amz-date;x-amz-security-token, \
         Signature=85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"
    );
    assert!(!format!("{keys:?}").contains("wJalr"));
}
