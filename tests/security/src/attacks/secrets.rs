//! Tenants' credentials in the process that uses them.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::Result;
use nightshift_domain::{Epoch, InvestigationId, TenantId};
use nightshift_secrets::{
    Cached, CredentialName, LocalSecrets, MasterKey, Reader, Secrets, TenantKeys, Vault,
};
use tempfile::TempDir;

use crate::case::{Case, Outcome, case};

pub(crate) const CASES: &[Case] = &[
    case!(
        56,
        "cached-for-another",
        [CredentialCache],
        "one tenant's credential from another's cache",
        cached
    ),
    case!(
        56,
        "vault-for-another",
        [TenantVault],
        "one tenant's vault under another's name",
        swapped_vault
    ),
    case!(
        58,
        "credential-in-a-log",
        [CredentialHidden],
        "a credential in what is logged",
        in_a_log
    ),
];

const THEIRS: &str = "credential-canary-of-globex";
const OURS: &str = "credential-canary-of-acme";

/// Two tenants' vaults in a folder, and a process that serves both.
struct Keeper {
    folder: TempDir,
    secrets: LocalSecrets,
    ours: Reader,
    theirs: Reader,
    name: CredentialName,
}

fn keeper() -> Result<Keeper> {
    let folder = TempDir::new()?;
    let master = MasterKey::generate();
    let name: CredentialName = "telemetry".parse()?;
    let mut keys = TenantKeys::default();
    let mut readers = Vec::new();
    for text in [OURS, THEIRS] {
        let tenant = TenantId::generate();
        let key = master.derive(tenant);
        let sealed = BTreeMap::from([(name.clone(), text.to_owned().into())]);
        Vault::of(folder.path(), tenant).seal(&key, &sealed)?;
        keys = keys.with(tenant, key);
        readers.push(Reader {
            tenant,
            run: InvestigationId::generate(),
            epoch: Epoch(1),
        });
    }
    let secrets = LocalSecrets::new(folder.path().to_owned(), keys);
    Ok(Keeper {
        folder,
        secrets,
        ours: readers[0],
        theirs: readers[1],
        name,
    })
}

fn file_of(folder: &Path, reader: Reader) -> std::path::PathBuf {
    folder.join(format!("{}.sealed", reader.tenant))
}

async fn cached() -> Result<Outcome> {
    let keeper = keeper()?;
    let cache = Cached::new(keeper.secrets);
    let theirs = cache.read(keeper.theirs, &keeper.name).await?;
    anyhow::ensure!(theirs.expose() == THEIRS, "they read their own");
    let read = cache.read(keeper.ours, &keeper.name).await?;
    Ok(Outcome::of(read.expose() == THEIRS, "each reads its own"))
}

async fn swapped_vault() -> Result<Outcome> {
    let keeper = keeper()?;
    let folder = keeper.folder.path();
    let honest = keeper.secrets.read(keeper.ours, &keeper.name).await?;
    anyhow::ensure!(honest.expose() == OURS, "we read our own");
    fs::copy(file_of(folder, keeper.theirs), file_of(folder, keeper.ours))?;
    match keeper.secrets.read(keeper.ours, &keeper.name).await {
        Ok(read) => Ok(Outcome::of(
            read.expose() == THEIRS,
            "another's vault opened",
        )),
        Err(error) => Ok(Outcome::Stopped(error.to_string())),
    }
}

async fn in_a_log() -> Result<Outcome> {
    let keeper = keeper()?;
    let read = keeper.secrets.read(keeper.ours, &keeper.name).await?;
    let shown = format!("{read:?} {:?}", keeper.secrets);
    Ok(Outcome::of(shown.contains(OURS), format!("{read:?}")))
}
