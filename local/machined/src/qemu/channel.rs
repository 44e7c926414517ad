//! The host's end of a machine's channel: what the machine says, and what it is told.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use nightshift_guest::wire::{Exit, Frame, HEAD_BYTES, Head, Now};
use rand::RngCore;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, pipe},
    },
    sync::{MutexGuard, mpsc, watch},
    task::AbortHandle,
};

use super::{qmp::Monitor, streams::Streams};
use crate::{clock, host::Host};

/// Random bytes that a machine gets with its start.
const ENTROPY_BYTES: usize = 64;

/// A running machine, as far as it speaks to us.
#[derive(Debug)]
pub(crate) struct Guest {
    telling: mpsc::UnboundedSender<Frame>,
    progressed: Arc<watch::Sender<Progress>>,
    tasks: Mutex<Vec<AbortHandle>>,
    suspended: AtomicBool,
    /// How to speak to QEMU, by one at a time.
    monitor: tokio::sync::Mutex<Option<Monitor>>,
}

/// What the machine said so far.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    started: bool,
    resting: bool,
    exit: Option<Exit>,
    /// Nothing more comes.
    over: bool,
}

impl Drop for Guest {
    fn drop(&mut self) {
        for task in self
            .tasks
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .drain(..)
        {
            task.abort();
        }
    }
}

impl Guest {
    /// Serves a machine's channel until it is over or this is dropped. What it prints goes to `output`.
    pub(super) fn attach(
        host: &Arc<Host>,
        machine: &str,
        stream: UnixStream,
        output: pipe::Sender,
    ) -> Arc<Self> {
        let (read, mut write) = stream.into_split();
        let (telling, mut told) = mpsc::unbounded_channel::<Frame>();
        let writing = tokio::spawn(async move {
            while let Some(frame) = told.recv().await {
                if write.write_all(&frame.encode()).await.is_err() {
                    return;
                }
            }
        });
        let progressed = Arc::new(watch::Sender::new(Progress::default()));
        let streams = Streams::new(Arc::clone(host), machine.to_owned(), telling.clone());
        let machine = machine.to_owned();
        let progress = Arc::clone(&progressed);
        let reading = tokio::spawn(async move {
            if let Err(error) = follow(read, output, streams, &progress).await {
                tracing::debug!(%error, machine.id = machine, "a machine's channel ended");
            }
            progress.send_modify(|progress| progress.over = true);
        });
        Arc::new(Self {
            telling,
            progressed,
            tasks: Mutex::new(vec![writing.abort_handle(), reading.abort_handle()]),
            suspended: AtomicBool::new(false),
            monitor: tokio::sync::Mutex::new(None),
        })
    }

    /// Says something; to a machine that is gone, to nobody.
    pub(crate) fn tell(&self, frame: Frame) {
        let _ = self.telling.send(frame);
    }

    /// Whether the program was started, once that is known.
    pub(super) async fn started(&self) -> bool {
        self.until(|progress| progress.started).await
    }

    /// Lets the machine fall silent. False if it does not within `patience`.
    ///
    /// It is asked twice: after its first answer we have nothing more to say, and its second one says that
    /// it has read all of what we had said before. So no frame is cut in two.
    pub(super) async fn rest(&self, patience: Duration) -> bool {
        let twice = async {
            for _ in 0..2 {
                self.progressed
                    .send_modify(|progress| progress.resting = false);
                self.tell(Frame::Rest);
                if !self.until(|progress| progress.resting).await {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(patience, twice).await.unwrap_or(false)
    }

    /// Waits until nothing more comes from it.
    pub(crate) async fn over(&self) {
        let mut progress = self.progressed.subscribe();
        let _ = progress.wait_for(|progress| progress.over).await;
    }

    async fn until(&self, reached: impl Fn(&Progress) -> bool) -> bool {
        let mut progress = self.progressed.subscribe();
        let waited = progress.wait_for(|progress| reached(progress) || progress.over);
        waited.await.is_ok_and(|progress| reached(&progress))
    }

    /// How its program ended, if it did.
    pub(crate) fn exit(&self) -> Option<Exit> {
        self.progressed.borrow().exit
    }

    /// Keeps the way to QEMU for a later suspension.
    pub(super) async fn keep_monitor(&self, monitor: Monitor) {
        *self.monitor.lock().await = Some(monitor);
    }

    /// The way to QEMU, for one at a time.
    pub(super) async fn monitor(&self) -> MutexGuard<'_, Option<Monitor>> {
        self.monitor.lock().await
    }

    /// Notes that its end is not the program's.
    pub(super) fn mark_suspended(&self) {
        self.suspended.store(true, Ordering::Relaxed);
    }

    /// Whether its memory was kept, to go on from.
    pub(crate) fn is_suspended(&self) -> bool {
        self.suspended.load(Ordering::Relaxed)
    }
}

/// What a machine that did not run must be told.
pub(super) fn now() -> Now {
    let mut entropy = vec![0; ENTROPY_BYTES];
    rand::rng().fill_bytes(&mut entropy);
    Now {
        unix_ms: clock::now().timestamp_millis(),
        entropy,
    }
}

async fn follow(
    mut port: OwnedReadHalf,
    mut output: pipe::Sender,
    mut streams: Streams,
    progressed: &watch::Sender<Progress>,
) -> io::Result<()> {
    loop {
        let mut head = [0; HEAD_BYTES];
        port.read_exact(&mut head).await?;
        let head = Head::parse(head).map_err(io::Error::other)?;
        let mut content = vec![0; head.bytes];
        port.read_exact(&mut content).await?;
        let frame = Frame::decode(head, content).map_err(io::Error::other)?;
        match frame {
            Frame::Started => progressed.send_modify(|progress| progress.started = true),
            Frame::Output(bytes) => output.write_all(&bytes).await?,
            Frame::Exited(exit) => {
                progressed.send_modify(|progress| progress.exit = Some(exit));
                return Ok(());
            }
            Frame::Resting => {
                streams.end();
                progressed.send_modify(|progress| progress.resting = true);
            }
            Frame::Open(id, service) => streams.open(id, service),
            Frame::Data(id, bytes) => streams.deliver(id, bytes),
            Frame::End(id) => streams.deliver(id, Vec::new()),
            Frame::Reset(id) => streams.forget(id),
            Frame::Credit(id, bytes) => streams.credit(id, bytes),
            // Only we say these.
            Frame::Begin(_) | Frame::Signal(_) | Frame::Rest | Frame::Wake(_) => {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
    }
}
