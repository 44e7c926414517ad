//! The command line, and what each command does.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use nightshift_domain::InvestigationId;
use nightshift_postgres::Cluster;

use crate::{
    answer, bench,
    checkout::Checkout,
    demo::{self, Demo, recordings},
    keys::Keys,
    listing, say,
    session::Session,
    up::{self, Elsewhere, Functions, Size},
    zips,
};

/// Nightshift on one machine: the stack, the demo, and looks at both.
#[derive(Debug, Parser)]
#[command(name = "nightshift", version)]
pub struct Cli {
    /// The checkout; found from where this program lies unless given.
    #[arg(long, global = true)]
    root: Option<PathBuf>,
    /// The folder of the other programs; this program's own unless given.
    #[arg(long, global = true, value_name = "DIR")]
    profile_dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the whole stack until Ctrl-C.
    Up(Dimensions),
    /// Send a signed alert about a recorded incident, watch the investigation, print the report.
    ///
    /// Ends 0 if the report names the cause that the recording has, else 1.
    Demo {
        /// Which recording; the first unless given.
        #[arg(long)]
        recording: Option<String>,
        /// Print the recordings' names and end.
        #[arg(long)]
        list: bool,
        /// Print one JSON object as the last line instead of the report.
        #[arg(long)]
        json: bool,
        /// Leave the stack up afterwards, until Ctrl-C.
        #[arg(long)]
        keep: bool,
        #[command(flatten)]
        dimensions: Dimensions,
    },
    /// Look at investigations.
    Investigations {
        #[command(subcommand)]
        command: Investigations,
    },
    /// Send alerts.
    Alerts {
        #[command(subcommand)]
        command: Alerts,
    },
    /// Look at sandboxes.
    Sandboxes {
        #[command(subcommand)]
        command: Listing,
    },
    /// Look at steps that were given up, and send them on their way again.
    DeadLetters {
        #[command(subcommand)]
        command: DeadLetters,
    },
    /// Write the functions of this build as the zips that Lambda takes, to `.local/zips`.
    Zips,
    /// Look at the pools and who waits.
    Pool(Json),
    /// Measure.
    Bench {
        #[command(subcommand)]
        command: Bench,
    },
    /// The keys that sign run tokens.
    Keys {
        #[command(subcommand)]
        command: Keys,
    },
    /// The private PostgreSQL of this checkout.
    Postgres {
        #[command(subcommand)]
        command: Postgres,
    },
}

#[derive(Debug, Subcommand)]
enum Investigations {
    /// Newest first.
    List {
        /// Only those in this state.
        #[arg(long)]
        state: Option<String>,
        #[command(flatten)]
        json: Json,
    },
    /// Stages and report of one.
    Show {
        /// Which.
        id: InvestigationId,
        #[command(flatten)]
        json: Json,
    },
    /// Watch one until its report.
    Follow {
        /// Which.
        id: InvestigationId,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Debug, Subcommand)]
enum Alerts {
    /// Sign a body as a sender would, and post it.
    Send {
        /// As which sender: `pagerduty` or `generic`.
        #[arg(long)]
        source: String,
        /// The file that holds the body; `-` is standard input.
        file: PathBuf,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Debug, Subcommand)]
enum Listing {
    /// Newest first.
    List(Json),
}

#[derive(Debug, Subcommand)]
enum DeadLetters {
    /// Newest first.
    List(Json),
    /// Send one, or all, on their way again with all their attempts.
    #[command(group = clap::ArgGroup::new("which").required(true))]
    Redrive {
        /// Which.
        #[arg(group = "which")]
        id: Option<i64>,
        /// Every one that is listed now.
        #[arg(long, group = "which")]
        all: bool,
    },
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// Alert to working agent, one after the other, each with a ready pool.
    Dispatch {
        /// How many.
        #[arg(long, default_value_t = 20)]
        runs: usize,
        #[command(flatten)]
        json: Json,
        #[command(flatten)]
        dimensions: Dimensions,
    },
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Postgres {
    /// Start it unless it runs, and print its URL.
    Start,
    /// Stop it.
    Stop,
    /// Print its URL; ends 1 if it does not run.
    Url,
}

#[derive(Debug, Clone, Copy, Args)]
struct Json {
    /// JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// How large a stack of our own is, and how it runs.
#[derive(Debug, Clone, Args)]
struct Dimensions {
    /// Sandboxes kept ready.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(i32).range(0..=1000))]
    pool: i32,
    /// Sandboxes at once, whatever their state [default: 16 more than are kept ready].
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..=2000))]
    max_sandboxes: Option<i32>,
    /// How long a reported sandbox is kept for follow-up questions, in seconds.
    #[arg(long)]
    rest_seconds: Option<u32>,
    /// Run the control plane as its functions, behind stand-ins for Lambda and SQS.
    #[arg(long)]
    lambda: bool,
    /// How often the functions sweep, in seconds; a schedule on AWS cannot do it more often.
    #[arg(long, requires = "lambda", default_value_t = 60, hide = true)]
    sweep_seconds: u32,
    /// What no invocation of a function may exceed, in seconds: what it leaves undone comes back sooner.
    #[arg(long, requires = "lambda", hide = true,
          value_parser = clap::value_parser!(u32).range(5..))]
    function_seconds: Option<u32>,
    /// Keep the version before in service beside this one, as while a deploy rolls out: its instances tell the
    /// database that they are `nightshift-before`.
    #[arg(long, requires = "lambda", conflicts_with = "aws", hide = true)]
    side_by_side: bool,
    /// Put functions and queues into the stand-in for AWS at this URL instead of into this process.
    #[arg(long, requires = "lambda", value_name = "URL")]
    aws: Option<String>,
    /// The folder of the functions' zips for it; what `zips` wrote unless given.
    #[arg(long, requires = "aws", value_name = "DIR")]
    zips: Option<PathBuf>,
}

/// How long a reported sandbox is kept unless asked otherwise, in seconds.
const REST_SECONDS: u32 = 900;
/// In a benchmark nobody asks afterwards, and what rests would use the machine.
const BENCH_REST_SECONDS: u32 = 1;

impl Dimensions {
    fn size(self, rest_seconds: u32) -> Size {
        Size {
            ready: self.pool,
            most: self.max_sandboxes.unwrap_or(self.pool + 16),
            rest_seconds: self.rest_seconds.unwrap_or(rest_seconds),
            functions: self.lambda.then(|| Functions {
                sweep_every: Duration::from_secs(self.sweep_seconds.into()),
                longest: self
                    .function_seconds
                    .map(|seconds| Duration::from_secs(seconds.into())),
                side_by_side: self.side_by_side,
                elsewhere: self.aws.map(|url| Elsewhere {
                    url,
                    zips: self.zips.unwrap_or_else(|| PathBuf::from(".local/zips")),
                }),
            }),
        }
    }
}

impl Cli {
    /// The checkout that the command is about.
    pub fn checkout(&self) -> Result<Checkout> {
        Checkout::find(self.root.clone(), self.profile_dir.clone())
    }

    /// Does what was asked. `false` ends the process with 1 although nothing broke.
    pub async fn run(self, checkout: Checkout) -> Result<bool> {
        match self.command {
            Command::Up(dimensions) => up::run(&checkout, dimensions.size(REST_SECONDS)).await?,
            Command::Demo {
                list: true, json, ..
            } => names(&checkout, json)?,
            Command::Demo {
                recording,
                json,
                keep,
                dimensions,
                ..
            } => {
                let demo = Demo {
                    recording,
                    json,
                    keep,
                };
                return demo::run(&checkout, &demo, dimensions.size(REST_SECONDS)).await;
            }
            Command::Bench {
                command:
                    Bench::Dispatch {
                        runs,
                        json,
                        dimensions,
                    },
            } => {
                let size = dimensions.size(BENCH_REST_SECONDS);
                bench::dispatch(&checkout, runs, json.json, size).await?;
            }
            Command::Zips => zips::write(&checkout)?,
            Command::Keys { command } => command.run(&checkout)?,
            Command::Postgres { command } => return postgres(&checkout, command),
            Command::Investigations { command } => look(&checkout, command).await?,
            Command::Alerts {
                command: Alerts::Send { source, file, json },
            } => {
                let body = read(&file)?;
                let session = Session::running(&checkout).await?;
                listing::send(&session, &source, body, json.json).await?;
            }
            Command::Sandboxes {
                command: Listing::List(Json { json }),
            } => listing::sandboxes(&Session::running(&checkout).await?.api, json).await?,
            Command::DeadLetters {
                command: DeadLetters::List(Json { json }),
            } => listing::dead_letters(&Session::running(&checkout).await?.api, json).await?,
            Command::DeadLetters {
                command: DeadLetters::Redrive { id, .. },
            } => listing::redrive(&Session::running(&checkout).await?.api, id).await?,
            Command::Pool(Json { json }) => {
                listing::pool(&Session::running(&checkout).await?.api, json).await?;
            }
        }
        Ok(true)
    }
}

async fn look(checkout: &Checkout, command: Investigations) -> Result<()> {
    let api = Session::running(checkout).await?.api;
    match command {
        Investigations::List { state, json } => {
            listing::investigations(&api, state.as_deref(), json.json).await
        }
        Investigations::Show { id, json } => listing::investigation(&api, id, json.json).await,
        Investigations::Follow { id, json } => listing::follow_one(&api, id, json.json).await,
    }
}

fn names(checkout: &Checkout, json: bool) -> Result<()> {
    let names = recordings::names(checkout)?;
    if json {
        answer(&serde_json::to_string(&names)?);
    } else {
        answer(&names.join("\n"));
    }
    Ok(())
}

fn read(file: &std::path::Path) -> Result<Vec<u8>> {
    if file.as_os_str() != "-" {
        return std::fs::read(file).with_context(|| format!("cannot read {}", file.display()));
    }
    let mut body = Vec::new();
    std::io::Read::read_to_end(&mut std::io::stdin(), &mut body)?;
    Ok(body)
}

fn postgres(checkout: &Checkout, command: Postgres) -> Result<bool> {
    let cluster = Cluster::locate(&checkout.local()?, "pg")?;
    match command {
        Postgres::Start => answer(&cluster.start()?.url),
        Postgres::Stop => {
            cluster.stop()?;
            say("PostgreSQL is stopped");
        }
        Postgres::Url => match cluster.url()? {
            Some(url) => answer(&url),
            None => return Ok(false),
        },
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_redrive_is_told_which_one_or_all_of_them() {
        let parses = |line: &str| Cli::try_parse_from(line.split(' ')).is_ok();
        assert!(parses("nightshift dead-letters redrive 7"));
        assert!(parses("nightshift dead-letters redrive --all"));
        assert!(!parses("nightshift dead-letters redrive"));
        assert!(!parses("nightshift dead-letters redrive 7 --all"));
    }

    #[test]
    fn a_key_is_announced_before_it_signs() {
        let parses = |line: &str| Cli::try_parse_from(line.split(' ')).is_ok();
        assert!(parses("nightshift keys rotate"));
        assert!(parses(
            "nightshift keys rotate --file a --kms alias/b --lead-seconds 900"
        ));
        assert!(!parses("nightshift keys rotate --lead-seconds 0"));
    }

    #[test]
    fn the_demo_takes_what_the_script_passes_on() {
        let line = "nightshift --root . demo --recording x --json --keep";
        assert!(Cli::try_parse_from(line.split(' ')).is_ok());
        assert!(Cli::try_parse_from(["nightshift", "demo", "--loud"]).is_err());
    }
}
