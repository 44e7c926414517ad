//! AWS as the tests of `crates/secrets` have it, policies and all, believing an issuer that is not theirs.

#[path = "../../../crates/secrets/tests/aws/cloud.rs"]
pub(crate) mod cloud;
#[path = "../../../crates/secrets/tests/aws/iam.rs"]
pub(crate) mod iam;
#[path = "../../../crates/secrets/tests/aws/policies.rs"]
pub(crate) mod policies;

/// What the stand-ins know of an issuer.
pub(crate) mod issuer {
    /// The time of their world, in seconds.
    pub(crate) const NOW: i64 = 1_790_000_000;
    /// The claim that session tags come in.
    pub(crate) const TAGS: &str = "https://aws.amazon.com/tags";
}
