//! How a server reads tenants' credentials from AWS: who vouches for it, and where they are.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use nightshift_mcp_kit::{Clock, Environment, Runs, SystemClock, casebook};
use nightshift_secrets::aws::{self, AwsSecrets, Place};
use reqwest::Url;
use secrecy::SecretString;

use crate::{Credentials, IdentityClient, UnusableLink};

const IDENTITY: &str = "NIGHTSHIFT_WEB_IDENTITY";
const SECRET: &str = "NIGHTSHIFT_WEB_IDENTITY_SECRET";
const ROLE: &str = "NIGHTSHIFT_TENANT_READER";
const REGION: &str = "NIGHTSHIFT_TENANT_SECRETS_REGION";
const ENVIRONMENT: &str = "NIGHTSHIFT_TENANT_SECRETS_ENVIRONMENT";

/// How a server reads tenants' credentials from AWS.
#[derive(Debug, Clone)]
pub struct SecretsLink {
    /// `NIGHTSHIFT_WEB_IDENTITY`: the base of `session`, `https` or on this machine.
    pub session: Url,
    /// `NIGHTSHIFT_WEB_IDENTITY_SECRET`: this server's own secret there.
    pub secret: SecretString,
    /// Where the credentials are: `NIGHTSHIFT_TENANT_READER` (the ARN of the role that reads them),
    /// `NIGHTSHIFT_TENANT_SECRETS_REGION`, `NIGHTSHIFT_TENANT_SECRETS_ENVIRONMENT`; and stand-ins for AWS in
    /// `AWS_ENDPOINT_URL_STS` and `AWS_ENDPOINT_URL_SECRETS_MANAGER`.
    pub place: Place,
}

impl SecretsLink {
    /// Reads it, if any of it is set; complaints stay with the environment.
    pub fn read(environment: &mut Environment) -> Option<Option<Self>> {
        let is_set = |name: &&str| environment.optional_text(name).is_some();
        if [IDENTITY, SECRET, ROLE, REGION, ENVIRONMENT]
            .iter()
            .any(is_set)
        {
            Self::whole(environment).map(Some)
        } else {
            Some(None)
        }
    }

    fn whole(environment: &mut Environment) -> Option<Self> {
        let session = environment.require::<Url>(IDENTITY);
        let session = session.filter(|url| {
            let good = is_private(url);
            if !good {
                environment.complain(IDENTITY, "is neither https nor an address of this machine");
            }
            good
        });
        let secret = environment.secret(SECRET);
        let role = environment.text(ROLE);
        let account = role.as_deref().and_then(|role| {
            let account = account_of(role);
            if account.is_none() {
                environment.complain(ROLE, "is not the ARN of a role");
            }
            account
        });
        let region = plain(environment, REGION);
        let installation = plain(environment, ENVIRONMENT);
        let of_region = region.as_deref().unwrap_or("region");
        let sts = endpoint(environment, "AWS_ENDPOINT_URL_STS", "sts", of_region);
        let name = "AWS_ENDPOINT_URL_SECRETS_MANAGER";
        let secrets_manager = endpoint(environment, name, "secretsmanager", of_region);
        Some(Self {
            session: session?,
            secret: secret?,
            place: Place {
                region: region?,
                account: account?,
                environment: installation?,
                role: role?,
                sts: sts?,
                secrets_manager: secrets_manager?,
            },
        })
    }

    /// What reads credentials so, for runs that `runs` knows.
    pub fn credentials(&self, runs: Arc<dyn Runs>) -> Result<Credentials, UnusableLink> {
        self.credentials_at(runs, Arc::new(SystemClock))
    }

    /// As [`SecretsLink::credentials`], by a clock of one's own.
    pub fn credentials_at(
        &self,
        runs: Arc<dyn Runs>,
        clock: Arc<dyn Clock>,
    ) -> Result<Credentials, UnusableLink> {
        let http = casebook::http_client()?;
        let identity = IdentityClient::new(http.clone(), &self.session, &self.secret)?;
        let secrets = AwsSecrets::new(
            self.place.clone(),
            http,
            Arc::new(identity),
            Arc::new(Told(clock)),
        );
        Ok(Credentials::new(Arc::new(secrets), runs))
    }
}

/// A server's clock as the reader of secrets wants it.
struct Told(Arc<dyn Clock>);

impl aws::Clock for Told {
    fn now(&self) -> DateTime<Utc> {
        self.0.now()
    }
}

/// Whether nobody on the way reads what is sent there.
fn is_private(url: &Url) -> bool {
    let here = matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
    url.has_host() && (url.scheme() == "https" || (url.scheme() == "http" && here))
}

/// The account of `arn:aws:iam::123456789012:role/NAME`.
fn account_of(role: &str) -> Option<String> {
    let (account, name) = role.strip_prefix("arn:aws:iam::")?.split_once(":role/")?;
    let twelve = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    (twelve && !name.is_empty()).then(|| account.to_owned())
}

/// A word that stands in names and addresses: lower-case letters, digits and hyphens.
fn plain(environment: &mut Environment, name: &str) -> Option<String> {
    let text = environment.text(name)?;
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if text.bytes().all(known) {
        return Some(text);
    }
    environment.complain(name, "has more than lower-case letters, digits and hyphens");
    None
}

fn endpoint(environment: &mut Environment, name: &str, service: &str, region: &str) -> Option<Url> {
    let usual = format!("https://{service}.{region}.amazonaws.com/");
    let text = environment.optional_text(name).unwrap_or(usual);
    let url = Url::parse(&text).ok().filter(is_private);
    if url.is_none() {
        environment.complain(name, "is neither https nor an address of this machine");
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: [(&str, &str); 5] = [
        (IDENTITY, "https://session.example"),
        (SECRET, "0123456789abcdef"),
        (ROLE, "arn:aws:iam::123456789012:role/reader"),
        (REGION, "eu-west-1"),
        (ENVIRONMENT, "prod"),
    ];

    fn read(variables: &[(&str, &str)]) -> Result<Option<SecretsLink>, String> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut environment = Environment::of(variables.iter().map(own));
        let link = SecretsLink::read(&mut environment);
        environment.finish(link).map_err(|error| error.to_string())
    }

    #[test]
    fn without_any_of_it_there_are_no_credentials_and_with_one_all_is_wanted() {
        assert!(read(&[]).unwrap().is_none());
        for (only, value) in WHOLE {
            let complaint = read(&[(only, value)]).unwrap_err();
            for (name, _) in WHOLE {
                assert_eq!(
                    complaint.contains(&format!("{name} ")),
                    name != only,
                    "{complaint}"
                );
            }
        }
        let place = read(&WHOLE).unwrap().unwrap().place;
        assert_eq!(place.account, "123456789012");
        assert_eq!(place.sts.as_str(), "https://sts.eu-west-1.amazonaws.com/");
    }

    #[test]
    fn what_would_leak_or_lead_astray_is_refused_by_name() {
        for (name, value) in [
            (IDENTITY, "http://session.example"),
            (ROLE, "arn:aws:iam::12:role/reader"),
            (ROLE, "reader"),
            (REGION, "evil.example/"),
            (ENVIRONMENT, "prod/t"),
            ("AWS_ENDPOINT_URL_STS", "http://sts.example"),
        ] {
            let mut variables = WHOLE.to_vec();
            variables.retain(|(other, _)| *other != name);
            variables.push((name, value));
            let complaint = read(&variables).unwrap_err();
            assert!(
                complaint.contains(&format!("{name} is"))
                    || complaint.contains(&format!("{name} has")),
                "{complaint}"
            );
            assert!(!complaint.contains("0123456789abcdef"), "{complaint}");
        }
    }
}
