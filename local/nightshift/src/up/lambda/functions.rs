//! Every function of the control plane: how long it may take, how often it may run at once, and its
//! environment.

use std::time::Duration;

use anyhow::Result;
use nightshift_queues::runtime::Function;
use nightshift_store::Role;
use serde_json::json;

use super::{ACCOUNT, Functions, steps::PREFIX};
use crate::up::{control::machine_env, plan::TOKEN_ISSUER, plane::Parts};

/// The name by which the database knows connections of the version before (`application_name`).
const BEFORE: &str = "nightshift-before";

/// A function's limits.
pub(super) struct Limits {
    pub(super) name: &'static str,
    /// Seconds that one invocation may take.
    timeout_s: u64,
    /// Invocations at once.
    pub(super) concurrency: usize,
    /// What it needs beyond what all need.
    needs: Needs,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    Nothing,
    Statements,
    ApiTokens,
    Machines,
    Reports,
}

/// The limits. A mapped queue hides its messages six times the timeout, so a step whose function was
/// killed is back after that; the timeouts are as short as the longest honest work allows.
pub(super) const FUNCTIONS: [Limits; 10] = [
    limits("alert-intake", 10, 12, Needs::Nothing),
    limits("session", 10, 12, Needs::Statements),
    limits("api", 30, 12, Needs::ApiTokens),
    limits("claim", 10, 2, Needs::Nothing),
    limits("dispatch", 40, 8, Needs::Machines),
    limits("pool-refill", 10, 2, Needs::Nothing),
    limits("provision", 90, 6, Needs::Machines),
    limits("retire", 45, 6, Needs::Machines),
    limits("write-back", 20, 2, Needs::Reports),
    limits("sweep", 55, 1, Needs::Machines),
];

const fn limits(name: &'static str, timeout_s: u64, concurrency: usize, needs: Needs) -> Limits {
    Limits {
        name,
        timeout_s,
        concurrency,
        needs,
    }
}

impl Limits {
    /// How long one invocation may take in this stack.
    pub(super) fn timeout(&self, how: &Functions) -> Duration {
        let own = Duration::from_secs(self.timeout_s);
        how.longest.map_or(own, |longest| longest.min(own))
    }
}

/// Every function as this stack deploys it, with its queues at `sqs`.
pub(super) fn all(parts: Parts<'_>, how: &Functions, sqs: &str) -> Result<Vec<Function>> {
    FUNCTIONS
        .iter()
        .map(|limits| function(parts, how, sqs, limits))
        .collect()
}

fn function(parts: Parts<'_>, how: &Functions, sqs: &str, limits: &Limits) -> Result<Function> {
    let database = parts.database.url(role(limits.name))?;
    let mut environment = common(parts, database, sqs);
    match limits.needs {
        Needs::Nothing => {}
        Needs::Statements => environment.extend(statements(parts)?),
        Needs::ApiTokens => environment.push(("NIGHTSHIFT_API_TOKEN_REFS", "api/token".to_owned())),
        Needs::Machines => environment.extend(machines(parts)),
        Needs::Reports => environment.push(("NIGHTSHIFT_REPORTS_REACH", "anywhere".to_owned())),
    }
    let named = |(name, value): (&str, String)| (name.to_owned(), value);
    Ok(Function {
        name: limits.name.to_owned(),
        program: parts.checkout.program(limits.name)?,
        arguments: Vec::new(),
        environment: environment.into_iter().map(named).collect(),
        timeout: limits.timeout(how),
        memory_mb: 256,
        reserved_concurrency: limits.concurrency,
        before: how
            .side_by_side
            .then(|| vec![("PGAPPNAME".to_owned(), BEFORE.to_owned())]),
    })
}

/// What a function is to the database.
fn role(function: &str) -> Role {
    match function {
        "alert-intake" => Role::Intake,
        "session" => Role::Session,
        "api" => Role::Api,
        _ => Role::Engine,
    }
}

fn common(parts: Parts<'_>, database: &str, sqs: &str) -> Vec<(&'static str, String)> {
    let mut environment = vec![
        ("DATABASE_URL", database.to_owned()),
        (
            "NIGHTSHIFT_SECRETS",
            parts.secrets.path().display().to_string(),
        ),
        ("NIGHTSHIFT_QUEUES", format!("{sqs}/{ACCOUNT}/{PREFIX}")),
        ("AWS_ENDPOINT_URL_SQS", sqs.to_owned()),
    ];
    environment.extend(parts.choices.log.clone().map(|log| ("NIGHTSHIFT_LOG", log)));
    environment
}

fn statements(parts: Parts<'_>) -> Result<Vec<(&'static str, String)>> {
    let issuer = format!("{}/oidc", parts.ports.url("machines"));
    let key = parts.checkout.local()?.join("signing.pem");
    let mut environment = vec![
        ("NIGHTSHIFT_STATEMENT_ISSUER", issuer),
        ("NIGHTSHIFT_TOKEN_ISSUER", TOKEN_ISSUER.to_owned()),
        ("NIGHTSHIFT_SIGNING_KEY", key.display().to_string()),
    ];
    environment.extend(parts.choices.briefing.iter().cloned());
    Ok(environment)
}

fn machines(parts: Parts<'_>) -> [(&'static str, String); 5] {
    [
        ("NIGHTSHIFT_MACHINES_URL", parts.ports.url("machines")),
        ("NIGHTSHIFT_MACHINES_TOKEN", "machines/token".to_owned()),
        ("NIGHTSHIFT_MACHINES_ORG", "local".to_owned()),
        ("NIGHTSHIFT_MACHINES_EGRESS_PORT", "80".to_owned()),
        (
            "NIGHTSHIFT_MACHINE_ENV",
            json!(machine_env(&parts.choices.accepted_risks)).to_string(),
        ),
    ]
}
