//! Ministack: where it is, and where its SQS is known to differ from AWS's.

/// The version that the list below is about.
#[expect(dead_code, reason = "read by people, and compared by ./dev")]
pub(crate) const VERSION: &str = "1.5.33";

/// The checks that it fails, and how.
pub(crate) const DIVERGENCES: &[(&str, &str)] = &[];

/// Where it listens.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the suite's whole configuration"
)]
pub(crate) fn url() -> String {
    std::env::var("NIGHTSHIFT_MINISTACK_URL")
        .expect("NIGHTSHIFT_MINISTACK_URL: start it with ./dev test --ministack")
}
