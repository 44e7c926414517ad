//! What crosses a process: steps, attestation, run tokens and the proofs that go with them, the brief,
//! the casebook's internal API, the tools and the model's messages. Types only; whoever sends and
//! whoever receives share them.

pub mod attestation;
pub mod brief;
pub mod messages;
pub mod proof;
pub mod run;
pub mod run_token;
pub mod step;
pub mod tools;
pub mod trace;
pub mod web_identity;

pub use brief::Brief;
pub use run_token::RunClaims;
pub use step::{Envelope, Step};
pub use trace::Trace;
