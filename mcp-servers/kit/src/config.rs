//! What these servers read from their environment, once, at the start.

use std::{collections::HashMap, fmt::Display, net::SocketAddr, str::FromStr};

use reqwest::Url;
use secrecy::SecretString;

use crate::logging::Logging;

/// The environment, and everything that was wrong with it so far.
///
/// Each reading method notes its complaint and answers `None`; [`Environment::finish`] gives either
/// the whole configuration or every complaint at once.
pub struct Environment {
    variables: HashMap<String, String>,
    complaints: Vec<String>,
}

/// Everything that is wrong with the environment, one line each, each naming its variable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the environment is not complete:\n  {}", .0.join("\n  "))]
pub struct InvalidEnvironment(pub Vec<String>);

impl Environment {
    /// The environment of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self::of(std::env::vars_os().filter_map(text))
    }

    /// An environment of these variables alone.
    #[must_use]
    pub fn of(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let set = |(_, value): &(String, String)| !value.is_empty();
        Self {
            variables: variables.into_iter().filter(set).collect(),
            complaints: Vec::new(),
        }
    }

    /// The variable's text; empty counts as missing.
    pub fn text(&mut self, name: &str) -> Option<String> {
        let text = self.optional_text(name);
        if text.is_none() {
            self.complain(name, "is not set");
        }
        text
    }

    /// The variable's text, if it is set.
    #[must_use]
    pub fn optional_text(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    /// The variable as a `T`.
    pub fn require<T: FromStr<Err: Display>>(&mut self, name: &str) -> Option<T> {
        let text = self.text(name)?;
        self.parse(name, &text)
    }

    /// The variable as a `T`, or `default` where it is not set.
    pub fn or<T: FromStr<Err: Display>>(&mut self, name: &str, default: T) -> Option<T> {
        match self.optional_text(name) {
            Some(text) => self.parse(name, &text),
            None => Some(default),
        }
    }

    /// The variable as a secret: never shown, not even in a complaint.
    pub fn secret(&mut self, name: &str) -> Option<SecretString> {
        self.text(name).map(SecretString::from)
    }

    /// `NAME=VALUE,NAME=VALUE`, in the order written.
    pub fn pairs(&mut self, name: &str) -> Option<Vec<(String, String)>> {
        let text = self.text(name)?;
        let pairs: Option<Vec<_>> = text
            .split(',')
            .map(|pair| match pair.split_once('=') {
                Some((key, value)) if !key.is_empty() && !value.is_empty() => {
                    Some((key.to_owned(), value.to_owned()))
                }
                Some(_) | None => None,
            })
            .collect();
        if pairs.is_none() {
            self.complain(name, "is not of the form NAME=VALUE,NAME=VALUE");
        }
        pairs
    }

    /// Notes that a variable is wrong. The complaint must not repeat a secret.
    pub fn complain(&mut self, name: &str, complaint: impl Display) {
        self.complaints.push(format!("{name} {complaint}"));
    }

    /// The configuration, or everything that is wrong.
    pub fn finish<T>(self, config: Option<T>) -> Result<T, InvalidEnvironment> {
        match config {
            Some(config) if self.complaints.is_empty() => Ok(config),
            Some(_) | None => Err(InvalidEnvironment(self.complaints)),
        }
    }

    fn parse<T: FromStr<Err: Display>>(&mut self, name: &str, text: &str) -> Option<T> {
        text.parse()
            .map_err(|error| self.complain(name, format!("is not usable: {error}")))
            .ok()
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment")
            .field("complaints", &self.complaints)
            .finish_non_exhaustive()
    }
}

/// What every server that checks run tokens reads.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// `NIGHTSHIFT_LISTEN`: where sandboxes reach it.
    pub listen: SocketAddr,
    /// `NIGHTSHIFT_PUBLIC_HOST`: the host name that sandboxes use.
    pub public_host: String,
    /// `NIGHTSHIFT_PUBLIC_ORIGIN`: scheme, host and port that sandboxes use, where those are not
    /// `http://` and the public host. Proofs must name it.
    pub public_origin: Url,
    /// `NIGHTSHIFT_TOKEN_ISSUER`: the exact issuer of run tokens.
    pub token_issuer: String,
    /// `NIGHTSHIFT_JWKS_URL`: where the issuer's keys are.
    pub jwks_url: Url,
    /// `NIGHTSHIFT_EXIT_WITH_PARENT=1`: end when standard input ends.
    pub exit_with_parent: bool,
    /// `NIGHTSHIFT_LOG` and `NIGHTSHIFT_LOG_FORMAT`.
    pub logging: Logging,
}

impl ServerConfig {
    /// Reads it; complaints stay with the environment.
    pub fn read(environment: &mut Environment) -> Option<Self> {
        let listen = environment.require("NIGHTSHIFT_LISTEN");
        let public_host = environment.text("NIGHTSHIFT_PUBLIC_HOST");
        let public_origin = origin(environment, public_host.as_deref());
        let token_issuer = environment.text("NIGHTSHIFT_TOKEN_ISSUER");
        let jwks_url = environment.require("NIGHTSHIFT_JWKS_URL");
        let exit_with_parent = environment.optional_text("NIGHTSHIFT_EXIT_WITH_PARENT");
        let logging = Logging::read(environment);
        Some(Self {
            listen: listen?,
            public_host: public_host?,
            public_origin: public_origin?,
            token_issuer: token_issuer?,
            jwks_url: jwks_url?,
            exit_with_parent: exit_with_parent.as_deref() == Some("1"),
            logging: logging?,
        })
    }
}

/// The origin that was told, or the plain one of the host.
fn origin(environment: &mut Environment, host: Option<&str>) -> Option<Url> {
    let (name, text) = match environment.optional_text("NIGHTSHIFT_PUBLIC_ORIGIN") {
        Some(text) => ("NIGHTSHIFT_PUBLIC_ORIGIN", text),
        None => ("NIGHTSHIFT_PUBLIC_HOST", format!("http://{}", host?)),
    };
    let is_origin = |url: &Url| {
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let anonymous = url.username().is_empty() && url.password().is_none();
        matches!(url.scheme(), "http" | "https") && url.has_host() && bare && anonymous
    };
    let origin = Url::parse(&text).ok().filter(is_origin);
    if origin.is_none() {
        environment.complain(name, "is not a scheme, a host and perhaps a port");
    }
    origin
}

/// How a server without a database reaches the casebook.
#[derive(Debug, Clone)]
pub struct CasebookLink {
    /// `NIGHTSHIFT_CASEBOOK_INTERNAL`: the base of the internal API.
    pub base: Url,
    /// `NIGHTSHIFT_SERVICE_CREDENTIAL`: this server's own secret there.
    pub credential: SecretString,
}

impl CasebookLink {
    /// Reads it; complaints stay with the environment.
    pub fn read(environment: &mut Environment) -> Option<Self> {
        let base = environment.require("NIGHTSHIFT_CASEBOOK_INTERNAL");
        let credential = environment.secret("NIGHTSHIFT_SERVICE_CREDENTIAL");
        Some(Self {
            base: base?,
            credential: credential?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete() -> Vec<(String, String)> {
        [
            ("NIGHTSHIFT_LISTEN", "127.0.0.1:4001"),
            ("NIGHTSHIFT_PUBLIC_HOST", "telemetry.nightshift.internal"),
            ("NIGHTSHIFT_TOKEN_ISSUER", "https://session.example"),
            (
                "NIGHTSHIFT_JWKS_URL",
                "http://127.0.0.1:4002/.well-known/jwks.json",
            ),
            ("NIGHTSHIFT_CASEBOOK_INTERNAL", "http://127.0.0.1:4003"),
            ("NIGHTSHIFT_SERVICE_CREDENTIAL", "swordfish"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    fn read(
        variables: Vec<(String, String)>,
    ) -> Result<(ServerConfig, CasebookLink), InvalidEnvironment> {
        let mut environment = Environment::of(variables);
        let server = ServerConfig::read(&mut environment);
        let casebook = CasebookLink::read(&mut environment);
        environment.finish(server.zip(casebook))
    }

    #[test]
    fn a_complete_environment_is_read_and_its_secret_is_not_shown() {
        let config = read(complete()).unwrap();
        assert_eq!(config.0.listen.port(), 4001);
        assert_eq!(
            config.0.public_origin.as_str(),
            "http://telemetry.nightshift.internal/"
        );
        assert!(!config.0.exit_with_parent);
        assert!(!format!("{config:?}").contains("swordfish"));
    }

    #[test]
    fn everything_wrong_is_said_at_once_and_by_name() {
        let mut variables = complete();
        variables.retain(|(name, _)| name != "NIGHTSHIFT_TOKEN_ISSUER");
        for (name, value) in &mut variables {
            match name.as_str() {
                "NIGHTSHIFT_LISTEN" => "everywhere".clone_into(value),
                "NIGHTSHIFT_SERVICE_CREDENTIAL" => value.clear(),
                _ => {}
            }
        }
        variables.push(("NIGHTSHIFT_LOG_FORMAT".to_owned(), "xml".to_owned()));

        let InvalidEnvironment(complaints) = read(variables).unwrap_err();

        let named: Vec<&str> = complaints
            .iter()
            .filter_map(|line| line.split(' ').next())
            .collect();
        assert_eq!(
            named,
            [
                "NIGHTSHIFT_LISTEN",
                "NIGHTSHIFT_TOKEN_ISSUER",
                "NIGHTSHIFT_LOG_FORMAT",
                "NIGHTSHIFT_SERVICE_CREDENTIAL"
            ]
        );
    }

    #[test]
    fn an_origin_is_a_scheme_a_host_and_a_port_and_nothing_more() {
        let origin = |text: &str| {
            let mut variables = complete();
            variables.push(("NIGHTSHIFT_PUBLIC_ORIGIN".to_owned(), text.to_owned()));
            read(variables).map(|config| config.0.public_origin.to_string())
        };
        assert_eq!(
            origin("https://t.example:8443").unwrap(),
            "https://t.example:8443/"
        );
        for wrong in [
            "t.example",
            "ftp://t.example",
            "https://t.example/mcp",
            "https://t.example/?a",
            "https://me@t.example",
        ] {
            let InvalidEnvironment(complaints) = origin(wrong).unwrap_err();
            assert!(
                complaints[0].starts_with("NIGHTSHIFT_PUBLIC_ORIGIN "),
                "{wrong}: {complaints:?}"
            );
        }
    }

    #[test]
    fn pairs_keep_their_order_and_refuse_half_a_pair() {
        let mut environment = Environment::of([
            ("GOOD".to_owned(), "b=1,a=x=y".to_owned()),
            ("BAD".to_owned(), "a=1,b".to_owned()),
        ]);
        let pairs = environment.pairs("GOOD").unwrap();
        assert_eq!(pairs[0], ("b".to_owned(), "1".to_owned()));
        assert_eq!(pairs[1], ("a".to_owned(), "x=y".to_owned()));
        assert_eq!(environment.pairs("BAD"), None);
        assert!(environment.finish(Some(())).unwrap_err().0[0].starts_with("BAD "));
    }
}
