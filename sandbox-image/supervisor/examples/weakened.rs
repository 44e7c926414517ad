//! The supervisor without some of its steps, for tests that show what each of them is good for. It is in no
//! image: images are made from `supervisor`, which takes no such argument.

use std::process::ExitCode;

use nightshift_supervisor::{entry, steps::Steps};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).peekable();
    let Some(without) = arguments.next_if(|argument| argument != "exec-as") else {
        return entry::main(arguments, Steps::NONE);
    };
    match Steps::parse(&without.to_string_lossy()) {
        Ok(steps) => entry::main(arguments, steps),
        Err(_) => ExitCode::FAILURE,
    }
}
