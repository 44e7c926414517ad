//! `.local/stack.json`: where a running stack is, for whoever wants to use it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::checkout::{Checkout, write_private};

/// Where a running stack is, and what proves that one may use it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackFile {
    /// Base URL of alert intake.
    pub intake: String,
    /// Base URL of the operators' API.
    pub api: String,
    /// Bearer token for the API.
    pub token: String,
    /// The demo tenant's name.
    pub tenant: String,
    /// The operators' pages; none yet.
    pub console: Option<String>,
    /// The demo tenant's webhook addresses.
    pub endpoints: Vec<EndpointAddress>,
    /// The MCP servers.
    pub mcp: McpServers,
    /// Base URL of the LLM gateway.
    pub llm: String,
    /// Base URL of the Machines API.
    pub machines: String,
    /// The database.
    pub database: String,
}

/// A webhook address and the secret that its sender signs with.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointAddress {
    /// Which kind of sender.
    pub source: String,
    /// Where to post.
    pub url: String,
    /// What to sign with.
    pub secret: String,
}

/// The MCP servers' addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct McpServers {
    /// Logs, metrics and traces.
    pub telemetry: String,
    /// Commits, deploys and flags.
    pub codebase: String,
    /// The case itself.
    pub casebook: String,
}

impl StackFile {
    /// Where it lies.
    pub fn path(checkout: &Checkout) -> Result<PathBuf> {
        Ok(checkout.local()?.join("stack.json"))
    }

    /// What a stack of this checkout left there, whether it still runs or not.
    #[must_use]
    pub fn read(path: &Path) -> Option<Self> {
        serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()
    }

    /// Puts it there for its owner alone.
    pub fn write(&self, path: &Path) -> Result<()> {
        write_private(path, &serde_json::to_string_pretty(self)?)
    }

    /// The address of one kind of sender.
    pub fn endpoint(&self, source: &str) -> Result<&EndpointAddress> {
        let mut endpoints = self.endpoints.iter();
        let found = endpoints.find(|endpoint| endpoint.source == source);
        found.with_context(|| {
            let known: Vec<&str> = self.endpoints.iter().map(|e| e.source.as_str()).collect();
            format!("no endpoint for `{source}`; there are {}", known.join(", "))
        })
    }
}

impl std::fmt::Debug for StackFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StackFile")
            .field("intake", &self.intake)
            .field("api", &self.api)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for EndpointAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EndpointAddress")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> StackFile {
        StackFile {
            intake: "http://127.0.0.1:1".into(),
            api: "http://127.0.0.1:2".into(),
            token: "t0ken".into(),
            tenant: "demo".into(),
            console: None,
            endpoints: vec![EndpointAddress {
                source: "pagerduty".into(),
                url: "http://127.0.0.1:1/v1/hooks/x".into(),
                secret: "s3cret".into(),
            }],
            mcp: McpServers {
                telemetry: "http://127.0.0.1:3/mcp".into(),
                codebase: "http://127.0.0.1:4/mcp".into(),
                casebook: "http://127.0.0.1:5/mcp".into(),
            },
            llm: "http://127.0.0.1:6".into(),
            machines: "http://127.0.0.1:7".into(),
            database: "postgres://127.0.0.1:8/nightshift".into(),
        }
    }

    #[test]
    fn its_fields_are_those_that_others_rely_on() {
        let value = serde_json::to_value(sample()).unwrap();
        let names = |value: &serde_json::Value| -> Vec<String> {
            value.as_object().unwrap().keys().cloned().collect()
        };
        let mut fields = names(&value);
        fields.sort();
        let expected = [
            "api",
            "console",
            "database",
            "endpoints",
            "intake",
            "llm",
            "machines",
            "mcp",
            "tenant",
            "token",
        ];
        assert_eq!(fields, expected);
        let mut endpoint = names(&value["endpoints"][0]);
        endpoint.sort();
        assert_eq!(endpoint, ["secret", "source", "url"]);
        let mut servers = names(&value["mcp"]);
        servers.sort();
        assert_eq!(servers, ["casebook", "codebase", "telemetry"]);
        assert!(value["console"].is_null());
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?} {:?}", sample(), sample().endpoints);
        assert!(
            !shown.contains("s3cret") && !shown.contains("t0ken"),
            "{shown}"
        );
    }
}
