//! A private Postgres cluster: made in a directory of its own, reached by a socket there, gone with us.

use std::{
    env, fs, io,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tokio::process::{Child, Command};
use tokio_postgres::{Client, NoTls};

/// Why there is no cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Postgres is not installed where we look.
    #[error("no Postgres in $PG_BIN, PATH or /usr/lib/postgresql/*/bin: install postgresql")]
    NotFound,
    /// Neither `postgres` nor `nobody` exists, and Postgres refuses to run as root.
    #[error("started as root, but there is no user `postgres` or `nobody` to run Postgres as")]
    NoUser,
    /// A Unix socket's path holds 107 bytes.
    #[error("{0} is too long a path for a Unix socket, take a shorter directory")]
    PathTooLong(PathBuf),
    /// A program of Postgres failed.
    #[error("{program} failed: {output}")]
    Failed {
        /// Which.
        program: &'static str,
        /// What it printed.
        output: String,
    },
    /// A file or process could not be made.
    #[error("cannot set up the cluster")]
    Io(#[from] io::Error),
    /// The server answered with an error.
    #[error("the cluster refused")]
    Sql(#[from] tokio_postgres::Error),
}

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    server: Child,
    socket_dir: PathBuf,
}

/// Whom to run Postgres as, if not as ourselves.
#[derive(Debug, Clone, Copy)]
struct Account {
    uid: u32,
    gid: u32,
}

impl Cluster {
    /// Makes a cluster in `dir` if there is none, and starts it.
    pub async fn start(dir: &Path) -> Result<Self, ClusterError> {
        let bin = find_binaries().ok_or(ClusterError::NotFound)?;
        fs::create_dir_all(dir)?;
        let dir = fs::canonicalize(dir)?;
        let socket_dir = dir.join("socket");
        if socket_dir.as_os_str().len() > 85 {
            return Err(ClusterError::PathTooLong(socket_dir));
        }
        fs::create_dir_all(&socket_dir)?;
        let account = account()?;
        for path in [&dir, &socket_dir] {
            if let Some(account) = account {
                chown(path, Some(account.uid), Some(account.gid))?;
            }
            fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
        }
        let data = dir.join("data");
        if !data.join("PG_VERSION").exists() {
            let mut initdb = command(&bin, "initdb", &dir, account);
            initdb.arg("-D").arg(&data);
            initdb.args([
                "-U",
                "shop",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C",
                "--no-sync",
            ]);
            succeeded("initdb", &initdb.output().await?)?;
        }
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(dir.join("postgres.log"))?;
        let mut server = command(&bin, "postgres", &dir, account);
        server
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(&socket_dir)
            .args([
                "-c",
                "listen_addresses=",
                "-c",
                "fsync=off",
                "-c",
                "max_connections=60",
                "-c",
                "shared_buffers=32MB",
            ]);
        let server = server
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        let cluster = Self { server, socket_dir };
        cluster.wait().await?;
        Ok(cluster)
    }

    /// Where its socket is.
    #[must_use]
    pub fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    /// A connection past every pool.
    pub async fn connect(&self) -> Result<Client, ClusterError> {
        let mut config = tokio_postgres::Config::new();
        config
            .host_path(&self.socket_dir)
            .user("shop")
            .dbname("postgres");
        let (client, connection) = config.application_name("recorder").connect(NoTls).await?;
        tokio::spawn(async move {
            // The client notices a broken connection itself, at its next statement.
            let _broken = connection.await;
        });
        Ok(client)
    }

    /// Stops it at once, whoever is connected.
    pub async fn stop(mut self) -> Result<(), ClusterError> {
        let pid = self
            .server
            .id()
            .and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        if let Some(pid) = pid {
            // It may have ended by itself, which is what we want.
            let _gone = kill_process(pid, Signal::INT);
        }
        self.server.wait().await?;
        Ok(())
    }

    async fn wait(&self) -> Result<(), ClusterError> {
        let mut patience = 100;
        loop {
            match self.connect().await {
                Ok(_) => return Ok(()),
                Err(error) if patience == 0 => return Err(error),
                Err(_not_yet) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
            patience -= 1;
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how this machine's Postgres is found is configuration"
)]
fn find_binaries() -> Option<PathBuf> {
    let given = env::var("PG_BIN").ok().map(PathBuf::from);
    let path = env::var("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).map(|dir| {
        // A link in PATH may point at a wrapper; initdb must lie beside the server.
        fs::canonicalize(dir.join("postgres"))
            .ok()
            .and_then(|p| Some(p.parent()?.to_owned()))
    });
    let mut packaged: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin"))
        .collect();
    packaged.sort();
    let candidates = given
        .into_iter()
        .chain(on_path.flatten())
        .chain(packaged.into_iter().rev());
    candidates
        .into_iter()
        .find(|dir| dir.join("postgres").exists() && dir.join("initdb").exists())
}

fn account() -> Result<Option<Account>, ClusterError> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd")?;
    let find = |name: &str| {
        let line = users
            .lines()
            .find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        let uid = fields.next()?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Account { uid, gid })
    };
    find("postgres")
        .or_else(|| find("nobody"))
        .map(Some)
        .ok_or(ClusterError::NoUser)
}

fn command(bin: &Path, program: &str, dir: &Path, account: Option<Account>) -> Command {
    // A server outlives nobody: where we are killed, the kernel tells it to shut down.
    let setpriv = Path::new("/usr/bin/setpriv");
    let mut command = if setpriv.exists() {
        let mut command = Command::new(setpriv);
        command.args(["--pdeathsig", "INT", "--"]);
        command.arg(bin.join(program));
        command
    } else {
        Command::new(bin.join(program))
    };
    command.current_dir(dir);
    if let Some(account) = account {
        command.uid(account.uid).gid(account.gid);
    }
    command
}

fn succeeded(program: &'static str, output: &Output) -> Result<(), ClusterError> {
    if output.status.success() {
        return Ok(());
    }
    let output = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(ClusterError::Failed { program, output })
}
