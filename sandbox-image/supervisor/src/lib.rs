//! The first process of a sandbox. It proves to the control plane which machine it is, keeps the
//! run tokens in its own memory, and runs the harness and the agent's shell without them.

pub mod cgroups;
pub mod children;
pub mod config;
pub mod confine;
pub mod deadline;
pub mod descendants;
pub mod entry;
pub mod exec_as;
pub mod exit;
pub mod forward;
pub mod harden;
pub mod hardening;
pub mod harness;
pub mod http_client;
pub mod identity;
pub mod key;
pub mod limits;
pub mod logging;
pub mod output;
pub mod peer;
pub mod proxy;
pub mod renewal;
pub mod repeat;
pub mod retry;
pub mod run;
pub mod scratch;
pub mod selfcheck;
pub mod session;
pub mod shell;
pub mod steps;
pub mod tokens;
pub mod usage;
pub mod volume;
