//! The command line of `queues`, and what it means.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;

use crate::account::{Account, Identity};
use crate::dials::{Dials, InvalidDial};
use crate::journal::{Journal, JournalError};
use crate::queues::Queues;

/// Serves SQS (AWS JSON protocol) on loopback.
#[derive(Debug, Clone, Parser)]
#[command(name = "queues", version)]
pub struct Args {
    /// Loopback address to serve on.
    #[arg(long, default_value = "127.0.0.1:9324")]
    pub listen: SocketAddr,
    /// File that keeps the queues when this process is killed; without it they are gone.
    #[arg(long)]
    pub journal: Option<PathBuf>,
    /// The account in URLs and ARNs.
    #[arg(long, default_value = "000000000000")]
    pub account: String,
    /// The region in ARNs.
    #[arg(long, default_value = "eu-west-1")]
    pub region: String,
    /// What chance follows from.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Probability that a standard queue delivers a message once more.
    #[arg(long, default_value_t = 0.0)]
    pub duplicate: f64,
    /// Probability that a standard queue delivers any message instead of the oldest.
    #[arg(long, default_value_t = 0.0)]
    pub reorder: f64,
    /// Probability that a short poll of a standard queue overlooks a message.
    #[arg(long, default_value_t = 0.0)]
    pub overlook: f64,
    /// Let tests move the clock (`POST /_admin/clock`) and turn the dials (`PUT /_admin/dials`).
    #[arg(long)]
    pub admin: bool,
    /// Exit when standard input ends, so as not to outlive the parent.
    #[arg(long)]
    pub exit_with_parent: bool,
}

/// Why the queues cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum InvalidArgs {
    /// It would be reachable from elsewhere.
    #[error("{0} is not a loopback address")]
    NotLoopback(SocketAddr),
    /// An account is twelve digits.
    #[error("{0:?} is not an account: it must be twelve digits")]
    Account(String),
    /// A dial is no probability.
    #[error(transparent)]
    Dial(#[from] InvalidDial),
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl Args {
    /// Opens the queues that this server at this address shall serve.
    pub fn open(&self, address: SocketAddr) -> Result<Queues, InvalidArgs> {
        if !address.ip().is_loopback() {
            return Err(InvalidArgs::NotLoopback(address));
        }
        if self.account.len() != 12 || !self.account.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidArgs::Account(self.account.clone()));
        }
        let dials = Dials {
            duplicate: self.duplicate,
            reorder: self.reorder,
            overlook: self.overlook,
        };
        let identity = Identity {
            account: self.account.clone(),
            region: self.region.clone(),
            endpoint: format!("http://{address}"),
        };
        let empty = Account::new(identity, self.seed, dials.checked()?);
        let Some(path) = &self.journal else {
            return Ok(Queues::in_memory(empty));
        };
        let (journal, account) = Journal::open(path, empty)?;
        Ok(Queues::kept(account, journal))
    }
}
