//! Lambda's event source mapping for SQS on one machine: polls a queue, invokes a function with a batch,
//! and deletes what the function is done with.
//!
//! What is kept of Lambda: the limits of a mapping; on FIFO queues one batch of a group at a time, in
//! order, because the queue holds a group back while some of it is in flight; a batch that fails comes
//! back when its visibility ends and not before; an invocation that is throttled is tried again until
//! then, and has cost its messages one receive. What is not: more pollers as a queue grows, fewer while
//! a function fails, and event filters.

mod poll;
mod record;
mod settings;
mod source;
mod verdict;

pub use poll::run;
pub use record::Received;
pub use settings::{Refused, Settings, SourceFacts};
pub use source::{Polled, Source};
