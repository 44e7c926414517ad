//! What a process of the shop is told when it starts.

use std::path::PathBuf;

use clap::Args;

/// Command line of every service.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Port on loopback for the service's own API.
    #[arg(long)]
    pub port: u16,
    /// Port on loopback for `/metrics`, `/health` and operators' switches.
    #[arg(long)]
    pub admin_port: u16,
    /// Where log and spans are written.
    #[arg(long)]
    pub telemetry_dir: PathBuf,
    /// The version that is deployed, as in `deploys.json`.
    #[arg(long, default_value = "v0")]
    pub version: String,
    /// The commit that is deployed.
    #[arg(long, default_value = "unknown")]
    pub commit: String,
    /// Which of the compiled-in sources of a file that commit holds, as FILE=NAME.
    #[arg(long = "source")]
    pub sources: Vec<String>,
    /// Share of traces that are kept, 0 to 1; only the first service on a request's way decides.
    #[arg(long, default_value_t = 1.0)]
    pub sample: f64,
    /// Where the others listen, as NAME=HOST:PORT.
    #[arg(long = "peer")]
    pub peers: Vec<String>,
    /// Whether callers come from outside: their trace headers are not believed.
    #[arg(long)]
    pub edge: bool,
    /// Feature flags that are on.
    #[arg(long = "flag")]
    pub flags: Vec<String>,
    /// Directory of the database's socket.
    #[arg(long)]
    pub database: Option<PathBuf>,
}

impl Settings {
    /// Where `name` listens.
    pub fn peer(&self, name: &str) -> anyhow::Result<String> {
        self.peers
            .iter()
            .find_map(|peer| peer.strip_prefix(name)?.strip_prefix('='))
            .map(str::to_owned)
            .ok_or_else(|| anyhow::anyhow!("--peer {name}=HOST:PORT is missing"))
    }
}
