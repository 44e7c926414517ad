//! A machine's connections to its two sockets, as they arrive over the channel. What a machine may keep
//! us from is bounded: connections, and bytes of each that nobody has taken yet.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use nightshift_guest::wire::{DATA_BYTES_MAX, Frame, Service, WINDOW_BYTES};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split},
    sync::{Semaphore, mpsc},
    task::JoinSet,
};

use crate::{gateway, host::Host, identity};

/// Connections a machine may have: as many as on its two sockets.
const STREAMS_MAX: usize = 256;

type Telling = mpsc::UnboundedSender<Frame>;

/// All of a machine's; dropping it ends them.
#[derive(Debug)]
pub(super) struct Streams {
    host: Arc<Host>,
    machine: String,
    telling: Telling,
    open: HashMap<u32, Stream>,
    tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Stream {
    inward: mpsc::UnboundedSender<Vec<u8>>,
    /// Bytes that came and were not passed on yet.
    waiting: Arc<AtomicUsize>,
    window: Arc<Semaphore>,
    halves: Arc<()>,
}

impl Streams {
    pub(super) fn new(host: Arc<Host>, machine: String, telling: Telling) -> Self {
        Self {
            host,
            machine,
            telling,
            open: HashMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Answers a new connection.
    pub(super) fn open(&mut self, id: u32, service: Service) {
        while self.tasks.try_join_next().is_some() {}
        // Both directions of these are over.
        self.open
            .retain(|_, stream| Arc::strong_count(&stream.halves) > 1);
        if self.open.len() >= STREAMS_MAX || self.open.contains_key(&id) {
            let _ = self.telling.send(Frame::Reset(id));
            return;
        }
        let (ours, theirs) = duplex(DATA_BYTES_MAX);
        match service {
            Service::Gateway => {
                let gateway = Arc::clone(&self.host.gateway);
                self.tasks.spawn(gateway::converse(gateway, theirs));
            }
            Service::Identity => {
                let (host, machine) = (Arc::clone(&self.host), self.machine.clone());
                self.tasks
                    .spawn(identity::socket::converse(host, machine, theirs));
            }
        }
        let (read, write) = split(ours);
        let (inward, received) = mpsc::unbounded_channel();
        let stream = Stream {
            inward,
            waiting: Arc::default(),
            window: Arc::new(Semaphore::new(WINDOW_BYTES)),
            halves: Arc::default(),
        };
        let (waiting, half) = (Arc::clone(&stream.waiting), Arc::clone(&stream.halves));
        let telling = self.telling.clone();
        self.tasks.spawn(async move {
            carry_in(id, write, received, &waiting, &telling).await;
            drop(half);
        });
        let (window, half) = (Arc::clone(&stream.window), Arc::clone(&stream.halves));
        let telling = self.telling.clone();
        self.tasks.spawn(async move {
            carry_out(id, read, &window, &telling).await;
            drop(half);
        });
        self.open.insert(id, stream);
    }

    /// Passes on what came; nothing at all is the end. Who sends more than may be on its way is cut off.
    pub(super) fn deliver(&mut self, id: u32, bytes: Vec<u8>) {
        let Some(stream) = self.open.get(&id) else {
            return;
        };
        let waiting = stream.waiting.fetch_add(bytes.len(), Ordering::Relaxed) + bytes.len();
        if waiting > WINDOW_BYTES {
            tracing::warn!(
                machine.id = self.machine,
                "a machine sends more than it may"
            );
            let _ = self.telling.send(Frame::Reset(id));
            self.forget(id);
        } else {
            let _ = stream.inward.send(bytes);
        }
    }

    /// Lets us send more.
    pub(super) fn credit(&mut self, id: u32, bytes: u32) {
        if let Some(stream) = self.open.get(&id) {
            let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
            let room = WINDOW_BYTES.saturating_sub(stream.window.available_permits());
            stream.window.add_permits(bytes.min(room));
        }
    }

    /// Ends all of them, without a word.
    pub(super) fn end(&mut self) {
        self.open.clear();
        self.tasks = JoinSet::new();
    }

    /// Ends a connection in both directions.
    pub(super) fn forget(&mut self, id: u32) {
        if let Some(stream) = self.open.remove(&id) {
            stream.window.close();
        }
    }
}

/// From the machine to whom it speaks to.
async fn carry_in(
    id: u32,
    mut write: WriteHalf<DuplexStream>,
    mut received: mpsc::UnboundedReceiver<Vec<u8>>,
    waiting: &AtomicUsize,
    telling: &Telling,
) {
    let mut heard = true;
    while let Some(bytes) = received.recv().await {
        if bytes.is_empty() {
            break;
        }
        // What nobody hears any more is taken all the same: an answer may still be on its way.
        heard = heard && write.write_all(&bytes).await.is_ok();
        waiting.fetch_sub(bytes.len(), Ordering::Relaxed);
        let taken = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let _ = telling.send(Frame::Credit(id, taken));
    }
    let _ = write.shutdown().await;
}

/// Back to the machine.
async fn carry_out(
    id: u32,
    mut read: ReadHalf<DuplexStream>,
    window: &Semaphore,
    telling: &Telling,
) {
    let mut buffer = vec![0; DATA_BYTES_MAX];
    loop {
        let Ok(length @ 1..) = read.read(&mut buffer).await else {
            let _ = telling.send(Frame::End(id));
            return;
        };
        let permits = u32::try_from(length).unwrap_or(u32::MAX);
        match window.acquire_many(permits).await {
            Ok(taken) => taken.forget(),
            // It was cut off.
            Err(_) => return,
        }
        let _ = telling.send(Frame::Data(id, buffer[..length].to_vec()));
    }
}
