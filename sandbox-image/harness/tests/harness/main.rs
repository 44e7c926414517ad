//! The harness against a model, servers and a supervisor's socket that insist on their protocols.

mod cases;
mod compaction;
mod fakes;
mod followup;
mod killed;
mod model_fake;
mod tools_fake;
mod world;
