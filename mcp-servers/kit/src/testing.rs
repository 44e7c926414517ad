//! What a server's own tests need: tokens by a test key, a strict fake of the casebook, and the
//! checks that every server must pass.
#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "test support says what broke by ending the test"
)]

mod fake_casebook;
mod holder;
mod issuer;
mod server;

pub use fake_casebook::FakeCasebook;
pub use holder::{Holder, proof_claims};
pub use issuer::{ISSUER, Issuer, encode, unsigned};
pub use server::{Answer, TestServer};
