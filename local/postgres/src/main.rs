//! `nightshift-postgres start|stop|url|bin`: the private cluster, for scripts.
#![expect(clippy::print_stdout, reason = "a command answers on stdout")]
#![expect(clippy::print_stderr, reason = "a command complains on stderr")]

use std::{path::Path, process::ExitCode};

use nightshift_postgres::{Cluster, PostgresError};

const USAGE: &str = "\
usage: nightshift-postgres ACTION LOCAL [NAME]

  start   start the private cluster unless it runs, and print its URL
  stop    stop it
  url     print its URL if it runs, and fail if it does not
  bin     print the folder of PostgreSQL's programs

LOCAL is the checkout's .local folder; NAME is the cluster, `pg` unless given.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (action, local, name) = match arguments.as_slice() {
        [action, local] => (action.as_str(), local, "pg"),
        [action, local, name] => (action.as_str(), local, name.as_str()),
        _ => ("", &String::new(), ""),
    };
    match run(action, Path::new(local), name) {
        Ok(Some(answer)) => {
            println!("{answer}");
            ExitCode::SUCCESS
        }
        Ok(None) => ExitCode::FAILURE,
        Err(Refusal::Usage) => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
        Err(Refusal::Postgres(error)) => {
            eprintln!("nightshift-postgres: {error}");
            ExitCode::FAILURE
        }
    }
}

enum Refusal {
    Usage,
    Postgres(PostgresError),
}

impl From<PostgresError> for Refusal {
    fn from(error: PostgresError) -> Self {
        Self::Postgres(error)
    }
}

fn run(action: &str, local: &Path, name: &str) -> Result<Option<String>, Refusal> {
    match action {
        "start" => Ok(Some(Cluster::locate(local, name)?.start()?.url)),
        "stop" => {
            Cluster::locate(local, name)?.stop()?;
            Ok(Some("stopped".to_owned()))
        }
        "url" => Ok(Cluster::locate(local, name)?.url()?),
        "bin" => {
            let binaries = nightshift_postgres::Binaries::find()?;
            Ok(Some(binaries.folder().display().to_string()))
        }
        _ => Err(Refusal::Usage),
    }
}
