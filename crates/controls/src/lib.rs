//! The controls of the boundary, by name, and whether each holds.
//!
//! In a normal build every control holds: the question is a constant `true`, and nothing that a process is
//! told changes that. With the feature `weakened`, which only the attack suite has, `NIGHTSHIFT_WITHOUT`
//! names controls that do not hold, so that each attack can be shown to succeed without the control that
//! stops it. A control asks here at the one place where it decides.

macro_rules! controls {
    ($($(#[$about:meta])+ $control:ident = $name:literal,)+) => {
        /// Something that stops an attack. `docs/threat-model.md` says where each stands.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Control {
            $($(#[$about])+ $control,)+
        }

        impl Control {
            /// Every control.
            pub const ALL: &[Self] = &[$(Self::$control,)+];

            /// Its name in documents, in comments and on the command line.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$control => $name,)+
                }
            }
        }
    };
}

controls! {
    /// A run token is signed with ES256.
    TokenSignature = "token-signature",
    /// The key is one of the closed set, whatever a token says about keys.
    KeySet = "key-set",
    /// Claims have their types.
    ClaimTypes = "claim-types",
    /// A token is of the type of run tokens.
    TokenType = "token-type",
    /// A token is for exactly this server.
    TokenAudience = "token-audience",
    /// A token has not expired, by our clock.
    TokenExpiry = "token-expiry",
    /// A token is in force already, by our clock.
    TokenNotBefore = "token-not-before",
    /// A token lives no longer than tokens do.
    TokenLifetime = "token-lifetime",
    /// A token in a query is refused.
    TokenInQuery = "token-in-query",
    /// Nothing behind the gate sees the token.
    TokenStripped = "token-stripped",
    /// One token in one header.
    OneToken = "one-token",
    /// A bound token is no bearer token.
    TokenScheme = "token-scheme",
    /// The run is live at the token's epoch.
    RunLive = "run-live",
    /// What was heard of a run is believed for two seconds.
    RunFreshness = "run-freshness",
    /// Tenant, sandbox and epoch of token and run agree.
    RunAgrees = "run-agrees",
    /// All refusals look alike.
    RefusalsAlike = "refusals-alike",
    /// A request comes with a proof.
    ProofPresent = "proof-present",
    /// A proof is by the token's key.
    ProofKey = "proof-key",
    /// A proof's signature is that of its key.
    ProofSignature = "proof-signature",
    /// A proof is for this method.
    ProofMethod = "proof-method",
    /// A proof is for this URL.
    ProofUrl = "proof-url",
    /// A proof is of this moment.
    ProofAge = "proof-age",
    /// A proof is for this token.
    ProofToken = "proof-token",
    /// A proof counts once.
    ProofOnce = "proof-once",
    /// A tool needs its scope.
    ToolScope = "tool-scope",
    /// A tool that may not be called looks like one that does not exist.
    UnknownAsDenied = "unknown-as-denied",
    /// A list of tools is for one caller.
    ListPrivate = "list-private",
    /// A row for each call.
    Audit = "audit",
    /// No row, no answer.
    AuditOrSilence = "audit-or-silence",
    /// A request names us as its host.
    HostCheck = "host-check",
    /// No browser's page asks us.
    OriginCheck = "origin-check",
    /// A request's body is bounded.
    BodySize = "body-size",
    /// JSON is shallow.
    JsonDepth = "json-depth",
    /// An answer is of bounded size.
    OutputSize = "output-size",
    /// No control characters and escape sequences in answers.
    OutputControl = "output-control",
    /// No characters that reorder in answers.
    OutputBidi = "output-bidi",
    /// No invisible characters in answers.
    OutputHidden = "output-hidden",
    /// No secrets in answers.
    OutputSecrets = "output-secrets",
    /// An event of the log is one line.
    LogLines = "log-lines",
    /// A service of ours proves which one it is.
    ServiceCredential = "service-credential",
    /// A service records under its own name alone.
    ServiceOwnTools = "service-own-tools",
    /// The address of a URL lies within reach.
    SsrfAddress = "ssrf-address",
    /// The address that a name resolves to lies within reach.
    SsrfResolve = "ssrf-resolve",
    /// No redirect is followed.
    RedirectsOff = "redirects-off",
    /// No proxy of the environment is used.
    ProxyOff = "proxy-off",
    /// A credential is for one origin.
    CredentialOrigin = "credential-origin",
    /// An answer of others is of bounded size.
    AnswerSize = "answer-size",
    /// What others answered to a mistake is not repeated.
    ErrorsTyped = "errors-typed",
    /// A run asks only its tenant's connection.
    TenantConnection = "tenant-connection",
    /// A run sees only its own case.
    TenantCase = "tenant-case",
    /// A vault opens for its tenant alone.
    TenantVault = "tenant-vault",
    /// A remembered credential is one tenant's.
    CredentialCache = "credential-cache",
    /// A credential is not shown in texts.
    CredentialHidden = "credential-hidden",
    /// Rows of one tenant.
    RowSecurity = "row-security",
    /// A process has the statements that it needs.
    LeastGrants = "least-grants",
    /// A path of code is a name and not a way.
    CodePath = "code-path",
    /// No secrets in reports.
    ReportSecrets = "report-secrets",
    /// Only the one path at the model.
    ModelPaths = "model-paths",
    /// Only listed models.
    ModelList = "model-list",
    /// Only known fields.
    ModelFields = "model-fields",
    /// No tools that the provider runs.
    ModelServerTools = "model-server-tools",
    /// Tokens are set aside before.
    ModelBudget = "model-budget",
    /// Few requests of a run at once.
    ModelRunConcurrency = "model-run-concurrency",
    /// Bounded requests of a tenant at once.
    ModelTenantConcurrency = "model-tenant-concurrency",
    /// Only betas that change how the model thinks.
    ModelBetas = "model-betas",
    /// A webhook is signed.
    WebhookSignature = "webhook-signature",
    /// A webhook is of this moment.
    WebhookAge = "webhook-age",
    /// A delivery counts once.
    WebhookOnce = "webhook-once",
    /// A statement is signed by the platform.
    StatementSignature = "statement-signature",
    /// A statement is for us.
    StatementAudience = "statement-audience",
    /// A statement is of this moment.
    StatementAge = "statement-age",
    /// A statement counts once.
    StatementOnce = "statement-once",
    /// A statement's machine is the claimed one.
    StatementMachine = "statement-machine",
    /// A start is attested once.
    AttestOnce = "attest-once",
    /// Tokens are renewed for the key that attested.
    RenewKey = "renew-key",
    /// A sandbox has no network of its own.
    SandboxNetwork = "sandbox-network",
    /// A sandbox asks only the names that it was given.
    SandboxEgress = "sandbox-egress",
    /// A start of a sandbox ends in time, whatever happens in it.
    SandboxTtl = "sandbox-ttl",
    /// The supervisor's socket is for the harness alone.
    SandboxPeer = "sandbox-peer",
    /// The supervisor's memory and environment are closed.
    NonDumpable = "non-dumpable",
    /// Harness and agent have users of their own.
    Users = "users",
    /// Harness and agent inherit no environment.
    CleanStart = "clean-start",
    /// Harness and agent have no capabilities.
    NoCapabilities = "no-capabilities",
    /// Their system calls are listed.
    Seccomp = "seccomp",
    /// Their files are listed.
    Landlock = "landlock",
    /// What each of their processes may take is bounded.
    ResourceLimits = "resource-limits",
    /// What they take together is bounded by the kernel.
    Cgroups = "cgroups",
    /// What they take of the disk is watched.
    UsageWatch = "usage-watch",
    /// Their commands end in time.
    WallClock = "wall-clock",
    /// What they write is cut.
    OutputCap = "output-cap",
}

/// The variable that names controls to do without: names separated by commas, or `all`.
pub const WITHOUT: &str = "NIGHTSHIFT_WITHOUT";

impl Control {
    /// The control of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|control| control.name() == name)
    }
}

impl std::fmt::Display for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether the control holds: always, in a normal build.
#[cfg(not(feature = "weakened"))]
#[must_use]
#[inline]
pub const fn holds(_: Control) -> bool {
    true
}

#[cfg(feature = "weakened")]
mod weakened;
#[cfg(feature = "weakened")]
pub use weakened::{holds, without};

/// The controls that do not hold in this process: none, in a normal build.
#[cfg(not(feature = "weakened"))]
#[must_use]
pub const fn without() -> Vec<Control> {
    Vec::new()
}

/// Whether this build has switches at all.
#[must_use]
pub const fn has_switches() -> bool {
    cfg!(feature = "weakened")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_control_has_a_name_of_its_own() {
        for control in Control::ALL {
            assert_eq!(Control::named(control.name()), Some(*control));
        }
    }
}
