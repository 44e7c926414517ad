//! The gateway between agents and language models, and the analyst: a model that needs no key.

pub mod analyst;
pub mod tokens;
