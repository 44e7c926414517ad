//! The way to the host: who may write, and the streams that go over it.

use std::{
    collections::HashMap,
    fs::File,
    io::Write,
    net::Shutdown,
    os::unix::net::UnixStream,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
        mpsc::{self, Receiver, Sender},
    },
};

use crate::wire::{Frame, Service, WINDOW_BYTES};

/// The channel, as the machine's threads share it.
#[derive(Debug)]
pub(super) struct Channel {
    port: Mutex<Port>,
    woken: Condvar,
    streams: Mutex<HashMap<u32, Arc<Stream>>>,
    next: AtomicU32,
}

#[derive(Debug)]
struct Port {
    file: File,
    /// Whether nothing may be written, because the machine is to be suspended.
    resting: bool,
}

/// One connection to a socket of ours.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: u32,
    pub(super) socket: UnixStream,
    /// Bytes that may be sent, or none once it is over.
    window: Mutex<Option<usize>>,
    changed: Condvar,
    /// What the host sent; the end of its direction is an empty one.
    inward: Sender<Vec<u8>>,
    /// Directions that are over.
    halves: AtomicU32,
}

impl Channel {
    pub(super) fn new(file: File) -> Self {
        Self {
            port: Mutex::new(Port {
                file,
                resting: false,
            }),
            woken: Condvar::new(),
            streams: Mutex::default(),
            next: AtomicU32::new(1),
        }
    }

    /// Writes a frame, later if the machine rests.
    pub(super) fn send(&self, frame: &Frame) {
        let port = hold(&self.port);
        let waited = self.woken.wait_while(port, |port| port.resting);
        let mut port = waited.unwrap_or_else(PoisonError::into_inner);
        // It fails only where there is no host any more, whom to tell.
        let _ = port.file.write_all(&frame.encode());
    }

    /// Ends every stream, says so, and keeps everybody from writing until [`Self::wake`].
    pub(super) fn rest(&self) {
        let all: Vec<_> = hold(&self.streams).drain().collect();
        for (_, stream) in all {
            stream.close();
        }
        let mut port = hold(&self.port);
        let _ = port.file.write_all(&Frame::Resting.encode());
        port.resting = true;
    }

    /// Lets everybody write again.
    pub(super) fn wake(&self) {
        hold(&self.port).resting = false;
        self.woken.notify_all();
    }

    /// Takes a connection on; what the host sends for it comes out of the receiver.
    pub(super) fn open(
        &self,
        socket: UnixStream,
        service: Service,
    ) -> (Arc<Stream>, Receiver<Vec<u8>>) {
        let (inward, received) = mpsc::channel();
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let stream = Arc::new(Stream {
            id,
            socket,
            window: Mutex::new(Some(WINDOW_BYTES)),
            changed: Condvar::new(),
            inward,
            halves: AtomicU32::new(0),
        });
        hold(&self.streams).insert(id, Arc::clone(&stream));
        self.send(&Frame::Open(id, service));
        (stream, received)
    }

    /// Hands on what the host sent. What is for a stream that is over is for nobody.
    pub(super) fn deliver(&self, id: u32, bytes: Vec<u8>) {
        if let Some(stream) = hold(&self.streams).get(&id) {
            let _ = stream.inward.send(bytes);
        }
    }

    /// Lets a stream send more.
    pub(super) fn credit(&self, id: u32, bytes: usize) {
        if let Some(stream) = hold(&self.streams).get(&id) {
            if let Some(window) = hold(&stream.window).as_mut() {
                *window = window.saturating_add(bytes);
            }
            stream.changed.notify_all();
        }
    }

    /// Ends a stream in both directions. False if it was over already.
    pub(super) fn forget(&self, id: u32) -> bool {
        let stream = hold(&self.streams).remove(&id);
        stream.inspect(|stream| stream.close()).is_some()
    }

    /// Notes that one direction of a stream is over.
    pub(super) fn half_done(&self, stream: &Stream) {
        if stream.halves.fetch_add(1, Ordering::Relaxed) == 1 {
            self.forget(stream.id);
        }
    }
}

impl Stream {
    /// How much may be sent now, once that is anything; none when the stream is over.
    pub(super) fn window(&self) -> Option<usize> {
        let window = hold(&self.window);
        let waited = self.changed.wait_while(window, |left| *left == Some(0));
        *waited.unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what was sent.
    pub(super) fn sent(&self, bytes: usize) {
        if let Some(window) = hold(&self.window).as_mut() {
            *window = window.saturating_sub(bytes);
        }
    }

    fn close(&self) {
        *hold(&self.window) = None;
        self.changed.notify_all();
        let _ = self.socket.shutdown(Shutdown::Both);
        let _ = self.inward.send(Vec::new());
    }
}

fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
