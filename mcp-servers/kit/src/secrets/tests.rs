//! What is found, and what must not be. The secrets are made up, and put together here so that nobody's
//! scanner takes this file for a leak.

use serde_json::json;

use super::*;

fn redact(text: &str) -> (String, Redactions) {
    let mut redactor = Redactor::default();
    let redacted = redactor.text(text).into_owned();
    (redacted, redactor.finish())
}

fn letters(count: usize) -> String {
    "aB3dE5gH7jK9mN2pQ4sT6vW8xY0z"
        .chars()
        .cycle()
        .take(count)
        .collect()
}

fn secrets() -> Vec<(&'static str, String)> {
    let jwt = format!("eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.{}", letters(43));
    vec![
        ("aws-access-key", format!("AKIA{}", "IOSFODNN7EXAMPLE")),
        ("aws-access-key", format!("ASIA{}", "Y34FZKBOKMUTVV7A")),
        ("github-token", format!("ghp_{}", letters(36))),
        ("github-token", format!("ghs_{}", letters(36))),
        (
            "github-token",
            format!("github_pat_{}_{}", letters(22), letters(59)),
        ),
        ("gitlab-token", format!("glpat-{}", letters(20))),
        (
            "slack-token",
            format!("xoxb-{}-{}", "123456789012", letters(24)),
        ),
        ("slack-token", format!("xapp-1-{}", letters(30))),
        (
            "slack-webhook",
            format!(
                "https://hooks.slack.com/services/T00000000/B00000000/{}",
                letters(24)
            ),
        ),
        ("anthropic-key", format!("sk-ant-api03-{}", letters(90))),
        ("openai-key", format!("sk-proj-{}", letters(60))),
        (
            "openai-key",
            format!("sk-{}T3BlbkFJ{}", letters(20), letters(20)),
        ),
        ("stripe-key", format!("sk_live_{}", letters(24))),
        ("google-key", format!("AIza{}", letters(35))),
        ("package-token", format!("npm_{}", letters(36))),
        (
            "sendgrid-key",
            format!("SG.{}.{}", letters(22), letters(43)),
        ),
        ("vault-token", format!("hvs.{}", letters(24))),
        ("fly-token", format!("fm2_{}", letters(80))),
        ("jwt", jwt),
    ]
}

/// `output-secrets`.
#[test]
fn each_sort_is_taken_out_and_counted_wherever_it_stands() {
    for (name, secret) in secrets() {
        for text in [
            secret.clone(),
            format!("deploy failed: {secret} was refused"),
            format!(r#"{{"k":"{secret}"}}"#),
            format!("k={secret};next"),
            format!("({secret})"),
        ] {
            let (redacted, found) = redact(&text);
            assert!(!redacted.contains(&secret), "{name}: {redacted}");
            assert_eq!(found.iter().collect::<Vec<_>>(), [(name, 1)], "{text}");
            let rest = text.replace(&secret, &note(name));
            assert_eq!(redacted, rest, "only the secret goes");
        }
    }
}

#[test]
fn a_secret_with_invisible_characters_in_it_is_one_all_the_same() {
    let (text, found) = scrub_text("key AK\u{200b}IAIOSF\u{1b}[0mODNN7EXAMPLE end");
    assert_eq!(
        (text.as_str(), found.total()),
        ("key [redacted:aws-access-key] end", 1)
    );
}

#[test]
fn a_password_in_a_url_goes_and_its_address_stays() {
    let (redacted, found) =
        redact("dsn postgres://app:hunter2@db.internal:5432/shop?sslmode=require failed");
    assert_eq!(
        redacted,
        "dsn postgres://app:[redacted:url-password]@db.internal:5432/shop?sslmode=require failed"
    );
    assert_eq!(found.total(), 1);
}

#[test]
fn a_header_with_a_credential_keeps_its_name() {
    for (text, expected) in [
        (
            "Authorization: Basic dXNlcjpodW50ZXIy".to_owned(),
            "Authorization: Basic [redacted:authorization]",
        ),
        (
            format!("x-api-key: {}", letters(32)),
            "x-api-key: [redacted:authorization]",
        ),
        (
            format!("sent `Bearer {}` twice", letters(40)),
            "sent `Bearer [redacted:bearer-token]` twice",
        ),
    ] {
        assert_eq!(redact(&text).0, expected);
    }
}

#[test]
fn a_name_that_says_secret_hides_its_value() {
    for (text, expected) in [
        (
            "DB_PASSWORD=hunter2 retry=3",
            "DB_PASSWORD=[redacted:named-secret] retry=3",
        ),
        (
            "password: hunter22\nuser: app",
            "password: [redacted:named-secret]\nuser: app",
        ),
        (
            r#"{"password":"correct horse"}"#,
            r#"{"password":"[redacted:named-secret]"}"#,
        ),
        (
            r#"{\"client_secret\":\"a1b2c3d4e5f6\"}"#,
            r#"{\"client_secret\":\"[redacted:named-secret]\"}"#,
        ),
        (
            "api_key = 'k3y-0f-s0me-vendor'",
            "api_key = '[redacted:named-secret]'",
        ),
        (
            "aws_secret_access_key=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "aws_secret_access_key=[redacted:named-secret]",
        ),
        (
            "https://x.example/cb?token=9f86d081884c7d65&a=b",
            "https://x.example/cb?token=[redacted:named-secret]&a=b",
        ),
    ] {
        assert_eq!(redact(text).0, expected, "{text}");
    }
}

#[test]
fn a_field_whose_name_says_secret_hides_its_text_and_no_number() {
    let mut redactor = Redactor::default();
    let value = redactor.value(json!({
        "db_password": "hunter2", "max_tokens": 900, "token": "9f86d081884c7d65", "user": "app",
        "token_count": "12345678a", "password": "required",
    }));
    assert_eq!(
        value,
        json!({
            "db_password": "[redacted:named-secret]", "max_tokens": 900, "token": "[redacted:named-secret]",
            "user": "app", "token_count": "12345678a", "password": "required",
        })
    );
    assert_eq!(redactor.finish().total(), 2);
}

fn key() -> String {
    let body: Vec<String> = (0..6).map(|_| letters(64)).collect();
    format!(
        "-----BEGIN {kind} PRIVATE KEY-----\n{}\n-----END {kind} PRIVATE KEY-----",
        body.join("\n"),
        kind = "RSA"
    )
}

#[test]
fn a_private_key_goes_whole_and_what_follows_stays() {
    let text = format!("loaded {} for checkout", key());
    assert_eq!(
        redact(&text).0,
        "loaded [redacted:private-key] for checkout"
    );
    let cut = &text[..text.len() / 2];
    assert_eq!(redact(cut).0, "loaded [redacted:private-key]");
}

#[test]
fn a_private_key_that_is_spread_over_log_lines_goes_whole() {
    let lines: Vec<Value> = key()
        .lines()
        .map(|line| json!({ "at": "2026-03-01T10:00:00Z", "service": "checkout", "line": line }))
        .chain([
            json!({ "at": "2026-03-01T10:00:01Z", "service": "checkout", "line": letters(40) }),
        ])
        .collect();
    let mut redactor = Redactor::default();
    let Value::Array(shown) = redactor.value(Value::Array(lines)) else {
        panic!("a list stays one");
    };
    let (last, of_the_key) = shown.split_last().unwrap();
    for line in of_the_key {
        assert!(!line["line"].as_str().unwrap().contains("aB3dE5"), "{line}");
        assert_eq!(line["service"], "checkout");
    }
    assert_eq!(last["line"], json!(letters(40)), "the key has ended");
}

#[test]
fn what_only_looks_random_stays() {
    for text in [
        "trace_id=4bf92f3577b34da6a3ce929d0e0e4736 span_id=00f067aa0ba902b7",
        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "commit 9fceb02d0ae598e95dc970b74767f19372d61af8 by app",
        "image sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "request 018f4e1c-7b3a-7d2e-9c41-0a5b6c7d8e9f took 12 ms",
        "etag: \"5d41402abc4b2a76b9719d911017c592\"",
        "x-request-id: 01HQZX3V9K7M2N4P6R8T0WYABC",
        "integrity sha512-9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08aa==",
        "ip-10-0-12-34.eu-west-1.compute.internal:8443 refused",
        "partition_key=orders-2026-03-01 idempotency_key=018f4e1c-7b3a-7d2e-9c41",
        "tokens_used=51234 max_tokens=4096 token_count: 12345678",
        "password: required, token: invalid, secret missing",
        "password=<redacted> token=$TOKEN api_key=${API_KEY} secret=****** pwd=%s",
        "the token expired; Bearer authentication is required by the upstream gateway",
        "let token = parse_token(input)?; password: String, api_key: Option<String>,",
        "self.secret = os.environ[\"CHECKOUT_SECRET\"]",
        "let secret = config.secret_v2();",
        "func (c *Client) Token() string { return c.token }",
        "GET http://checkout:8080/cart@v2 200",
        "mailto:app@example.com and http://user@example.com/",
        "task-risk-skill-desk-task-sk-1234",
        "AKIAshort and ghp_short and eyJ.not.one",
        "xoxb is a prefix, sk-ant is one as well",
        "feature flag token.rotation.enabled=true",
        "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUF\n-----END CERTIFICATE-----",
        "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----",
        "next_token=AAAAbbbb1111 page_token=eee222fff333",
    ] {
        let (redacted, found) = redact(text);
        assert_eq!(redacted, text, "{found:?}");
    }
}

#[test]
fn what_was_redacted_is_not_redacted_again() {
    let mut all: Vec<String> = secrets().into_iter().map(|(_, secret)| secret).collect();
    all.push(key());
    all.push("password=hunter2 and token: \"9f86d081884c7d65\" and a://b:c@d".to_owned());
    all.push("Authorization: Bearer 9f86d081884c7d659f86d081884c7d65".to_owned());
    for text in all {
        let (once, found) = redact(&text);
        assert!(found.total() > 0, "{text}");
        let (twice, found) = redact(&once);
        assert_eq!((twice, found.total()), (once, 0));
    }
}

/// A text made to be hard to read is read in time that grows with its length and no faster.
#[test]
fn a_hostile_text_ends() {
    for piece in [
        "-----BEGIN PRIVATE KEY-----",
        "password=",
        "eyJa.",
        "a://b:",
        "sk-ant-",
        "token\":\"",
        "ghp_a",
    ] {
        let text = piece.repeat(64 * 1024 / piece.len());
        let (redacted, _) = redact(&text);
        assert!(redacted.len() <= text.len() * 4, "{piece}");
    }
}
