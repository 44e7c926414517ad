//! What the gateway reads from its environment.

use std::{collections::BTreeMap, str::FromStr};

use nightshift_mcp_kit::{CasebookLink, Environment, InvalidEnvironment, ServerConfig};
use reqwest::Url;
use secrecy::SecretString;

use crate::{analyst, gateway::budget::RunLimits};

/// The configuration of the gateway.
#[derive(Debug, Clone)]
pub struct Config {
    /// What every server that checks run tokens reads.
    pub server: ServerConfig,
    /// How it reaches the casebook.
    pub casebook: CasebookLink,
    /// `NIGHTSHIFT_LLM_PROVIDER`: who answers.
    pub provider: ProviderName,
    /// `NIGHTSHIFT_MODELS`: which models may be asked for.
    pub models: Models,
    /// `NIGHTSHIFT_RUN_TOKENS`, `NIGHTSHIFT_RUN_REQUESTS`, `NIGHTSHIFT_TENANT_REQUESTS`: tokens of one
    /// run, and requests at once of one run and of one tenant.
    pub run_limits: RunLimits,
}

/// Who answers.
#[derive(Debug, Clone)]
pub enum ProviderName {
    /// The analyst, in this process.
    Analyst,
    /// Anthropic, with the analyst as the fallback.
    Anthropic(AnthropicAccount),
}

impl ProviderName {
    /// How the log spells it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Analyst => "analyst",
            Self::Anthropic(_) => "anthropic",
        }
    }
}

/// An account at Anthropic.
#[derive(Debug, Clone)]
pub struct AnthropicAccount {
    /// `ANTHROPIC_API_KEY`.
    pub key: SecretString,
    /// `ANTHROPIC_BASE_URL`; the key is bound to this host.
    pub base: Url,
}

/// The models that may be asked for, by the name that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Models(BTreeMap<String, String>);

impl Models {
    /// What a provider calls the model that was asked for; `None` where it may not be asked for.
    #[must_use]
    pub fn allowed(&self, asked: &str) -> Option<&str> {
        self.0.get(asked).map(String::as_str)
    }
}

/// The text is no list of models.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected MODEL or ALIAS=MODEL, separated by commas")]
pub struct InvalidModels;

impl FromStr for Models {
    type Err = InvalidModels;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut models = BTreeMap::from([(analyst::MODEL.to_owned(), analyst::MODEL.to_owned())]);
        for entry in text.split(',').map(str::trim) {
            let (asked, model) = entry.split_once('=').unwrap_or((entry, entry));
            if asked.is_empty() || model.is_empty() {
                return Err(InvalidModels);
            }
            models.insert(asked.to_owned(), model.to_owned());
        }
        Ok(Self(models))
    }
}

const DEFAULT_MODELS: &str = "claude-sonnet-4-5,claude-opus-4-5,claude-haiku-4-5";
const DEFAULT_BASE: &str = "https://api.anthropic.com";

impl Config {
    /// Reads the process's environment; every complaint at once.
    pub fn from_env() -> Result<Self, InvalidEnvironment> {
        Self::read(Environment::of_process())
    }

    fn read(mut environment: Environment) -> Result<Self, InvalidEnvironment> {
        let server = ServerConfig::read(&mut environment);
        let casebook = CasebookLink::read(&mut environment);
        let provider = provider(&mut environment);
        let models = environment
            .optional_text("NIGHTSHIFT_MODELS")
            .unwrap_or_else(|| DEFAULT_MODELS.to_owned())
            .parse()
            .map_err(|error| {
                environment.complain("NIGHTSHIFT_MODELS", format!("is not usable: {error}"));
            })
            .ok();
        let run_limits = run_limits(&mut environment);
        let config = || {
            Some(Self {
                server: server?,
                casebook: casebook?,
                provider: provider?,
                models: models?,
                run_limits: run_limits?,
            })
        };
        let config = config();
        environment.finish(config)
    }
}

fn run_limits(environment: &mut Environment) -> Option<RunLimits> {
    let usual = RunLimits::default();
    let tokens = environment.or("NIGHTSHIFT_RUN_TOKENS", usual.tokens);
    let at_once = environment.or("NIGHTSHIFT_RUN_REQUESTS", usual.at_once);
    let tenant_at_once = environment.or("NIGHTSHIFT_TENANT_REQUESTS", usual.tenant_at_once);
    Some(RunLimits {
        tokens: tokens?,
        at_once: at_once?,
        tenant_at_once: tenant_at_once?,
    })
}

fn provider(environment: &mut Environment) -> Option<ProviderName> {
    const NAME: &str = "NIGHTSHIFT_LLM_PROVIDER";
    let keyed = environment.optional_text("ANTHROPIC_API_KEY").is_some();
    let fallback = if keyed { "anthropic" } else { "analyst" };
    let chosen = environment
        .optional_text(NAME)
        .unwrap_or_else(|| fallback.to_owned());
    match chosen.as_str() {
        "analyst" => Some(ProviderName::Analyst),
        "anthropic" => {
            let key = environment.secret("ANTHROPIC_API_KEY");
            let base = environment
                .optional_text("ANTHROPIC_BASE_URL")
                .unwrap_or_else(|| DEFAULT_BASE.to_owned())
                .parse()
                .map_err(|error| {
                    environment.complain("ANTHROPIC_BASE_URL", format!("is not usable: {error}"));
                })
                .ok();
            Some(ProviderName::Anthropic(AnthropicAccount {
                key: key?,
                base: base?,
            }))
        }
        _ => {
            environment.complain(NAME, "is neither `analyst` nor `anthropic`");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(more: &[(&str, &str)]) -> Result<Config, InvalidEnvironment> {
        let base = [
            ("NIGHTSHIFT_LISTEN", "127.0.0.1:4001"),
            ("NIGHTSHIFT_PUBLIC_HOST", "llm.nightshift.internal"),
            ("NIGHTSHIFT_TOKEN_ISSUER", "https://session.example"),
            (
                "NIGHTSHIFT_JWKS_URL",
                "http://127.0.0.1:4002/.well-known/jwks.json",
            ),
            ("NIGHTSHIFT_CASEBOOK_INTERNAL", "http://127.0.0.1:4003"),
            ("NIGHTSHIFT_SERVICE_CREDENTIAL", "swordfish"),
        ];
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Config::read(Environment::of(base.iter().chain(more).map(owned)))
    }

    #[test]
    fn the_provider_follows_the_key_unless_it_is_named() {
        assert!(matches!(read(&[]).unwrap().provider, ProviderName::Analyst));
        let keyed = [("ANTHROPIC_API_KEY", "sk-test")];
        assert!(matches!(
            read(&keyed).unwrap().provider,
            ProviderName::Anthropic(_)
        ));
        let named = [
            ("ANTHROPIC_API_KEY", "sk-test"),
            ("NIGHTSHIFT_LLM_PROVIDER", "analyst"),
        ];
        assert!(matches!(
            read(&named).unwrap().provider,
            ProviderName::Analyst
        ));
    }

    #[test]
    fn every_complaint_names_its_variable_at_once_and_no_secret() {
        let wrong = [
            ("NIGHTSHIFT_LLM_PROVIDER", "anthropic"),
            ("NIGHTSHIFT_MODELS", "a,,b"),
            ("NIGHTSHIFT_RUN_TOKENS", "many"),
        ];
        let complaint = read(&wrong).unwrap_err().to_string();
        for name in [
            "ANTHROPIC_API_KEY",
            "NIGHTSHIFT_MODELS",
            "NIGHTSHIFT_RUN_TOKENS",
        ] {
            assert!(complaint.contains(name), "{complaint}");
        }
        let keyed = read(&[("ANTHROPIC_API_KEY", "sk-test")]).unwrap();
        assert!(!format!("{keyed:?}").contains("sk-test"));
    }

    #[test]
    fn only_listed_models_and_the_analyst_may_be_asked_for() {
        let models: Models = "claude-a,fast=claude-b".parse().unwrap();
        assert_eq!(models.allowed("fast"), Some("claude-b"));
        assert_eq!(models.allowed("claude-a"), Some("claude-a"));
        assert_eq!(models.allowed("claude-b"), None);
        assert_eq!(models.allowed("analyst"), Some("analyst"));
    }
}
