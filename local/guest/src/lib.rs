//! The first process of a virtual machine that stands in for a sandbox, and the channel between it and
//! the host.

#![cfg(target_os = "linux")]

pub mod init;
pub mod wire;
