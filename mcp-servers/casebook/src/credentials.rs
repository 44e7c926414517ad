//! Who may use the internal API: each service with a secret of its own.

use nightshift_controls::{Control, holds};
use nightshift_domain::scope::Audience;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// A secret that is shorter could be guessed.
const MIN_SECRET_BYTES: usize = 16;

/// A server that may use the internal API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Service(Audience);

impl Service {
    /// Its short name, which begins the names of its tools.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.0.server()
    }

    /// Whether it is the one that talks to the model.
    #[must_use]
    pub const fn asks_the_model(self) -> bool {
        matches!(self.0, Audience::Llm)
    }

    /// Whether a tool of this name is one of its own.
    #[must_use]
    pub fn owns(self, tool: &str) -> bool {
        tool.split_once('.')
            .is_some_and(|(server, name)| server == self.name() && !name.is_empty())
    }
}

/// The services' secrets.
#[derive(Debug, Clone)]
pub struct Credentials(Vec<(Service, SecretString)>);

/// The list of services cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownService {
    /// No server of ours has this name.
    #[error("names the service `{0}`, which does not exist")]
    Name(String),
    /// A secret could be guessed.
    #[error("gives `{0}` a secret of less than 16 bytes")]
    Short(String),
    /// Two services with one secret could pass for each other.
    #[error("gives `{0}` a secret that another service has")]
    Shared(String),
}

impl Credentials {
    /// Reads pairs of a service's name and its secret. A service may have several secrets, for a
    /// change without a pause.
    pub fn new(pairs: Vec<(String, String)>) -> Result<Self, UnknownService> {
        let mut known: Vec<(Service, SecretString)> = Vec::new();
        for (name, secret) in pairs {
            let service = Audience::ALL
                .iter()
                .copied()
                .find(|audience| audience.server() == name && *audience != Audience::Casebook)
                .map(Service);
            let Some(service) = service else {
                return Err(UnknownService::Name(name));
            };
            if secret.len() < MIN_SECRET_BYTES {
                return Err(UnknownService::Short(name));
            }
            if known
                .iter()
                .any(|(_, other)| other.expose_secret() == secret)
            {
                return Err(UnknownService::Shared(name));
            }
            known.push((service, secret.into()));
        }
        Ok(Self(known))
    }

    /// The service that this secret belongs to. Takes as long for a wrong secret as for a right
    /// one: every known one is compared, by digests of one length.
    #[must_use]
    pub fn service(&self, presented: &str) -> Option<Service> {
        let presented = Sha256::digest(presented.as_bytes());
        let mut found = None;
        for (service, secret) in &self.0 {
            let known = Sha256::digest(secret.expose_secret().as_bytes());
            if bool::from(presented.ct_eq(&known)) {
                found = Some(*service);
            }
        }
        found
    }

    /// Whom a stranger passes for: nobody, with `service-credential`.
    pub(crate) fn anyone(&self) -> Option<Service> {
        let first = self.0.first().map(|(service, _)| *service);
        first.filter(|_| !holds(Control::ServiceCredential))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let own = |(name, secret): &(&str, &str)| ((*name).to_owned(), (*secret).to_owned());
        pairs.iter().map(own).collect()
    }

    const ONE: &str = "0123456789abcdef-one";
    const TWO: &str = "0123456789abcdef-two";

    #[test]
    fn a_secret_names_its_service_and_nothing_else_does() {
        let known = Credentials::new(pairs(&[("telemetry", ONE), ("llm", TWO)])).unwrap();
        assert_eq!(known.service(ONE).map(Service::name), Some("telemetry"));
        assert_eq!(known.service(TWO).map(Service::name), Some("llm"));
        for wrong in ["", "0123456789abcdef", "0123456789abcdef-on", "telemetry"] {
            assert_eq!(known.service(wrong), None, "{wrong}");
        }
        assert!(!format!("{known:?}").contains(ONE));
    }

    #[test]
    fn lists_that_would_weaken_the_door_are_refused() {
        let error = |list: &[(&str, &str)]| Credentials::new(pairs(list)).unwrap_err();
        assert_eq!(
            error(&[("casebook", ONE)]),
            UnknownService::Name("casebook".to_owned())
        );
        assert_eq!(
            error(&[("telemetrie", ONE)]),
            UnknownService::Name("telemetrie".to_owned())
        );
        assert_eq!(
            error(&[("llm", "short")]),
            UnknownService::Short("llm".to_owned())
        );
        let shared = error(&[("llm", ONE), ("codebase", ONE)]);
        assert_eq!(shared, UnknownService::Shared("codebase".to_owned()));
    }

    #[test]
    fn a_service_owns_its_own_tools_only() {
        let known = Credentials::new(pairs(&[("telemetry", ONE)])).unwrap();
        let telemetry = known.service(ONE).unwrap();
        assert!(telemetry.owns("telemetry.query_logs"));
        for foreign in [
            "codebase.read_file",
            "telemetry.",
            "telemetry",
            "telemetryx.query",
        ] {
            assert!(!telemetry.owns(foreign), "{foreign}");
        }
    }
}
