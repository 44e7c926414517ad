//! One cluster: started where it does not run yet, stopped by whoever started it.

use std::{
    fs::File,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    Binaries, PostgresError,
    files::Files,
    owner::Owner,
    postmaster::{Presence, presence},
};

/// The superuser and the database, both ours.
const NAME: &str = "nightshift";
/// How long a server that another process is starting may take.
const START_PATIENCE: Duration = Duration::from_mins(1);
/// How often to try again with another port, or until the killed server's last child is gone.
const START_ATTEMPTS: u32 = 8;

/// Written once into the cluster's own configuration. TCP on loopback with a password and no unix
/// socket: a socket's path may have 107 bytes, and a checkout's path has any length.
const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 300
shared_buffers = '128MB'
fsync = on
";

/// The private cluster of one checkout.
#[derive(Debug)]
pub struct Cluster {
    binaries: Binaries,
    owner: Owner,
    files: Files,
    lock: PathBuf,
}

/// A cluster that answers.
#[derive(Debug, Clone)]
pub struct Running {
    /// Where, with the password in it.
    pub url: String,
    /// Whether this call started it; whoever started it stops it.
    pub started: bool,
}

impl Cluster {
    /// The cluster `name` (`pg`, `pg-test`) below `local`, the checkout's `.local` folder. Nothing
    /// is started yet.
    pub fn locate(local: &Path, name: &str) -> Result<Self, PostgresError> {
        let owner = Owner::of_this_process()?;
        Ok(Self {
            binaries: Binaries::find()?,
            owner,
            files: Files::prepare(local, name, owner)?,
            lock: local.join(format!("{name}.lock")),
        })
    }

    /// Where it listens, if it runs.
    pub fn url(&self) -> Result<Option<String>, PostgresError> {
        match presence(&self.files.data()) {
            Presence::Running(server) => {
                let password = self.files.password(self.owner)?;
                Ok(Some(url(&password, server.port)))
            }
            Presence::Absent | Presence::Stale | Presence::Starting => Ok(None),
        }
    }

    /// Starts it unless it runs, after a kill as well, and makes it first where there is none.
    pub fn start(&self) -> Result<Running, PostgresError> {
        let _turn = self.take_turn()?;
        let password = self.files.password(self.owner)?;
        self.make_unless_made()?;
        let (port, started) = match self.wait_while_starting() {
            Presence::Running(server) => (server.port, false),
            Presence::Absent | Presence::Stale | Presence::Starting => (self.launch()?, true),
        };
        self.create_database(&password, port)?;
        Ok(Running {
            url: url(&password, port),
            started,
        })
    }

    /// Stops it if it runs; clients are disconnected.
    pub fn stop(&self) -> Result<(), PostgresError> {
        let _turn = self.take_turn()?;
        match presence(&self.files.data()) {
            Presence::Absent | Presence::Stale => Ok(()),
            Presence::Running(_) | Presence::Starting => {
                let data = self.files.data();
                let arguments = ["stop", "-w", "-m", "fast", "-t", "60", "-s", "-D"].map(Path::new);
                let arguments = arguments.iter().copied().chain([data.as_path()]);
                self.binaries.run("pg_ctl", &self.owner, arguments, None)?;
                Ok(())
            }
        }
    }

    /// One process at a time makes, starts or stops.
    fn take_turn(&self) -> Result<File, PostgresError> {
        let file = File::create(&self.lock).map_err(PostgresError::file(&self.lock))?;
        file.lock().map_err(PostgresError::file(&self.lock))?;
        Ok(file)
    }

    fn make_unless_made(&self) -> Result<(), PostgresError> {
        let data = self.files.data();
        if data.join("PG_VERSION").exists() {
            return Ok(());
        }
        let new = self.files.data_being_made();
        let password_file = self.files.password_file();
        let arguments = [
            "--username".as_ref(),
            NAME.as_ref(),
            "--auth=scram-sha-256".as_ref(),
            "--encoding=UTF8".as_ref(),
            "--locale=C".as_ref(),
            "--pwfile".as_ref(),
            password_file.as_path(),
            "--pgdata".as_ref(),
            new.as_path(),
        ];
        self.binaries.run("initdb", &self.owner, arguments, None)?;
        let settings = new.join("postgresql.conf");
        let text = std::fs::read_to_string(&settings).map_err(PostgresError::file(&settings))?;
        std::fs::write(&settings, text + SETTINGS).map_err(PostgresError::file(&settings))?;
        std::fs::rename(&new, &data).map_err(PostgresError::file(&data))
    }

    fn wait_while_starting(&self) -> Presence {
        let began = Instant::now();
        loop {
            let seen = presence(&self.files.data());
            if seen != Presence::Starting || began.elapsed() > START_PATIENCE {
                return seen;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn launch(&self) -> Result<u16, PostgresError> {
        let data = self.files.data();
        let mut port = self.files.last_port().filter(|port| is_free(*port));
        let mut attempt = 0;
        loop {
            attempt += 1;
            if presence(&data) == Presence::Stale {
                let lock = data.join("postmaster.pid");
                std::fs::remove_file(&lock).map_err(PostgresError::file(&lock))?;
            }
            let chosen = match port.take() {
                Some(port) => port,
                None => free_port()?,
            };
            match self.launch_on(chosen) {
                Ok(()) => {
                    self.files.keep_port(chosen)?;
                    return Ok(chosen);
                }
                Err(refused) if attempt >= START_ATTEMPTS => return Err(refused),
                // The port was taken meanwhile, or a child of the killed server is still ending.
                Err(_) => std::thread::sleep(Duration::from_millis(250)),
            }
        }
    }

    fn launch_on(&self, port: u16) -> Result<(), PostgresError> {
        let (data, log, options) = (self.files.data(), self.files.log(), format!("-p {port}"));
        let arguments = [
            "start".as_ref(),
            "-w".as_ref(),
            "-s".as_ref(),
            "-t".as_ref(),
            "60".as_ref(),
            "-o".as_ref(),
            Path::new(&options),
            "-l".as_ref(),
            log.as_path(),
            "-D".as_ref(),
            data.as_path(),
        ];
        match self.binaries.run("pg_ctl", &self.owner, arguments, None) {
            Ok(_) => Ok(()),
            Err(PostgresError::Failed { program, output }) => Err(PostgresError::Failed {
                program,
                output: format!("{output}\n{}", self.files.log_tail()),
            }),
            Err(other) => Err(other),
        }
    }

    fn create_database(&self, password: &str, port: u16) -> Result<(), PostgresError> {
        let port = port.to_string();
        let arguments = ["-h", "127.0.0.1", "-p", &port, "-U", NAME, NAME];
        match self
            .binaries
            .run("createdb", &self.owner, arguments, Some(password))
        {
            Err(PostgresError::Failed { output, .. }) if output.contains("already exists") => {
                Ok(())
            }
            other => other.map(drop),
        }
    }
}

fn url(password: &str, port: u16) -> String {
    format!("postgres://{NAME}:{password}@127.0.0.1:{port}/{NAME}")
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn free_port() -> Result<u16, PostgresError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(PostgresError::file("a free port on 127.0.0.1"))
}
