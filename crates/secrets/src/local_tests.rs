//! What a vault, a key and a process without one give away: control `tenant-vault`.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::Path};

use nightshift_domain::{Epoch, InvestigationId, TenantId};
use secrecy::SecretString;
use tempfile::TempDir;

use super::*;

struct Kept {
    folder: TempDir,
    master: MasterKey,
    ours: TenantId,
    theirs: TenantId,
}

fn name(text: &str) -> CredentialName {
    text.parse().unwrap()
}

fn credentials(text: &str) -> BTreeMap<CredentialName, SecretString> {
    [(name("prometheus"), SecretString::from(text))].into()
}

fn kept() -> Kept {
    let kept = Kept {
        folder: TempDir::new().unwrap(),
        master: MasterKey::generate(),
        ours: TenantId::generate(),
        theirs: TenantId::generate(),
    };
    for (tenant, text) in [(kept.ours, "our-hunter2"), (kept.theirs, "their-hunter2")] {
        let key = kept.master.derive(tenant);
        Vault::of(kept.folder.path(), tenant)
            .seal(&key, &credentials(text))
            .unwrap();
    }
    kept
}

impl Kept {
    /// A process that serves one tenant, started as a server is: its keys come as a text.
    fn process_for(&self, tenant: TenantId) -> LocalSecrets {
        let given = TenantKeys::default().with(tenant, self.master.derive(tenant));
        let keys: TenantKeys = given.to_text().parse().unwrap();
        LocalSecrets::new(self.folder.path().to_owned(), keys)
    }

    fn path(&self, tenant: TenantId) -> std::path::PathBuf {
        self.folder.path().join(format!("{tenant}.sealed"))
    }
}

async fn read(
    secrets: &LocalSecrets,
    tenant: TenantId,
    credential: &str,
) -> Result<String, SecretError> {
    let reader = Reader {
        tenant,
        run: InvestigationId::generate(),
        epoch: Epoch(1),
    };
    let read = secrets.read(reader, &name(credential)).await?;
    Ok(read.expose().to_owned())
}

#[tokio::test]
async fn a_process_that_serves_one_tenant_gets_that_tenants_credentials_and_no_others() {
    let kept = kept();
    let ours = kept.process_for(kept.ours);
    assert_eq!(
        read(&ours, kept.ours, "prometheus").await.unwrap(),
        "our-hunter2"
    );
    assert_eq!(
        read(&ours, kept.ours, "loki").await,
        Err(SecretError::Unknown)
    );
    let refused = read(&ours, kept.theirs, "prometheus").await;
    assert_eq!(refused, Err(SecretError::Refused(Code::of("NoKey"))));
}

#[tokio::test]
async fn a_vault_put_where_another_tenants_belongs_is_not_opened() {
    let kept = kept();
    let ours = kept.process_for(kept.ours);
    fs::copy(kept.path(kept.theirs), kept.path(kept.ours)).unwrap();
    assert_eq!(
        read(&ours, kept.ours, "prometheus").await,
        Err(SecretError::Damaged)
    );

    // Even under one key the tenant is part of what is authenticated.
    let key = kept.master.derive(kept.ours);
    let theirs = Vault::of(kept.folder.path(), kept.theirs);
    theirs.seal(&key, &credentials("their-hunter2")).unwrap();
    fs::copy(kept.path(kept.theirs), kept.path(kept.ours)).unwrap();
    assert_eq!(
        read(&ours, kept.ours, "prometheus").await,
        Err(SecretError::Damaged)
    );
}

#[test]
fn a_stolen_file_shows_nothing_without_its_key_and_one_changed_bit_is_noticed() {
    let kept = kept();
    let vault = Vault::of(kept.folder.path(), kept.ours);
    let key = kept.master.derive(kept.ours);
    let whole = fs::read(kept.path(kept.ours)).unwrap();
    for text in [
        "hunter2",
        "prometheus",
        &hex::encode("hunter2"),
        &key.to_hex(),
    ] {
        assert!(
            !whole.windows(text.len()).any(|at| at == text.as_bytes()),
            "{text}"
        );
    }
    for wrong in [
        kept.master.derive(kept.theirs),
        MasterKey::generate().derive(kept.ours),
    ] {
        assert!(matches!(vault.open(&wrong), Err(VaultError::Damaged)));
    }
    for place in 0..whole.len() {
        let mut changed = whole.clone();
        changed[place] ^= 1;
        fs::write(kept.path(kept.ours), &changed).unwrap();
        assert!(vault.open(&key).is_err(), "byte {place}");
    }
    fs::write(kept.path(kept.ours), &whole).unwrap();
    assert!(vault.open(&key).is_ok());
}

#[tokio::test]
async fn a_vault_that_others_may_read_is_refused_and_a_missing_one_holds_nothing() {
    let kept = kept();
    let ours = kept.process_for(kept.ours);
    let open_to =
        |mode| fs::set_permissions(kept.path(kept.ours), fs::Permissions::from_mode(mode)).unwrap();
    assert_eq!(mode(&kept.path(kept.ours)), 0o600);
    open_to(0o640);
    let refused = read(&ours, kept.ours, "prometheus").await;
    assert_eq!(refused, Err(SecretError::Refused(Code::of("Exposed"))));
    fs::remove_file(kept.path(kept.ours)).unwrap();
    assert_eq!(
        read(&ours, kept.ours, "prometheus").await,
        Err(SecretError::Unknown)
    );
    let left = fs::read_dir(kept.folder.path()).unwrap().count();
    assert_eq!(left, 1, "no draft is left");
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_tenants_key_is_its_own_and_always_the_same_and_nothing_shows_one() {
    let text = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    let master = MasterKey::parse(text).unwrap();
    let tenant: TenantId = "ten_0192f0c1000070008000000000000001".parse().unwrap();
    // printf 'nightshift tenant vault key 1\0' + the 16 bytes, with `openssl dgst -sha256 -mac HMAC`
    assert_eq!(*master.derive(tenant).to_hex(), EXPECTED);
    assert_ne!(*master.derive(TenantId::generate()).to_hex(), EXPECTED);
    let keys = TenantKeys::default().with(tenant, master.derive(tenant));
    let shown = format!("{master:?} {:?} {keys:?} {keys:#?}", master.derive(tenant));
    assert!(
        !shown.contains(EXPECTED) && !shown.contains("00112233"),
        "{shown}"
    );
}

const EXPECTED: &str = "56503004ac82269069715aaaeeb3e7ff84444f66fb58465df521b30143fdcca2";

#[test]
fn a_text_without_proper_keys_is_refused_and_not_repeated() {
    let tenant = TenantId::generate();
    let key = "ab".repeat(32);
    for wrong in [
        "nonsense".to_owned(),
        format!("{tenant}={}", "ab".repeat(31)),
        format!("{tenant}={key},{tenant}={key}"),
        format!("ten_x={key}"),
    ] {
        let error = wrong.parse::<TenantKeys>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("abab"), "{wrong}");
    }
    assert!("".parse::<TenantKeys>().is_ok());
}
