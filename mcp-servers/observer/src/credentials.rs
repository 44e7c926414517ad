//! The credentials of tenants' connections, for as long as a run that needs one is live.

use std::{sync::Arc, time::Duration};

use nightshift_mcp_kit::Runs;
use nightshift_protocol::run::{RunStatus, STATUS_TTL_MS};
use nightshift_secrets::{Cached, Credential, CredentialName, Reader, SecretError, Secrets};

/// How often it is asked whether a run still lives whose credentials are held.
const LOOK_EVERY: Duration = Duration::from_millis(STATUS_TTL_MS);

/// Reads the credential that a run's tenant connected, and forgets it when its last run is over, whether or not
/// anybody calls again: control `credential-cache`.
#[derive(Clone)]
pub struct Credentials {
    cached: Cached<Arc<dyn Secrets>>,
    runs: Arc<dyn Runs>,
}

impl Credentials {
    /// Reads from `secrets` for runs that `runs` knows.
    #[must_use]
    pub fn new(secrets: Arc<dyn Secrets>, runs: Arc<dyn Runs>) -> Self {
        Self {
            cached: Cached::new(secrets),
            runs,
        }
    }

    /// The credential of this name of the tenant of a live run. The run is what the gate verified; no tool's
    /// argument says whose credential is read.
    pub async fn of_run(
        &self,
        run: &RunStatus,
        name: &CredentialName,
    ) -> Result<Credential, SecretError> {
        let reader = Reader {
            tenant: run.tenant,
            run: run.investigation,
            epoch: run.epoch,
        };
        let is_watched = self.cached.holds_for(run.investigation);
        let credential = self.cached.read(reader, name).await?;
        if !is_watched {
            let (credentials, run) = (self.clone(), run.clone());
            tokio::spawn(async move { credentials.watch(&run).await });
        }
        Ok(credential)
    }

    /// Waits for the run's end. A casebook that does not answer ends nothing; then age does, within a minute.
    async fn watch(&self, run: &RunStatus) {
        while self.cached.holds_for(run.investigation) {
            tokio::time::sleep(LOOK_EVERY).await;
            if let Ok(None) = self.runs.status(run.investigation, run.epoch).await {
                self.cached.end(run.investigation);
            }
        }
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("cached", &self.cached)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use chrono::DateTime;
    use nightshift_domain::{Epoch, InvestigationId, SandboxId, TenantId};
    use nightshift_mcp_kit::testing::FakeCasebook;
    use nightshift_secrets::Pending;

    use super::*;

    /// Answers with whose it is.
    #[derive(Debug)]
    struct Named;

    impl Secrets for Named {
        fn read<'a>(
            &'a self,
            reader: Reader,
            name: &'a CredentialName,
        ) -> Pending<'a, Result<Credential, SecretError>> {
            let text = format!("{} of {}", name, reader.tenant);
            Box::pin(async move { Ok(Credential::new(text.into())) })
        }
    }

    fn run() -> RunStatus {
        RunStatus {
            investigation: InvestigationId::generate(),
            tenant: TenantId::generate(),
            sandbox: SandboxId::generate(),
            epoch: Epoch(1),
            fired_at: DateTime::UNIX_EPOCH,
            connections: BTreeMap::new(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_credential_is_its_runs_tenants_and_is_forgotten_soon_after_the_run() {
        let casebook = Arc::new(FakeCasebook::default());
        let runs: Arc<dyn Runs> = Arc::<FakeCasebook>::clone(&casebook);
        let credentials = Credentials::new(Arc::new(Named), runs);
        let (one, two) = (run(), run());
        let name: CredentialName = "loki".parse().unwrap();
        for run in [&one, &two] {
            casebook.make_live(run);
            let read = credentials.of_run(run, &name).await.unwrap();
            assert_eq!(read.expose(), format!("loki of {}", run.tenant));
        }
        tokio::time::sleep(LOOK_EVERY * 2).await;
        assert!(
            credentials.cached.holds_for(one.investigation),
            "it is live"
        );
        casebook.end(one.investigation);
        tokio::time::sleep(LOOK_EVERY * 2).await;
        assert!(!credentials.cached.holds_for(one.investigation));
        assert!(
            credentials.cached.holds_for(two.investigation),
            "the other goes on"
        );

        casebook.set_down(true);
        tokio::time::sleep(nightshift_secrets::MAX_AGE).await;
        assert!(
            !credentials.cached.holds_for(two.investigation),
            "age ends it"
        );
    }
}
