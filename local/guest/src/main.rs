//! `init` of a sandbox's virtual machine.

use std::process::ExitCode;

fn main() -> ExitCode {
    nightshift_guest::init::main()
}
