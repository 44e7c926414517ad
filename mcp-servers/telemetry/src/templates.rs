//! Groups log lines that differ only in numbers and names (the Drain method: a tree of fixed depth).

mod mask;
mod miner;

pub use mask::{WILDCARD, mask};
pub use miner::{Miner, TemplateId};
