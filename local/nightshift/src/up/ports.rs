//! Loopback ports: those of the last run where they are free, so that addresses stay valid.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr, TcpListener},
};

use anyhow::{Context, Result};

use crate::checkout::Checkout;

/// Everything that listens.
const NAMES: [&str; 10] = [
    "intake",
    "api",
    "session",
    "machines",
    "telemetry",
    "codebase",
    "casebook",
    "internal",
    "llm",
    "queues",
];

/// One loopback port for each listener.
#[derive(Debug, Clone)]
pub(super) struct Ports(BTreeMap<String, u16>);

impl Ports {
    /// Chooses them and keeps the choice for the next run.
    pub(super) fn choose(checkout: &Checkout) -> Result<Self> {
        let path = checkout.local()?.join("ports.json");
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        let kept: BTreeMap<String, u16> = serde_json::from_str(&kept).unwrap_or_default();
        let ports = choose(&kept)?;
        std::fs::write(&path, serde_json::to_string_pretty(&ports)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self(ports))
    }

    /// Where `name` listens.
    pub(super) fn address(&self, name: &str) -> SocketAddr {
        let port = self.0.get(name).copied().unwrap_or(0);
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    /// The base URL of `name`.
    pub(super) fn url(&self, name: &str) -> String {
        format!("http://{}", self.address(name))
    }
}

fn choose(kept: &BTreeMap<String, u16>) -> Result<BTreeMap<String, u16>> {
    // Held until all are chosen, so that no two get the same.
    let mut held = Vec::new();
    let mut taken = BTreeSet::new();
    let mut ports = BTreeMap::new();
    for name in NAMES {
        let before = kept.get(name).filter(|port| !taken.contains(*port));
        let again = before.and_then(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).ok());
        let listener = match again {
            Some(listener) => listener,
            None => {
                TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on 127.0.0.1")?
            }
        };
        let port = listener.local_addr()?.port();
        taken.insert(port);
        ports.insert(name.to_owned(), port);
        held.push(listener);
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_are_kept_and_a_taken_one_is_replaced() {
        let first = choose(&BTreeMap::new()).unwrap();
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, first["api"])).unwrap();
        let second = choose(&first).unwrap();
        drop(taken);
        assert_ne!(second["api"], first["api"]);
        assert_eq!(second["intake"], first["intake"]);
        let distinct: BTreeSet<&u16> = second.values().collect();
        assert_eq!(distinct.len(), NAMES.len());
    }
}
