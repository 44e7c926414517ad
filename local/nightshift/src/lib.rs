//! The command-line program: the whole stack on one machine, the demo, and a few looks at both.
//!
//! Every error here ends in front of a person, so `anyhow` carries it there with its causes.

pub mod checkout;
pub mod demo;
pub mod percentiles;
pub mod render;
pub mod stack_file;
pub mod webhook;
