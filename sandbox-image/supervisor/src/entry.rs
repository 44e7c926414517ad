//! What the program does, from its first line: one start of the sandbox, or `exec-as`.

use std::{ffi::OsString, process::ExitCode};

use crate::{
    config::Config,
    exec_as::{Become, EXIT_CODE},
    exit::Failure,
    harden,
    hardening::Hardening,
    logging, run,
    steps::{Step, Steps},
};

/// Runs the program. `leave_out` names steps that are not even tried; the program of the image passes none,
/// and nothing from outside can make it.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>, leave_out: Steps) -> ExitCode {
    harden::harden(&leave_out);
    logging::start();
    let mut arguments = arguments.into_iter().peekable();
    if arguments.next_if(|first| first == "exec-as").is_some() {
        let failed = match Become::parse(arguments) {
            Ok(other) => other.run(),
            Err(error) => error,
        };
        tracing::error!(
            error = logging::causes(&failed),
            "Did not give up the privileges"
        );
        return EXIT_CODE.into();
    }
    match start(leave_out) {
        Ok(code) => code.into(),
        Err(failure) => {
            tracing::error!(
                code = failure.code(),
                error = logging::causes(&failure),
                "Ended"
            );
            failure.code().into()
        }
    }
}

fn start(leave_out: Steps) -> Result<u8, Failure> {
    let config = Config::from_env(leave_out).map_err(Failure::Configuration)?;
    let hardening = Hardening::take(&config)?;
    tracing::info!(steps = hardening.told(), "Hardened");
    if hardening.has(Step::CleanStart) {
        close_fds::set_fds_cloexec(3, &[]);
    }
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Failure::Process {
            what: "start the runtime",
            source,
        })?
        .block_on(run::run(&config, hardening))
}
