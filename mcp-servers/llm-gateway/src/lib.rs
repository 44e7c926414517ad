//! The gateway between agents and language models, and the analyst: a model that needs no key.
//!
//! Inside it speaks the Anthropic Messages API. A run token comes in, a provider's key goes out; what
//! could leave the sandbox through the provider is refused here.

pub mod analyst;
pub mod config;
pub mod gateway;
pub mod provider;
pub mod tokens;
