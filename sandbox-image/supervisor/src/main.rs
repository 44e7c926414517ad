//! The sandbox's entrypoint. `supervisor` runs one start of the sandbox; `supervisor exec-as` is how
//! it becomes harness and shell.

use std::process::ExitCode;

use nightshift_supervisor::{entry, steps::Steps};

fn main() -> ExitCode {
    entry::main(std::env::args_os().skip(1), Steps::NONE)
}
