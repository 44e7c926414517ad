//! The shop's processes: started, replaced by a deploy, stopped.

use std::{
    collections::BTreeMap,
    env, fs, io,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::{
    http::{Http, HttpError},
    topology::SERVICES,
};
use crate::{
    postgres::{Cluster, ClusterError},
    stock_list,
};

/// Why the shop does not run.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// The database does not run.
    #[error("no database")]
    Database(#[from] ClusterError),
    /// A process or file could not be made.
    #[error("cannot start a process")]
    Io(#[from] io::Error),
    /// A process did not become healthy.
    #[error("{service} is not healthy 15 s after its start, see {log}")]
    Unhealthy {
        /// Which.
        service: String,
        /// What it printed.
        log: PathBuf,
    },
    /// A switch on an operators' port was refused.
    #[error("the operators' port refused")]
    Http(#[from] HttpError),
}

/// What a service is started with.
#[derive(Debug, Clone, Default)]
pub struct Release {
    /// The release's name.
    pub version: String,
    /// Its commit.
    pub commit: String,
    /// The compiled-in sources that the commit holds.
    pub sources: Vec<String>,
}

/// The running shop.
#[derive(Debug)]
pub struct Fleet {
    dir: PathBuf,
    program: PathBuf,
    sample: f64,
    ports: BTreeMap<String, u16>,
    running: BTreeMap<String, Running>,
    flags: BTreeMap<String, Vec<String>>,
    http: Http,
    cluster: Cluster,
}

#[derive(Debug)]
struct Running {
    child: Child,
    admin_port: u16,
}

impl Fleet {
    /// Starts the database, the wire to it and the outside provider.
    pub async fn start(dir: &Path, sample: f64) -> Result<Self, FleetError> {
        fs::create_dir_all(dir)?;
        let fresh = !dir.join("postgres/data").exists();
        let cluster = Cluster::start(&dir.join("postgres")).await?;
        if fresh {
            let client = cluster.connect().await?;
            client
                .batch_execute(&stock_list::sql())
                .await
                .map_err(ClusterError::from)?;
        }
        let mut ports = BTreeMap::new();
        for name in SERVICES.into_iter().chain(["acmepay"]) {
            ports.insert(name.to_owned(), free_port()?);
        }
        let mut fleet = Self {
            dir: dir.to_owned(),
            program: env::current_exe()?,
            sample,
            ports,
            running: BTreeMap::new(),
            flags: BTreeMap::new(),
            http: Http::default(),
            cluster,
        };
        let mut wire = fleet.command("wire")?;
        wire.arg("wire").arg("--listen").arg(fleet.wire_dir());
        wire.arg("--to").arg(fleet.cluster.socket_dir());
        fleet.running.insert(
            "wire".to_owned(),
            Running {
                child: wire.spawn()?,
                admin_port: 0,
            },
        );
        for _ in 0..50 {
            if fleet.wire_dir().join(crate::wire::SOCKET).exists() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        fleet.deploy("acmepay", &Release::default()).await?;
        Ok(fleet)
    }

    /// Starts customers: so many visits in a second.
    pub fn admit(&mut self, visits: f64) -> Result<(), FleetError> {
        let mut load = self.command("load")?;
        load.args(["load", "--frontend", &self.address("frontend")]);
        load.args(["--visits", &visits.to_string()]);
        load.arg("--telemetry-dir").arg(self.dir.join("outside"));
        let running = Running {
            child: load.spawn()?,
            admin_port: 0,
        };
        self.running.insert("load".to_owned(), running);
        Ok(())
    }

    /// Starts a release of a service beside the one that runs, and stops that one when the new one is healthy.
    pub async fn deploy(&mut self, service: &str, release: &Release) -> Result<(), FleetError> {
        let admin_port = free_port()?;
        let ours = SERVICES.contains(&service);
        let mut command = self.command(service)?;
        command.arg(service);
        command.args([
            "--port",
            &self.ports.get(service).copied().unwrap_or(0).to_string(),
        ]);
        command.args(["--admin-port", &admin_port.to_string()]);
        command.arg("--telemetry-dir").arg(self.dir.join(if ours {
            "telemetry"
        } else {
            "outside"
        }));
        command.arg("--database").arg(self.wire_dir());
        command.args(["--version", &release.version, "--commit", &release.commit]);
        command.args(["--sample", &self.sample.to_string()]);
        if service == "frontend" {
            command.arg("--edge");
        }
        for name in self.ports.keys() {
            command.args(["--peer", &format!("{name}={}", self.address(name))]);
        }
        for source in &release.sources {
            command.args(["--source", source]);
        }
        for flag in self.flags.get(service).into_iter().flatten() {
            command.args(["--flag", flag]);
        }
        let child = command.spawn()?;
        let fresh = Running { child, admin_port };
        if !self.healthy(admin_port).await {
            let log = self.dir.join("output").join(service);
            return Err(FleetError::Unhealthy {
                service: service.to_owned(),
                log,
            });
        }
        if let Some(old) = self.running.insert(service.to_owned(), fresh) {
            end(old.child).await?;
        }
        Ok(())
    }

    /// Switches a feature flag of a service.
    pub async fn flip(&mut self, service: &str, flag: &str, on: bool) -> Result<(), FleetError> {
        let flags = self.flags.entry(service.to_owned()).or_default();
        flags.retain(|known| known != flag);
        if on {
            flags.push(flag.to_owned());
        }
        let body = serde_json::json!({"flag": flag, "on": on});
        let address = self.admin(service);
        Ok(self
            .http
            .post(&format!("http://{address}/flags"), &body)
            .await?)
    }

    /// Makes the outside provider behave so.
    pub async fn provider(&self, behaviour: crate::acmepay::Behaviour) -> Result<(), FleetError> {
        let address = self.admin("acmepay");
        Ok(self
            .http
            .post(&format!("http://{address}/behaviour"), &behaviour)
            .await?)
    }

    /// What `/metrics` of a service answers.
    pub async fn metrics(&self, service: &str) -> Result<String, FleetError> {
        let address = self.admin(service);
        Ok(self.http.text(&format!("http://{address}/metrics")).await?)
    }

    /// Where a service listens.
    #[must_use]
    pub fn address(&self, service: &str) -> String {
        format!(
            "127.0.0.1:{}",
            self.ports.get(service).copied().unwrap_or(0)
        )
    }

    /// The database.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Where the services write.
    #[must_use]
    pub fn telemetry_dir(&self) -> PathBuf {
        self.dir.join("telemetry")
    }

    /// Stops the customers, then everything else, callers first.
    pub async fn stop(mut self) -> Result<(), FleetError> {
        for name in ["load", "frontend", "checkout", "recommendation", "payment"] {
            if let Some(running) = self.running.remove(name) {
                end(running.child).await?;
            }
        }
        while let Some((_, running)) = self.running.pop_first() {
            end(running.child).await?;
        }
        Ok(self.cluster.stop().await?)
    }

    fn wire_dir(&self) -> PathBuf {
        self.dir.join("wire")
    }

    fn admin(&self, service: &str) -> String {
        format!(
            "127.0.0.1:{}",
            self.running
                .get(service)
                .map_or(0, |running| running.admin_port)
        )
    }

    fn command(&self, name: &str) -> Result<Command, FleetError> {
        let output = self.dir.join("output");
        fs::create_dir_all(&output)?;
        let output = fs::File::options()
            .create(true)
            .append(true)
            .open(output.join(name))?;
        let mut command = Command::new(&self.program);
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true);
        Ok(command)
    }

    async fn healthy(&self, admin_port: u16) -> bool {
        let url = format!("http://127.0.0.1:{admin_port}/health");
        for _ in 0..150 {
            if self.http.text(&url).await.is_ok() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        false
    }
}

async fn end(mut child: Child) -> Result<(), FleetError> {
    if let Some(pid) = child
        .id()
        .and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?))
    {
        // It may have ended by itself, which is what we want.
        let _gone = kill_process(pid, Signal::TERM);
    }
    if tokio::time::timeout(Duration::from_secs(7), child.wait())
        .await
        .is_err()
    {
        child.kill().await?;
    }
    Ok(())
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
