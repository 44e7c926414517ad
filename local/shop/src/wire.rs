//! The network between inventory and its database: a socket that passes bytes on after a delay, as another zone would.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::mpsc,
    time::Instant,
};

/// Name that Postgres gives its socket.
pub const SOCKET: &str = ".s.PGSQL.5432";

/// Command line of the wire.
#[derive(Debug, Clone, Args)]
pub struct WireSettings {
    /// Directory in which to listen.
    #[arg(long)]
    pub listen: PathBuf,
    /// Directory of the server's socket.
    #[arg(long)]
    pub to: PathBuf,
    /// How long bytes travel, one way, in microseconds.
    #[arg(long, default_value_t = 1000)]
    pub delay_us: u64,
}

/// Passes connections on until it is ended.
pub async fn run(settings: WireSettings) -> anyhow::Result<()> {
    std::fs::create_dir_all(&settings.listen)?;
    let path = settings.listen.join(SOCKET);
    if path.exists() {
        std::fs::remove_file(&path)?;
    }
    let listener = UnixListener::bind(&path)?;
    let delay = Duration::from_micros(settings.delay_us);
    loop {
        let (near, _) = listener.accept().await?;
        let to = settings.to.join(SOCKET);
        tokio::spawn(async move {
            // A connection that breaks at one end is closed at the other; nothing is left to tell.
            let _broken = join(near, &to, delay).await;
        });
    }
}

async fn join(near: UnixStream, to: &Path, delay: Duration) -> std::io::Result<()> {
    let far = UnixStream::connect(to).await?;
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    tokio::try_join!(
        carry(near_read, far_write, delay),
        carry(far_read, near_write, delay)
    )?;
    Ok(())
}

async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    delay: Duration,
) -> std::io::Result<()> {
    let (sent, mut travelling) = mpsc::channel::<(Instant, Vec<u8>)>(256);
    let depart = async {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let length = from.read(&mut buffer).await?;
            if length == 0 {
                break;
            }
            let parcel = (Instant::now() + delay, buffer[..length].to_vec());
            if sent.send(parcel).await.is_err() {
                break;
            }
        }
        drop(sent);
        Ok::<(), std::io::Error>(())
    };
    let arrive = async {
        while let Some((due, bytes)) = travelling.recv().await {
            tokio::time::sleep_until(due).await;
            to.write_all(&bytes).await?;
        }
        to.shutdown().await
    };
    tokio::try_join!(depart, arrive)?;
    Ok(())
}
