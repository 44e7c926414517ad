//! A real sandbox on this machine: machined and bubblewrap, the supervisor in it, the session endpoint that
//! gives it its tokens, and a harness that obeys.

use std::{
    fs::{self, Permissions},
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nightshift_controls::{WITHOUT, without};
use nightshift_domain::sandbox::Parts;
use nightshift_engine::SystemClock;
use nightshift_lambda::FileSecrets;
use nightshift_machines::{
    Client, Machine, MachineConfig, Mount, NewMachine, NewVolume, Restart, RestartPolicy, WaitFor,
};
use nightshift_session::{
    Briefing, SessionState, SigningKey, SigningKeys, StatementVerifier, router,
};
use nightshift_store::{Role, Store};
use serde_json::json;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::{
    database,
    roles::{ORDERS, Order, RESULT},
    stack::{DIGEST, Seeds, free_address},
};

const ORG: &str = "attack";
const REGION: &str = "here";
const APP: &str = "sandbox-app";
const TOKEN: &str = "machines-token";
/// How long a sandbox may take to boot, attest and obey.
const PATIENCE: Duration = Duration::from_secs(40);

/// machined as a process, ended with this value.
struct Machined {
    process: Child,
    base: String,
    client: Client,
    folder: TempDir,
}

/// What a sandbox is like.
pub(crate) struct Setting {
    pub(crate) order: Order,
    /// How long a start may last.
    pub(crate) ttl_seconds: u64,
    /// Further variables of the machine.
    pub(crate) env: Vec<(&'static str, String)>,
}

impl Setting {
    pub(crate) fn agent(command: &str) -> Self {
        Self {
            order: Order {
                as_agent: true,
                command: command.to_owned(),
                timeout_ms: 15_000,
            },
            ttl_seconds: 120,
            env: Vec::new(),
        }
    }

    pub(crate) fn harness(command: &str) -> Self {
        let mut setting = Self::agent(command);
        setting.order.as_agent = false;
        setting
    }
}

/// Why sandboxes cannot be attacked here.
pub(crate) fn unavailable() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some(
            "only root gives a sandbox users of its own, and without them other steps hold",
        );
    }
    let missing = ["/usr/bin/bwrap", "/usr/bin/python3"];
    missing
        .iter()
        .any(|path| !Path::new(path).exists())
        .then_some("bubblewrap or python3 is not installed")
}

/// Boots a sandbox whose harness obeys, and gives what came of it; the machine's whole log if it
/// ended without a word.
pub(crate) async fn obeyed(setting: &Setting) -> Result<String> {
    let session = free_address()?;
    let mut machined = Machined::start(setting, session).await?;
    let result = run(&machined, setting, session).await;
    machined.end().await?;
    result
}

async fn run(machined: &Machined, setting: &Setting, session: SocketAddr) -> Result<String> {
    let pg = database::fresh().await?;
    let seeds = Seeds::plant(pg.clone()).await?;
    let issuer = format!("{}/oidc", machined.base);
    let secrets = Arc::new(FileSecrets::new(machined.folder.path().join("none")));
    let key = SigningKey::File(machined.folder.path().join("key.pem"));
    let state = SessionState {
        store: Store::new(Role::Session.acting(&pg.connect_options(), 4).await?),
        clock: Arc::new(SystemClock),
        verifier: Arc::new(StatementVerifier::new(&issuer)?),
        keys: Arc::new(SigningKeys::open(key, secrets, None).await?),
        issuer: "https://session.test".into(),
        briefing: Arc::new(Briefing::default()),
        servers: None,
    };
    let listener = tokio::net::TcpListener::bind(session).await?;
    tokio::spawn(async move { axum::serve(listener, router(state)).await });

    let (machine, volume) = machined.make(setting).await?;
    let parts = Parts {
        app: Some(APP.to_owned()),
        volume: Some(volume),
        machine: Some(machine.id.clone()),
        machine_version: Some(machine.instance_id.clone()),
    };
    seeds.machine(&machine.id, parts).await?;
    seeds.claim_machine(&machine.id).await?;
    machined.client.start(APP, &machine.id).await?;
    machined.result(&machine).await
}

impl Machined {
    async fn start(setting: &Setting, session: SocketAddr) -> Result<Self> {
        let folder = TempDir::new()?;
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
        let at = free_address()?;
        write_image(&folder.path().join("images"), &setting.order)?;
        fs::create_dir(folder.path().join("state"))?;
        let process = Command::new(std::env::current_exe()?)
            .arg("machined")
            .args([
                "--listen",
                &at.to_string(),
                "--org",
                ORG,
                "--region",
                REGION,
            ])
            .arg("--state")
            .arg(folder.path().join("state"))
            .arg("--images")
            .arg(folder.path().join("images"))
            .args([
                "--egress",
                &format!("session.nightshift.internal=http://{session}"),
            ])
            .args(["--ttl-seconds", &setting.ttl_seconds.to_string()])
            .args(["--no-rate-limits", "--exit-with-parent"])
            .env("MACHINED_TOKEN", TOKEN)
            .stdin(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let base = format!("http://{at}");
        let machined = Self {
            process,
            client: Client::new(&base, TOKEN.to_owned().into())?,
            base,
            folder,
        };
        for _ in 0..500 {
            if tokio::net::TcpStream::connect(at).await.is_ok() {
                return Ok(machined);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("machined does not answer")
    }

    /// Ends it in order, so that nothing of it is left on this machine.
    async fn end(&mut self) -> Result<()> {
        drop(self.process.stdin.take());
        tokio::time::timeout(Duration::from_secs(15), self.process.wait()).await??;
        Ok(())
    }

    async fn make(&self, setting: &Setting) -> Result<(Machine, String)> {
        self.client.create_app(APP, ORG, APP).await?;
        let volume = NewVolume::for_sandbox("data", REGION, 1);
        let volume = self.client.create_volume(APP, &volume).await?.id;
        let told = [
            (
                "NIGHTSHIFT_SESSION",
                "http://session.nightshift.internal".to_owned(),
            ),
            ("NIGHTSHIFT_GATEWAY_SOCKET", "/run/gateway.sock".to_owned()),
        ];
        let mut env: std::collections::BTreeMap<String, String> = told
            .into_iter()
            .chain(setting.env.clone())
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        let off = without();
        if !off.is_empty() {
            let names: Vec<&str> = off.iter().map(|control| control.name()).collect();
            env.insert(WITHOUT.to_owned(), names.join(","));
        }
        let new = NewMachine {
            name: APP.to_owned(),
            region: REGION.to_owned(),
            config: MachineConfig {
                image: format!("registry.test/sandbox@{DIGEST}"),
                env,
                mounts: vec![Mount {
                    volume: volume.clone(),
                    path: "/data".to_owned(),
                }],
                restart: Some(Restart {
                    policy: RestartPolicy::No,
                    max_retries: None,
                }),
                ..MachineConfig::default()
            },
            skip_launch: true,
        };
        let machine = self.client.create_machine(APP, &new).await?;
        let soon = Duration::from_secs(15);
        self.client
            .wait(APP, &machine.id, WaitFor::Stopped, soon)
            .await?;
        Ok((self.client.machine(APP, &machine.id).await?, volume))
    }

    /// What the harness told, or the whole log once the machine has ended without it.
    async fn result(&self, machine: &Machine) -> Result<String> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        let url = format!("{}/v1/apps/{APP}/machines/{}/logs", self.base, machine.id);
        let began = Instant::now();
        loop {
            let ended = self
                .client
                .machine(APP, &machine.id)
                .await?
                .last_exit()
                .is_some();
            let log = http
                .get(&url)
                .bearer_auth(TOKEN)
                .send()
                .await?
                .text()
                .await?;
            let line = log.lines().find_map(|line| line.split_once(RESULT));
            if let Some((_, told)) = line {
                return serde_json::from_str(told).context("the harness's word is JSON");
            }
            if ended {
                return Ok(format!("ENDED {log}"));
            }
            if began.elapsed() > PATIENCE {
                bail!("the harness tells nothing: {log}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// An image whose supervisor and harness are this program.
fn write_image(images: &Path, order: &Order) -> Result<()> {
    let hex = DIGEST.trim_start_matches("sha256:");
    let rootfs = images.join(hex).join("rootfs");
    let programs = rootfs.join("opt/nightshift/bin");
    fs::create_dir_all(rootfs.join("etc"))?;
    fs::create_dir_all(&programs)?;
    fs::write(rootfs.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n")?;
    let program = std::env::current_exe()?;
    if fs::hard_link(&program, programs.join("attack")).is_err() {
        fs::copy(&program, programs.join("attack"))?;
    }
    let harness = "#!/bin/sh\nexec /opt/nightshift/bin/attack obey\n";
    fs::write(programs.join("harness"), harness)?;
    fs::set_permissions(programs.join("harness"), Permissions::from_mode(0o755))?;
    let orders = rootfs.join(ORDERS.trim_start_matches('/'));
    fs::write(orders, serde_json::to_string(order)?)?;
    let manifest = json!({
        "name": "sandbox",
        "digest": DIGEST,
        "entrypoint": ["/opt/nightshift/bin/attack", "supervise"],
        "env": {},
        "base": "host-usr",
    });
    fs::write(images.join(hex).join("image.json"), manifest.to_string())?;
    Ok(())
}
