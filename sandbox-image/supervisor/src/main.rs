//! The sandbox's entrypoint. `supervisor` runs one start of the sandbox; `supervisor exec-as` is how
//! it becomes harness and shell.

use std::process::ExitCode;

use nightshift_supervisor::{
    config::Config,
    exec_as::{Become, EXIT_CODE},
    exit::Failure,
    harden, logging, run,
};

fn main() -> ExitCode {
    harden::harden();
    logging::start();
    let mut arguments = std::env::args_os().skip(1).peekable();
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
    match start() {
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

fn start() -> Result<u8, Failure> {
    let config = Config::from_env().map_err(Failure::Configuration)?;
    harden::verify(&config.accepted)?;
    close_fds::set_fds_cloexec(3, &[]);
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Failure::Process {
            what: "start the runtime",
            source,
        })?
        .block_on(run::run(&config))
}
