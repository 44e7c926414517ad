//! Speaking to QEMU itself: one command at a time, over a socket that only we hold.

use std::{io, io::IoSlice, mem::MaybeUninit, os::fd::AsFd};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Interest},
    net::UnixStream,
};

/// Bytes an answer may have.
const LINE_BYTES_MAX: usize = 1 << 20;

/// A conversation.
#[derive(Debug)]
pub(super) struct Monitor(BufReader<UnixStream>);

impl Monitor {
    /// Hears QEMU's greeting, which says that it has taken in its arguments, and answers it.
    pub(super) async fn greet(stream: UnixStream) -> io::Result<Self> {
        let mut monitor = Self(BufReader::new(stream));
        monitor.line().await?;
        monitor.run("qmp_capabilities", json!({})).await?;
        Ok(monitor)
    }

    /// Gives a command and waits for its answer; events in between concern nobody.
    pub(super) async fn run(&mut self, command: &str, arguments: Value) -> io::Result<Value> {
        let line = format!(
            "{}\n",
            json!({ "execute": command, "arguments": arguments })
        );
        self.0.get_mut().write_all(line.as_bytes()).await?;
        self.answer().await
    }

    /// Hands over a descriptor under a name.
    pub(super) async fn hand_over(&mut self, name: &str, fd: impl AsFd) -> io::Result<()> {
        let line = format!(
            "{}\n",
            json!({ "execute": "getfd", "arguments": { "fdname": name } })
        );
        let stream = self.0.get_ref();
        let fds = [fd.as_fd()];
        let send = || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            control.push(SendAncillaryMessage::ScmRights(&fds));
            let bytes = [IoSlice::new(line.as_bytes())];
            let sent = sendmsg(stream, &bytes, &mut control, SendFlags::NOSIGNAL)?;
            if sent == line.len() {
                Ok(())
            } else {
                Err(io::ErrorKind::WriteZero.into())
            }
        };
        stream.async_io(Interest::WRITABLE, send).await?;
        self.answer().await.map(drop)
    }

    async fn answer(&mut self) -> io::Result<Value> {
        loop {
            let mut said: Value = serde_json::from_slice(&self.line().await?)?;
            if let Some(error) = said.get("error") {
                return Err(io::Error::other(error["desc"].to_string()));
            }
            if said.get("return").is_some() {
                return Ok(said["return"].take());
            }
        }
    }

    async fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        loop {
            let chunk = self.0.fill_buf().await?;
            if chunk.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let end = chunk.iter().position(|&byte| byte == b'\n');
            let taken = end.map_or(chunk.len(), |end| end + 1);
            line.extend_from_slice(&chunk[..taken]);
            self.0.consume(taken);
            if end.is_some() {
                return Ok(line);
            }
            if line.len() > LINE_BYTES_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
    }
}
