//! `shop`: one program that is each of the shop's processes, and the recorder of its incidents.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use nightshift_shop::{
    acmepay, checkout, frontend, inventory, load, payment, recommendation,
    recorder::{self, Pace, live, scenario::SCENARIOS},
    release,
    settings::Settings,
    wire,
};
use rustix::process::{Signal, set_parent_process_death_signal};

#[derive(Parser)]
#[command(about = "A small real shop to break, and the recorder of its incidents")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Pages for customers.
    Frontend(Settings),
    /// Carts become orders.
    Checkout(Settings),
    /// Payments through the provider.
    Payment(Settings),
    /// Products and stock.
    Inventory(Settings),
    /// What else one might like.
    Recommendation(Settings),
    /// The outside card provider.
    Acmepay(Settings),
    /// Customers.
    Load(load::LoadSettings),
    /// The network between inventory and its database.
    Wire(wire::WireSettings),
    /// Runs the shop through an incident and writes the recording.
    Record {
        /// Which incident.
        #[arg(required_unless_present = "list")]
        name: Option<String>,
        /// Where recordings are put, each in a directory of its name.
        #[arg(long, default_value = "local/shop/recordings")]
        out: PathBuf,
        /// Where the expected answer is put; nowhere without it.
        #[arg(long)]
        expected: Option<PathBuf>,
        /// In a tenth of the time: to see whether it works, not to keep.
        #[arg(long)]
        quick: bool,
        /// Prints the incidents' names.
        #[arg(long)]
        list: bool,
    },
    /// Runs the whole shop until Ctrl-C.
    Up {
        /// Where its database and telemetry live.
        #[arg(long)]
        dir: PathBuf,
    },
    /// Switches a fault of a shop that is up.
    Fault {
        /// `on` or `off`.
        #[arg(value_parser = ["on", "off"])]
        switch: String,
        /// Which incident.
        name: String,
        /// Where the shop lives.
        #[arg(long)]
        dir: PathBuf,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let command = Arguments::parse().command;
    if !matches!(
        command,
        Command::Record { .. } | Command::Up { .. } | Command::Fault { .. }
    ) {
        // A part of the shop does not outlive the shop.
        set_parent_process_death_signal(Some(Signal::TERM))?;
    }
    match command {
        Command::Frontend(settings) => frontend::run(deployed(settings)).await,
        Command::Checkout(settings) => checkout::run(deployed(settings)).await,
        Command::Payment(settings) => payment::run(deployed(settings)).await,
        Command::Inventory(settings) => inventory::run(deployed(settings)).await,
        Command::Recommendation(settings) => recommendation::run(deployed(settings)).await,
        Command::Acmepay(settings) => acmepay::run(settings).await,
        Command::Load(settings) => load::run(settings).await,
        Command::Wire(settings) => wire::run(settings).await,
        Command::Record {
            name,
            out,
            expected,
            quick,
            list,
        } => {
            let name = name.filter(|_| !list).unwrap_or_default();
            if list {
                print_names();
                return Ok(());
            }
            let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name);
            let Some(scenario) = scenario else {
                anyhow::bail!("no incident {name}: `shop record --list` names them");
            };
            let pace = if quick { Pace::QUICK } else { Pace::REAL };
            recorder::record(scenario, &out, expected.as_deref(), pace).await
        }
        Command::Up { dir } => live::up(&dir).await,
        Command::Fault { switch, name, dir } => live::fault(&dir, &name, switch == "on").await,
    }
}

fn deployed(settings: Settings) -> Settings {
    release::deploy(&settings.sources);
    settings
}

#[expect(clippy::print_stdout, reason = "the names are the command's output")]
fn print_names() {
    for scenario in SCENARIOS {
        println!("{}", scenario.name);
    }
}
