//! What this server reads from its environment.

use std::path::Path;

use nightshift_mcp_kit::{CasebookLink, Environment, InvalidEnvironment, ServerConfig};

use crate::SecretsLink;

/// The configuration of a server that observes.
#[derive(Debug, Clone)]
pub struct Config {
    /// What every server that checks run tokens reads.
    pub server: ServerConfig,
    /// How it reaches the casebook.
    pub casebook: CasebookLink,
    /// `NIGHTSHIFT_RECORDINGS`: directories of recordings by the name of their store.
    pub recordings: Vec<(String, String)>,
    /// How it reads tenants' credentials; without it there are none.
    pub secrets: Option<SecretsLink>,
}

impl Config {
    /// Reads the process's environment; every complaint at once.
    pub fn from_env() -> Result<Self, InvalidEnvironment> {
        Self::read(Environment::of_process())
    }

    fn read(mut environment: Environment) -> Result<Self, InvalidEnvironment> {
        let server = ServerConfig::read(&mut environment);
        let casebook = CasebookLink::read(&mut environment);
        let recordings = recordings(&mut environment);
        let secrets = SecretsLink::read(&mut environment);
        let config = || {
            Some(Self {
                server: server?,
                casebook: casebook?,
                recordings: recordings?,
                secrets: secrets?,
            })
        };
        let config = config();
        environment.finish(config)
    }
}

fn recordings(environment: &mut Environment) -> Option<Vec<(String, String)>> {
    const NAME: &str = "NIGHTSHIFT_RECORDINGS";
    let pairs = environment.pairs(NAME)?;
    for (store, directory) in &pairs {
        if !Path::new(directory).is_absolute() {
            environment.complain(NAME, format!("gives `{store}` a path that is not absolute"));
        }
        if pairs.iter().filter(|(other, _)| other == store).count() > 1 {
            environment.complain(NAME, format!("names the store `{store}` twice"));
        }
    }
    Some(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(recordings: &str) -> Result<Config, InvalidEnvironment> {
        let variables = [
            ("NIGHTSHIFT_LISTEN", "127.0.0.1:4001"),
            ("NIGHTSHIFT_PUBLIC_HOST", "telemetry.nightshift.internal"),
            ("NIGHTSHIFT_TOKEN_ISSUER", "https://session.example"),
            (
                "NIGHTSHIFT_JWKS_URL",
                "http://127.0.0.1:4002/.well-known/jwks.json",
            ),
            ("NIGHTSHIFT_CASEBOOK_INTERNAL", "http://127.0.0.1:4003"),
            ("NIGHTSHIFT_SERVICE_CREDENTIAL", "swordfish"),
            ("NIGHTSHIFT_RECORDINGS", recordings),
        ];
        let owned = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Config::read(Environment::of(owned))
    }

    #[test]
    fn stores_are_read_by_name() {
        let config = read("shop=/srv/shop,other=/srv/other").unwrap();
        assert_eq!(
            config.recordings[1],
            ("other".to_owned(), "/srv/other".to_owned())
        );
    }

    #[test]
    fn a_store_without_an_absolute_path_or_named_twice_is_refused_by_name() {
        for (text, part) in [
            ("shop=recordings", "not absolute"),
            ("shop=/a,shop=/b", "twice"),
            ("shop", "NAME=VALUE"),
            ("", "is not set"),
        ] {
            let complaint = read(text).unwrap_err().to_string();
            assert!(complaint.contains("NIGHTSHIFT_RECORDINGS"), "{complaint}");
            assert!(complaint.contains(part), "{complaint}");
        }
    }
}
