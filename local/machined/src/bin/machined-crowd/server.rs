//! A machined of our own, with an image whose program sleeps.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nightshift_machines::Client;

use crate::Args;

const TOKEN: &str = "crowd";
/// How long the server may take to answer after its start.
const PATIENCE: Duration = Duration::from_mins(1);

/// The server and its directories.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) client: Client,
    pub(crate) image: String,
    directory: tempfile::TempDir,
    program: PathBuf,
    address: String,
    machines: usize,
    process: Option<Child>,
}

impl Server {
    /// Starts it on directories of its own. Its image runs `program`.
    pub(crate) async fn start(args: &Args, program: &[String]) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        // Sandboxes pass through it as users of their own.
        fs::set_permissions(
            &directory,
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )?;
        let hex = "c0".repeat(32);
        write_image(&directory.path().join("images").join(&hex), &hex, program)?;
        fs::create_dir(directory.path().join("state"))?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let address = format!("127.0.0.1:{port}");
        let beside = || Ok::<_, anyhow::Error>(std::env::current_exe()?.with_file_name("machined"));
        let mut server = Self {
            client: Client::new(&format!("http://{address}"), TOKEN.into())?,
            image: format!("crowd@sha256:{hex}"),
            directory,
            program: args.machined.clone().map_or_else(beside, Ok)?,
            address,
            machines: args.machines,
            process: None,
        };
        server.launch().await?;
        Ok(server)
    }

    /// Starts it on what an earlier life left.
    pub(crate) async fn launch(&mut self) -> Result<()> {
        let most = (self.machines + 10).to_string();
        let process = Command::new(&self.program)
            .args(["--listen", &self.address, "--org", "crowd"])
            .args(["--exit-with-parent", "--no-rate-limits"])
            .args(["--max-apps", &most, "--max-volumes", &most])
            .args(["--max-machines", &most, "--tombstone-ms", "100"])
            .arg("--state")
            .arg(self.state())
            .arg("--images")
            .arg(self.directory.path().join("images"))
            .env("MACHINED_TOKEN", TOKEN)
            .env("RUST_LOG", "warn")
            .stdin(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        self.process = Some(process);
        let began = Instant::now();
        while self
            .client
            .app("nobody")
            .await
            .is_err_and(|error| !error.is_gone())
        {
            ensure!(began.elapsed() < PATIENCE, "machined does not answer");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// What it keeps.
    pub(crate) fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// Its process id; 0 while it does not run.
    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().map_or(0, Child::id)
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn end(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            drop(process.stdin.take());
            let status = process.wait()?;
            ensure!(status.success(), "machined ended with {status}");
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

fn write_image(directory: &Path, hex: &str, program: &[String]) -> Result<()> {
    fs::create_dir_all(directory.join("rootfs/etc"))?;
    fs::write(
        directory.join("rootfs/etc/passwd"),
        "root:x:0:0::/:/bin/sh\n",
    )?;
    let manifest = serde_json::json!({
        "name": "crowd",
        "digest": format!("sha256:{hex}"),
        "entrypoint": program,
        "env": {},
        "base": "host-usr",
    });
    Ok(fs::write(
        directory.join("image.json"),
        manifest.to_string(),
    )?)
}
