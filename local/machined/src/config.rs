//! The command line, and what it means.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use axum::http::Uri;
use clap::Parser;
use secrecy::SecretString;

use crate::{backend::BackendName, qemu::Accelerator};

/// Serves the Machines API on loopback, with bubblewrap sandboxes or virtual machines as machines.
#[derive(Debug, Clone, Parser)]
#[command(name = "machined", version)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub struct Args {
    /// Loopback address to serve the API on.
    #[arg(long, default_value = "127.0.0.1:4280")]
    pub listen: SocketAddr,
    /// Directory that holds everything durable.
    #[arg(long)]
    pub state: PathBuf,
    /// Directory of images: an OCI layout as HEX/ or HEX.tar for NAME@sha256:HEX.
    #[arg(long)]
    pub images: PathBuf,
    /// The organisation all apps belong to.
    #[arg(long, default_value = "local")]
    pub org: String,
    /// The one region there is.
    #[arg(long, default_value = "local")]
    pub region: String,
    /// File that holds the API's bearer token; without it, `MACHINED_TOKEN` does.
    #[arg(long)]
    pub token_file: Option<PathBuf>,
    /// A name sandboxes may reach through their gateway socket, and where it is: NAME=URL.
    #[arg(long)]
    pub egress: Vec<Egress>,
    /// Issuer of machine identities [default: `http://LISTEN/oidc`].
    #[arg(long)]
    pub issuer: Option<String>,
    /// Exit when standard input ends, so as not to outlive the parent.
    #[arg(long)]
    pub exit_with_parent: bool,
    /// How long a new machine is prepared before it can start, in milliseconds.
    #[arg(long, default_value_t = 20)]
    pub prepare_ms: u64,
    /// How long after its exit a machine still refuses to start, in milliseconds.
    #[arg(long, default_value_t = 25)]
    pub settle_ms: u64,
    /// How long a destroyed machine still holds its volume, in milliseconds.
    #[arg(long, default_value_t = 50)]
    pub release_ms: u64,
    /// How long destroyed machines and deleted volumes are still shown, in milliseconds.
    #[arg(long, default_value_t = 5_000)]
    pub tombstone_ms: u64,
    /// How long a machine may run after a start, in seconds; then it ends, even if this server hangs.
    #[arg(long, default_value_t = 18_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub ttl_seconds: u64,
    /// What machines are.
    #[arg(long, value_enum, default_value_t)]
    pub backend: BackendName,
    /// For qemu: directory with a guest's `vmlinuz`, and its `modules/virtio*.ko`.
    #[arg(long)]
    pub kernel: Option<PathBuf>,
    /// For qemu: a guest's first process [default: `nightshift-guest` beside this program].
    #[arg(long)]
    pub guest: Option<PathBuf>,
    /// For qemu: who executes a guest's instructions.
    #[arg(long, value_enum, default_value_t)]
    pub accelerator: Accelerator,
    /// For qemu: machines that boot at once; others wait for their turn [default: one for each processor where
    /// QEMU executes their instructions, else any number].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub boots_at_once: Option<u32>,
    /// Apps at most.
    #[arg(long, default_value_t = 5_000)]
    pub max_apps: usize,
    /// Volumes at most.
    #[arg(long, default_value_t = 2_000)]
    pub max_volumes: usize,
    /// Machines at most.
    #[arg(long, default_value_t = 1_000)]
    pub max_machines: usize,
    /// Serve any number of calls per second.
    #[arg(long)]
    pub no_rate_limits: bool,
    /// Say in JSON which bounds machines have on this host, and exit.
    #[arg(long)]
    pub probe: bool,
    /// Set by itself when it has moved into a mount namespace of its own.
    #[arg(long, hide = true)]
    pub staged: bool,
}

/// One name sandboxes may reach.
#[derive(Debug, Clone)]
pub struct Egress {
    /// What they call it.
    pub name: String,
    /// Where it is.
    pub base: Uri,
}

/// Everything the server needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) listen: SocketAddr,
    pub(crate) state: PathBuf,
    pub(crate) images: PathBuf,
    pub(crate) org: String,
    pub(crate) region: String,
    pub(crate) token: SecretString,
    pub(crate) egress: Vec<Egress>,
    pub(crate) issuer: String,
    pub(crate) prepare: Duration,
    pub(crate) settle: Duration,
    pub(crate) release: Duration,
    pub(crate) tombstone: Duration,
    pub(crate) ttl: Duration,
    pub(crate) backend: BackendName,
    pub(crate) kernel: Option<PathBuf>,
    pub(crate) guest: Option<PathBuf>,
    pub(crate) accelerator: Accelerator,
    pub(crate) boots_at_once: Option<u32>,
    pub(crate) max_apps: usize,
    pub(crate) max_volumes: usize,
    pub(crate) max_machines: usize,
    pub(crate) rate_limits: bool,
}

/// The command line cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum InvalidConfig {
    /// Sandboxes and tokens are no business of the network.
    #[error("--listen {0} is not a loopback address")]
    NotLoopback(SocketAddr),
    /// No token was given.
    #[error("no token: give --token-file, or set MACHINED_TOKEN")]
    NoToken,
    /// The token file cannot be read.
    #[error("--token-file {path}: {source}")]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A directory is needed that is not there.
    #[error("{option} {path}: {source}")]
    Directory {
        /// Which option named it.
        option: &'static str,
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

impl Args {
    /// Checks the command line, reads the token, and makes the state directory.
    pub fn configure(self) -> Result<Config, InvalidConfig> {
        if !self.listen.ip().is_loopback() {
            return Err(InvalidConfig::NotLoopback(self.listen));
        }
        let token = match &self.token_file {
            Some(path) => {
                std::fs::read_to_string(path).map_err(|source| InvalidConfig::TokenFile {
                    path: path.clone(),
                    source,
                })?
            }
            None => token_from_env().ok_or(InvalidConfig::NoToken)?,
        };
        let token = token.trim();
        if token.is_empty() {
            return Err(InvalidConfig::NoToken);
        }
        let create = |path: &Path| std::fs::create_dir_all(path).and_then(|()| path.canonicalize());
        let state = create(&self.state).map_err(|source| InvalidConfig::Directory {
            option: "--state",
            path: self.state.clone(),
            source,
        })?;
        let images = create(&self.images).map_err(|source| InvalidConfig::Directory {
            option: "--images",
            path: self.images.clone(),
            source,
        })?;
        Ok(Config {
            issuer: self
                .issuer
                .unwrap_or_else(|| format!("http://{}/oidc", self.listen)),
            listen: self.listen,
            state,
            images,
            org: self.org,
            region: self.region,
            token: token.into(),
            egress: self.egress,
            prepare: Duration::from_millis(self.prepare_ms),
            settle: Duration::from_millis(self.settle_ms),
            release: Duration::from_millis(self.release_ms),
            tombstone: Duration::from_millis(self.tombstone_ms),
            ttl: Duration::from_secs(self.ttl_seconds),
            backend: self.backend,
            kernel: self.kernel,
            guest: self.guest,
            accelerator: self.accelerator,
            boots_at_once: self.boots_at_once,
            max_apps: self.max_apps,
            max_volumes: self.max_volumes,
            max_machines: self.max_machines,
            rate_limits: !self.no_rate_limits,
        })
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "configuration is read here and nowhere else"
)]
fn token_from_env() -> Option<String> {
    std::env::var("MACHINED_TOKEN").ok()
}

impl FromStr for Egress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, base) = text
            .split_once('=')
            .ok_or("expected NAME=http://HOST:PORT")?;
        let base: Uri = base.parse().map_err(|error| format!("{base}: {error}"))?;
        if base.scheme_str() != Some("http") || base.authority().is_none() {
            return Err(format!("{base} is not an http URL"));
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
        if name.is_empty() || !name.bytes().all(plain) {
            return Err(format!("`{name}` is not a host name"));
        }
        Ok(Self {
            name: name.to_ascii_lowercase(),
            base,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_served_and_egress_must_be_a_plain_http_url() {
        let args = |listen: &str| {
            Args::parse_from([
                "machined", "--state", "s", "--images", "i", "--listen", listen,
            ])
        };
        let refused = args("0.0.0.0:1").configure();
        assert!(
            matches!(refused, Err(InvalidConfig::NotLoopback(_))),
            "{refused:?}"
        );
        assert_eq!(
            "Llm=http://127.0.0.1:9/x".parse::<Egress>().unwrap().name,
            "llm"
        );
        assert!("llm=https://127.0.0.1:9".parse::<Egress>().is_err());
        assert!("a b=http://127.0.0.1:9".parse::<Egress>().is_err());
        assert!("llm".parse::<Egress>().is_err());
    }
}
