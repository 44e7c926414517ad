//! Carrying bytes: of connections, both ways, and of what the program prints.

use std::{
    io::{PipeReader, Read, Write},
    net::Shutdown,
    sync::{Arc, mpsc::Receiver},
    thread,
};

use super::channel::{Channel, Stream};
use crate::wire::{DATA_BYTES_MAX, Frame};

/// Sends on what the program prints, until nobody can print any more.
pub(super) fn print(mut output: PipeReader, channel: &Channel) {
    let mut buffer = vec![0; DATA_BYTES_MAX];
    loop {
        match output.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(read) => channel.send(&Frame::Output(buffer[..read].to_vec())),
        }
    }
}

/// Carries a connection until both directions are over.
pub(super) fn carry(channel: &Arc<Channel>, stream: &Arc<Stream>, received: Receiver<Vec<u8>>) {
    let (inward, to) = (Arc::clone(channel), Arc::clone(stream));
    let thread = thread::Builder::new().spawn(move || carry_in(&inward, &to, received));
    if thread.is_err() {
        return reset(channel, stream);
    }
    carry_out(channel, stream);
}

/// From the program to the host.
fn carry_out(channel: &Channel, stream: &Stream) {
    let mut buffer = vec![0; DATA_BYTES_MAX];
    while let Some(window) = stream.window() {
        let most = window.min(DATA_BYTES_MAX);
        match (&stream.socket).read(&mut buffer[..most]) {
            Ok(0) => {
                channel.send(&Frame::End(stream.id));
                return channel.half_done(stream);
            }
            Ok(read) => {
                stream.sent(read);
                channel.send(&Frame::Data(stream.id, buffer[..read].to_vec()));
            }
            Err(_) => return reset(channel, stream),
        }
    }
}

/// From the host to the program.
fn carry_in(channel: &Channel, stream: &Stream, received: Receiver<Vec<u8>>) {
    for bytes in received {
        if bytes.is_empty() {
            let _ = stream.socket.shutdown(Shutdown::Write);
            return channel.half_done(stream);
        }
        if (&stream.socket).write_all(&bytes).is_err() {
            return reset(channel, stream);
        }
        let passed_on = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        channel.send(&Frame::Credit(stream.id, passed_on));
    }
}

fn reset(channel: &Channel, stream: &Stream) {
    if channel.forget(stream.id) {
        channel.send(&Frame::Reset(stream.id));
    }
}
