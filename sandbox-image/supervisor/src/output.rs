//! What a command writes: the start of it is kept, and whoever writes without end is noticed.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    sync::Notify,
};

use crate::limits::Limits;

/// Bytes of each stream that an answer holds.
pub const KEPT_BYTES: usize = 64 * 1024;

/// Both streams of one command.
#[derive(Debug)]
pub struct Output {
    kept: usize,
    most: u64,
    written: AtomicU64,
    flooded: Notify,
}

impl Output {
    /// Streams that are cut and counted, or kept whole where they are not capped.
    #[must_use]
    pub fn within(capped: bool, limits: &Limits) -> Arc<Self> {
        let (kept, most) = if capped {
            (KEPT_BYTES, limits.output_bytes)
        } else {
            (usize::MAX, u64::MAX)
        };
        Arc::new(Self {
            kept,
            most,
            written: AtomicU64::new(0),
            flooded: Notify::new(),
        })
    }

    /// Comes when more was written than the limit.
    pub async fn flooded(&self) {
        self.flooded.notified().await;
    }

    /// The first bytes of a stream, and whether there were more. Reads to the end, so that a program that
    /// writes much is not stopped by a full pipe.
    pub async fn keep_start(
        self: Arc<Self>,
        stream: Option<impl AsyncRead + Unpin>,
    ) -> (Vec<u8>, bool) {
        let Some(mut stream) = stream else {
            return (Vec::new(), false);
        };
        let mut kept = Vec::new();
        let mut cut = false;
        let mut chunk = vec![0; 16 * 1024];
        while let Ok(read @ 1..) = stream.read(&mut chunk).await {
            let room = self.kept - kept.len();
            kept.extend_from_slice(&chunk[..read.min(room)]);
            cut |= read > room;
            let read = u64::try_from(read).unwrap_or(0);
            let before = self.written.fetch_add(read, Ordering::Relaxed);
            if before <= self.most && before + read > self.most {
                self.flooded.notify_one();
            }
        }
        (kept, cut)
    }
}
