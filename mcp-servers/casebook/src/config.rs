//! What the casebook reads from its environment.

use std::net::SocketAddr;

use chrono::TimeDelta;
use nightshift_mcp_kit::{Environment, InvalidEnvironment, ServerConfig, hosts::Hosts};
use secrecy::SecretString;

use crate::Credentials;

/// How long a reported sandbox is kept for follow-ups unless the environment says otherwise, in
/// seconds.
const REST_SECONDS: u32 = 900;
/// Connections to the database unless the environment says otherwise.
const DATABASE_CONNECTIONS: u32 = 8;

/// The casebook's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// What every server that checks run tokens reads.
    pub server: ServerConfig,
    /// `NIGHTSHIFT_INTERNAL_LISTEN`: where the other servers reach the internal API. No sandbox
    /// may reach it.
    pub internal_listen: SocketAddr,
    /// `NIGHTSHIFT_INTERNAL_HOST`: the name under which they do, where it is not one of this machine's own.
    pub internal_names: Hosts,
    /// `DATABASE_URL`: may hold a password, so it is not shown.
    pub database_url: SecretString,
    /// `NIGHTSHIFT_DATABASE_CONNECTIONS`: at most this many at once.
    pub database_connections: u32,
    /// `NIGHTSHIFT_SERVICE_CREDENTIALS`: `telemetry=SECRET,codebase=SECRET,llm=SECRET`.
    pub credentials: Credentials,
    /// `NIGHTSHIFT_REST_SECONDS`: how long a reported sandbox is kept for follow-ups.
    pub rest_for: TimeDelta,
}

impl Config {
    /// Reads the environment of this process.
    pub fn from_env() -> Result<Self, InvalidEnvironment> {
        Self::read(Environment::of_process())
    }

    /// Reads an environment.
    pub fn read(mut environment: Environment) -> Result<Self, InvalidEnvironment> {
        let env = &mut environment;
        let server = ServerConfig::read(env);
        let internal_listen = env.require("NIGHTSHIFT_INTERNAL_LISTEN");
        let internal_names = env
            .optional_text("NIGHTSHIFT_INTERNAL_HOST")
            .map_or_else(Hosts::of_this_machine, |name| Hosts::named(&name));
        let database_url = env.secret("DATABASE_URL");
        let database_connections = env.or("NIGHTSHIFT_DATABASE_CONNECTIONS", DATABASE_CONNECTIONS);
        let credentials = read_credentials(env);
        let rest = env.or("NIGHTSHIFT_REST_SECONDS", REST_SECONDS);
        let config = || {
            Some(Self {
                server: server?,
                internal_listen: internal_listen?,
                internal_names,
                database_url: database_url?,
                database_connections: database_connections?,
                credentials: credentials?,
                rest_for: TimeDelta::seconds(i64::from(rest?)),
            })
        };
        let config = config();
        environment.finish(config)
    }
}

fn read_credentials(environment: &mut Environment) -> Option<Credentials> {
    const NAME: &str = "NIGHTSHIFT_SERVICE_CREDENTIALS";
    let pairs = environment.pairs(NAME)?;
    Credentials::new(pairs)
        .map_err(|error| environment.complain(NAME, error))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_missing_is_named_and_no_secret_is_shown() {
        let wrong = [
            ("NIGHTSHIFT_SERVICE_CREDENTIALS", "telemetry=tiny-secret"),
            ("NIGHTSHIFT_REST_SECONDS", "soon"),
        ];
        let variables = wrong.map(|(name, value)| (name.to_owned(), value.to_owned()));

        let error = Config::read(Environment::of(variables))
            .unwrap_err()
            .to_string();

        for name in [
            "NIGHTSHIFT_LISTEN",
            "NIGHTSHIFT_PUBLIC_HOST",
            "NIGHTSHIFT_TOKEN_ISSUER",
            "NIGHTSHIFT_JWKS_URL",
            "NIGHTSHIFT_INTERNAL_LISTEN",
            "DATABASE_URL",
            "NIGHTSHIFT_SERVICE_CREDENTIALS",
            "NIGHTSHIFT_REST_SECONDS",
        ] {
            assert!(error.contains(name), "{name} is missing in: {error}");
        }
        assert!(!error.contains("tiny-secret"), "{error}");
    }
}
