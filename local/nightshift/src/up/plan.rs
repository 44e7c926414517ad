//! What each child is told: its arguments and its whole environment.

use std::path::PathBuf;

use anyhow::Result;
use nightshift_lambda::Environment;
use nightshift_store::Role;

use super::{database::Database, ports::Ports, process::Program, secrets::StackSecrets};
use crate::checkout::Checkout;

/// The exact `iss` of run tokens.
pub(super) const TOKEN_ISSUER: &str = "https://session.nightshift.local";
/// The name of the store that the recordings of the shop are.
pub(super) const RECORDINGS_STORE: &str = "shop";

/// What the operator chose for the children, read once from our own environment.
#[derive(Debug, Clone, Default)]
pub(super) struct Choices {
    passed_on: Vec<(&'static str, String)>,
    /// What changes the brief of agents; for session.
    pub(super) briefing: Vec<(&'static str, String)>,
    /// What is logged.
    pub(super) log: Option<String>,
    /// What sandboxes are, in machined's words; its default is bubblewrap.
    pub(super) machines: Option<String>,
    /// Hardening steps that sandboxes may be without, because this machine does not offer them.
    pub(super) accepted_risks: String,
}

impl Choices {
    /// Reads the variables that are for the LLM gateway, which alone may hold a provider's key, and those
    /// that are for session.
    pub(super) fn from_env() -> Self {
        let mut env = Environment::of_this_process();
        let names = [
            "ANTHROPIC_API_KEY",
            "ANTHROPIC_BASE_URL",
            "NIGHTSHIFT_LLM_PROVIDER",
            "NIGHTSHIFT_MODELS",
        ];
        let briefing = [
            "NIGHTSHIFT_MODEL",
            "NIGHTSHIFT_TELEMETRY_URL",
            "NIGHTSHIFT_CODEBASE_URL",
            "NIGHTSHIFT_CASEBOOK_URL",
            "NIGHTSHIFT_LLM_URL",
        ];
        Self {
            passed_on: set_of(&mut env, &names),
            briefing: set_of(&mut env, &briefing),
            log: env.optional("NIGHTSHIFT_LOG"),
            machines: env.optional("NIGHTSHIFT_MACHINES"),
            accepted_risks: String::new(),
        }
    }
}

impl Choices {
    /// Where machined keeps everything. A backend does not touch what another one left.
    pub(super) fn machines_state(&self, checkout: &Checkout) -> Result<PathBuf> {
        let name = match self.machines.as_deref() {
            None | Some("bubblewrap") => "machines".to_owned(),
            Some(other) => format!("machines-{other}"),
        };
        Ok(checkout.local()?.join(name))
    }

    /// What machined is told of it.
    pub(super) fn backend(&self, checkout: &Checkout) -> Result<Vec<String>> {
        let Some(backend) = &self.machines else {
            return Ok(vec![]);
        };
        let kernel = checkout.local()?.join("kernel");
        let arguments = [
            "--backend",
            backend,
            "--kernel",
            &kernel.display().to_string(),
        ];
        Ok(arguments.map(str::to_owned).into())
    }
}

fn set_of(env: &mut Environment, names: &[&'static str]) -> Vec<(&'static str, String)> {
    let set = names
        .iter()
        .filter_map(|name| Some((*name, env.optional(name)?)));
    set.collect()
}

/// Everything that the children's plans are made of.
#[derive(Debug)]
pub(super) struct Plans<'a> {
    pub(super) checkout: &'a Checkout,
    pub(super) ports: &'a Ports,
    pub(super) secrets: &'a StackSecrets,
    pub(super) choices: &'a Choices,
    pub(super) database: &'a Database,
    pub(super) images: PathBuf,
    /// How long a reported sandbox is kept for follow-ups, in seconds.
    pub(super) rest_seconds: u32,
}

impl Plans<'_> {
    /// Every child.
    pub(super) fn programs(&self) -> Result<Vec<Program>> {
        Ok(vec![
            self.machined()?,
            self.casebook()?,
            self.observer("telemetry")?,
            self.observer("codebase")?,
            self.llm_gateway()?,
        ])
    }

    fn machined(&self) -> Result<Program> {
        let state = self.choices.machines_state(self.checkout)?;
        let mut arguments = vec![
            "--listen".to_owned(),
            self.ports.address("machines").to_string(),
            "--state".to_owned(),
            state.display().to_string(),
            "--images".to_owned(),
            self.images.display().to_string(),
            "--exit-with-parent".to_owned(),
            // The pace of a shared provider is for tests; on one machine its processors set it.
            "--no-rate-limits".to_owned(),
        ];
        arguments.extend(self.choices.backend(self.checkout)?);
        for name in ["session", "telemetry", "codebase", "casebook", "llm"] {
            arguments.push("--egress".to_owned());
            arguments.push(format!("{}={}", public_host(name), self.ports.url(name)));
        }
        let token = self.secrets.of("machines/token")?.to_owned();
        Ok(Program {
            name: "machined",
            path: self.checkout.program("machined")?,
            arguments,
            environment: vec![("MACHINED_TOKEN", token)],
            health: format!(
                "{}/oidc/.well-known/openid-configuration",
                self.ports.url("machines")
            ),
            logs: self.checkout.logs()?,
        })
    }

    fn casebook(&self) -> Result<Program> {
        let mut environment = self.server("casebook");
        let credential = |name: &str| -> Result<String> {
            let secret = self.secrets.of(&format!("service/{name}"))?;
            Ok(format!("{name}={secret}"))
        };
        let credentials = [
            credential("telemetry")?,
            credential("codebase")?,
            credential("llm")?,
        ];
        environment.extend([
            (
                "DATABASE_URL",
                self.database.url(Role::Casebook)?.to_owned(),
            ),
            (
                "NIGHTSHIFT_INTERNAL_LISTEN",
                self.ports.address("internal").to_string(),
            ),
            ("NIGHTSHIFT_SERVICE_CREDENTIALS", credentials.join(",")),
            ("NIGHTSHIFT_REST_SECONDS", self.rest_seconds.to_string()),
        ]);
        self.program("casebook", "casebook", "casebook", environment)
    }

    fn observer(&self, name: &'static str) -> Result<Program> {
        let mut environment = self.server(name);
        environment.extend(self.service(name)?);
        let recordings = self.checkout.recordings();
        let stores = format!("{RECORDINGS_STORE}={}", recordings.display());
        environment.push(("NIGHTSHIFT_RECORDINGS", stores));
        self.program(name, name, name, environment)
    }

    fn llm_gateway(&self) -> Result<Program> {
        let mut environment = self.server("llm");
        environment.extend(self.service("llm")?);
        environment.extend(self.choices.passed_on.iter().cloned());
        self.program("llm-gateway", "llm-gateway", "llm", environment)
    }

    /// What every server that checks run tokens is told.
    fn server(&self, name: &str) -> Vec<(&'static str, String)> {
        let mut environment = vec![
            ("NIGHTSHIFT_LISTEN", self.ports.address(name).to_string()),
            ("NIGHTSHIFT_PUBLIC_HOST", public_host(name)),
            ("NIGHTSHIFT_TOKEN_ISSUER", TOKEN_ISSUER.to_owned()),
            (
                "NIGHTSHIFT_JWKS_URL",
                format!("{}/.well-known/jwks.json", self.ports.url("session")),
            ),
            ("NIGHTSHIFT_EXIT_WITH_PARENT", "1".to_owned()),
        ];
        if let Some(log) = &self.choices.log {
            environment.push(("NIGHTSHIFT_LOG", log.clone()));
        }
        environment
    }

    /// How a server without a database reaches the casebook.
    fn service(&self, name: &str) -> Result<[(&'static str, String); 2]> {
        let secret = self.secrets.of(&format!("service/{name}"))?;
        Ok([
            ("NIGHTSHIFT_CASEBOOK_INTERNAL", self.ports.url("internal")),
            ("NIGHTSHIFT_SERVICE_CREDENTIAL", secret.to_owned()),
        ])
    }

    fn program(
        &self,
        name: &'static str,
        binary: &str,
        port: &str,
        environment: Vec<(&'static str, String)>,
    ) -> Result<Program> {
        Ok(Program {
            name,
            path: self.checkout.program(binary)?,
            arguments: Vec::new(),
            environment,
            health: format!("{}/healthz", self.ports.url(port)),
            logs: self.checkout.logs()?,
        })
    }
}

/// The name by which sandboxes reach a server.
pub(super) fn public_host(name: &str) -> String {
    format!("{name}.nightshift.internal")
}
