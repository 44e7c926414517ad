//! What the host says.

use std::{
    fs::File,
    io::{self, Read},
    sync::Arc,
    thread,
};

use rustix::process::{Pid, Signal, kill_process};

use super::{PAUSE, channel::Channel, say, set};
use crate::wire::{Frame, HEAD_BYTES, Head};

/// Reads one frame. The port says that it is at its end while the host is not there.
pub(super) fn next(port: &mut impl Read) -> io::Result<Frame> {
    let mut head = [0; HEAD_BYTES];
    fill(port, &mut head)?;
    let head = Head::parse(head).map_err(io::Error::other)?;
    let mut content = vec![0; head.bytes];
    fill(port, &mut content)?;
    Frame::decode(head, content).map_err(io::Error::other)
}

fn fill(port: &mut impl Read, mut buffer: &mut [u8]) -> io::Result<()> {
    while !buffer.is_empty() {
        match port.read(buffer) {
            Ok(0) => thread::sleep(PAUSE),
            Ok(read) => buffer = &mut buffer[read..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Does what the host says, as long as it makes sense.
pub(super) fn follow(mut port: File, channel: &Arc<Channel>, program: u32) {
    loop {
        match next(&mut port) {
            Ok(frame) => obey(frame, channel, program),
            Err(error) => return say(&format!("init: the channel is broken: {error}")),
        }
    }
}

fn obey(frame: Frame, channel: &Channel, program: u32) {
    match frame {
        Frame::Signal(number) => {
            let pid = i32::try_from(program).ok().and_then(Pid::from_raw);
            if let (Some(pid), Some(signal)) = (pid, Signal::from_named_raw(number)) {
                // It fails only if the program has ended.
                let _ = kill_process(pid, signal);
            }
        }
        Frame::Rest => channel.rest(),
        Frame::Wake(now) => {
            if let Err(failed) = set(&now) {
                say(&format!("init: {failed}"));
            }
            channel.wake();
        }
        Frame::Data(stream, bytes) => channel.deliver(stream, bytes),
        Frame::End(stream) => channel.deliver(stream, Vec::new()),
        Frame::Reset(stream) => {
            channel.forget(stream);
        }
        Frame::Credit(stream, bytes) => {
            channel.credit(stream, usize::try_from(bytes).unwrap_or(usize::MAX));
        }
        // Only the guest says these, and a brief comes once.
        Frame::Begin(_)
        | Frame::Started
        | Frame::Output(_)
        | Frame::Exited(_)
        | Frame::Resting
        | Frame::Open(..) => {}
    }
}
