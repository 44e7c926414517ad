//! Clients of AWS, made when they are first used: a cold start asks no name server and loads no roots.

use std::{fmt, sync::OnceLock, time::Duration};

use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};

use crate::Environment;

/// How long one attempt of a call may take; there is a second attempt.
const ATTEMPT: Duration = Duration::from_secs(5);
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(2);

/// Where AWS is and who we are to it. The credentials are those that Lambda puts in the environment of
/// a function for as long as it lives.
#[derive(Clone)]
pub struct Aws {
    region: String,
    key: String,
    secret: String,
    session: Option<String>,
}

impl Aws {
    /// Reads `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, where there is one,
    /// `AWS_SESSION_TOKEN`.
    pub fn from_env(env: &mut Environment) -> Option<Self> {
        let region = env.required("AWS_REGION");
        let key = env.required("AWS_ACCESS_KEY_ID");
        let secret = env.required("AWS_SECRET_ACCESS_KEY");
        let session = env.optional("AWS_SESSION_TOKEN");
        Some(Self {
            region: region?,
            key: key?,
            secret: secret?,
            session,
        })
    }

    pub(crate) fn region(&self) -> &str {
        &self.region
    }

    pub(crate) fn credentials(&self) -> aws_sdk_sqs::config::Credentials {
        aws_sdk_sqs::config::Credentials::new(
            self.key.clone(),
            self.secret.clone(),
            self.session.clone(),
            None,
            "environment",
        )
    }
}

impl fmt::Debug for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aws")
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

/// Everything that the clients of all services have in common; the builders share no type.
macro_rules! configured {
    ($builder:expr, $aws:expr, $endpoint:expr) => {{
        use $crate::aws::{http_client, retries, timeouts};
        $builder
            .behavior_version_latest()
            .region(aws_sdk_sqs::config::Region::new($aws.region.clone()))
            .credentials_provider($aws.credentials())
            .endpoint_url($endpoint)
            .http_client(http_client($endpoint))
            .retry_config(retries())
            .timeout_config(timeouts())
            .build()
    }};
}

pub(crate) fn http_client(endpoint: &str) -> aws_sdk_sqs::config::SharedHttpClient {
    if endpoint.starts_with("https://") {
        let ring = Provider::Rustls(CryptoMode::Ring);
        Builder::new().tls_provider(ring).build_https()
    } else {
        Builder::new().build_http()
    }
}

pub(crate) fn retries() -> aws_sdk_sqs::config::retry::RetryConfig {
    aws_sdk_sqs::config::retry::RetryConfig::standard().with_max_attempts(2)
}

pub(crate) fn timeouts() -> aws_sdk_sqs::config::timeout::TimeoutConfig {
    aws_sdk_sqs::config::timeout::TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .operation_attempt_timeout(ATTEMPT)
        .build()
}

/// A client of SQS.
#[derive(Debug)]
pub(crate) struct LazySqs {
    aws: Aws,
    endpoint: String,
    client: OnceLock<aws_sdk_sqs::Client>,
}

impl LazySqs {
    pub(crate) const fn new(aws: Aws, endpoint: String) -> Self {
        Self {
            aws,
            endpoint,
            client: OnceLock::new(),
        }
    }

    pub(crate) fn client(&self) -> &aws_sdk_sqs::Client {
        self.client.get_or_init(|| {
            let builder = aws_sdk_sqs::Config::builder();
            let config = configured!(builder, self.aws, self.endpoint.as_str());
            aws_sdk_sqs::Client::from_conf(config)
        })
    }
}

/// A client of Secrets Manager.
#[derive(Debug)]
pub(crate) struct LazySecretsManager {
    aws: Aws,
    endpoint: String,
    client: OnceLock<aws_sdk_secretsmanager::Client>,
}

impl LazySecretsManager {
    /// The service of the region, or one at `endpoint`.
    pub(crate) fn new(aws: Aws, endpoint: Option<String>) -> Self {
        let regional = || format!("https://secretsmanager.{}.amazonaws.com", aws.region);
        let endpoint = endpoint.unwrap_or_else(regional);
        Self {
            aws,
            endpoint,
            client: OnceLock::new(),
        }
    }

    pub(crate) fn client(&self) -> &aws_sdk_secretsmanager::Client {
        self.client.get_or_init(|| {
            let builder = aws_sdk_secretsmanager::Config::builder();
            let config = configured!(builder, self.aws, self.endpoint.as_str());
            aws_sdk_secretsmanager::Client::from_conf(config)
        })
    }
}
