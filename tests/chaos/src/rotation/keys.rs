//! The keys: the first one, those that are published, and a change that is done wrong.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nightshift_session::HeldSigner;
use nightshift_stack::Stack;
use serde_json::{Value, json};
use tokio::time;

/// How often the published set is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The sets of keys that were published, one after the other, each by the names of its keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Published(pub(crate) Vec<BTreeSet<String>>);

impl Published {
    /// Notes what is published now.
    fn note(&mut self, now: BTreeSet<String>) {
        if self.0.last() != Some(&now) {
            self.0.push(now);
        }
    }

    /// What is wrong with it: one key, both, the other one is what it should be.
    pub(crate) fn wrong(&self) -> Option<String> {
        let right = match &self.0[..] {
            [before, both, after] => {
                before.len() == 1
                    && after.len() == 1
                    && before != after
                    && *both == before.union(after).cloned().collect()
            }
            _ => false,
        };
        let sizes: Vec<usize> = self.0.iter().map(BTreeSet::len).collect();
        (!right).then(|| format!("one after the other, sets of {sizes:?} keys were published"))
    }
}

/// A set with one key whose tokens live so long.
pub(crate) fn first(life: Duration) -> Result<String> {
    let pem = HeldSigner::new_pem()?;
    let key = json!({
        "begins_at": "2026-01-01T00:00:00Z",
        "pem": pem.as_str(),
        "token_seconds": life.as_secs(),
    });
    Ok(json!({ "keys": [key] }).to_string())
}

/// Puts a set with another key in the place of the one before.
pub(crate) fn replace(stack: &Stack, life: Duration) -> Result<()> {
    let path = stack.local().join("signing.pem");
    Ok(fs::write(path, first(life)?)?)
}

/// Looks at what is published for so long. A set that cannot be had just now is no set.
pub(crate) async fn watch(stack: &Stack, so_long: Duration) -> Published {
    let local = stack.local();
    let until = Instant::now() + so_long;
    let mut published = Published::default();
    while Instant::now() < until {
        let local = local.clone();
        let fetched = tokio::task::spawn_blocking(move || fetch(&local)).await;
        if let Ok(Ok(set)) = fetched {
            published.note(set);
        }
        time::sleep(LOOK_EVERY).await;
    }
    published
}

fn fetch(local: &std::path::Path) -> Result<BTreeSet<String>> {
    let ports: Value = serde_json::from_str(&fs::read_to_string(local.join("ports.json"))?)?;
    let port = ports["session"].as_u64().context("no port of session")?;
    let mut stream = TcpStream::connect(("127.0.0.1", u16::try_from(port)?))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET /.well-known/jwks.json HTTP/1.0\r\nHost: session\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    anyhow::ensure!(head.contains(" 200 "), "{head}");
    let set: Value = serde_json::from_str(body)?;
    let keys = set["keys"].as_array().context("no keys")?;
    let names = keys.iter().filter_map(|key| key["kid"].as_str());
    Ok(names.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_rotation_that_keeps_both_for_a_while_is_right() {
        let published = |sets: &[&[&str]]| {
            let mut published = Published::default();
            for set in sets {
                published.note(set.iter().map(|&key| key.to_owned()).collect());
            }
            published.wrong().is_none()
        };
        assert!(published(&[&["a"], &["a"], &["a", "b"], &["b"], &["b"]]));
        assert!(!published(&[&["a"], &["b"]]));
        assert!(!published(&[&["a"], &["a", "b"]]));
        assert!(!published(&[&["a"]]));
        assert!(!published(&[&["a"], &["a", "b"], &["a"]]));
        assert!(!published(&[&["a"], &["b", "c"], &["c"]]));
    }
}
