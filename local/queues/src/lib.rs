//! SQS on one machine, strict: whatever AWS refuses is refused here.
//!
//! The queues are plain state that takes the time as an argument ([`Account`]); an HTTP server
//! puts the AWS JSON protocol in front of them.

// The queues: no I/O, deterministic.
// mod account;

// The queues over HTTP.

// Lambda: the Runtime API host, the event source mapping and the HTTP front.
