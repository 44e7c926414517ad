//! Lambda's execution environments on one machine: the real function binaries, started and asked over the
//! Runtime API.
//!
//! What is kept of Lambda: one invocation at a time in an instance, a new instance where none is idle, a
//! reserved concurrency above which callers are refused, a clean environment, ten seconds to get ready and
//! one more try within the invocation, `kill -9` at the timeout, and the freeze: a function that answered
//! and asked for more work does not run at all until there is some.

mod api;
mod deploy;
mod failure;
mod host;
mod instance;
mod invoke;
mod nursery;
mod tail;

pub use deploy::{Function, Owner};
pub use failure::{FunctionError, InvokeError};
pub use host::Host;
pub use invoke::Invoke;
