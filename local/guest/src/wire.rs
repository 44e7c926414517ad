//! What passes between a virtual machine and its host: frames, over one serial port.
//!
//! ```text
//! 1 byte   kind
//! 4 bytes  stream, or 0 (little endian, as all numbers)
//! 4 bytes  how much follows, at most FRAME_BYTES_MAX
//! …        bytes, a number or JSON, as the kind says
//! ```
//!
//! Streams are connections to the sandbox's two sockets. Only the guest opens them. Each side may have
//! [`WINDOW_BYTES`] of a stream on their way to the other, which gives them back as it passes them on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Bytes that may follow a frame's head.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a stream in one frame, so that others get their turn.
pub const DATA_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a stream that may be on their way.
pub const WINDOW_BYTES: usize = 256 * 1024;
/// Bytes of a frame before what it carries.
pub const HEAD_BYTES: usize = 9;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// To the guest, first: what it is to run.
    Begin(Box<Brief>),
    /// To the guest: send the program this signal.
    Signal(i32),
    /// To the guest: fall silent, because you will be suspended.
    Rest,
    /// To the guest: you were suspended until now.
    Wake(Now),
    /// From the guest: the program runs.
    Started,
    /// From the guest: what the program printed.
    Output(Vec<u8>),
    /// From the guest, last: the program has ended, and the volume is clean.
    Exited(Exit),
    /// From the guest: nothing more comes until it is woken.
    Resting,
    /// From the guest: a new stream to one of the sockets.
    Open(u32, Service),
    /// Bytes of a stream.
    Data(u32, Vec<u8>),
    /// No more bytes of a stream in this direction.
    End(u32),
    /// A stream is over in both directions.
    Reset(u32),
    /// So many bytes of a stream were passed on.
    Credit(u32, u32),
}

/// Which socket a stream belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// `/.fly/api`. The guest's kernel has seen that root inside connected.
    Identity,
    /// `/run/gateway.sock`.
    Gateway,
}

/// What a guest is to run, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brief {
    /// The host name.
    pub hostname: String,
    /// The program and its arguments.
    pub program: Vec<String>,
    /// Its whole environment.
    pub environment: BTreeMap<String, String>,
    /// Where the volume appears, if there is one.
    pub volume: Option<String>,
    /// Memory the machine has, in MiB.
    pub memory_mib: u32,
    /// Processes it may have.
    pub processes: u32,
    /// What changes while a machine does not run.
    pub now: Now,
}

/// What a machine cannot know by itself after it did not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {
    /// Milliseconds since 1970.
    pub unix_ms: i64,
    /// Random bytes that no other machine and no other start got.
    pub entropy: Vec<u8>,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Its exit code, or 128 and the signal that ended it.
    pub code: i32,
    /// Whether the guest's kernel ended anything for want of memory.
    pub out_of_memory: bool,
}

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    kind: u8,
    stream: u32,
    /// How many bytes follow.
    pub bytes: usize,
}

/// Something that is no frame.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// There is no such kind.
    #[error("no frame is of kind {0}")]
    Kind(u8),
    /// More follows than may.
    #[error("a frame of {0} bytes is too large")]
    TooLarge(usize),
    /// What follows is not what the kind says.
    #[error("a frame of kind {0} carries something else")]
    Content(u8),
}

impl Head {
    /// Reads a head.
    pub fn parse(bytes: [u8; HEAD_BYTES]) -> Result<Self, Malformed> {
        let [kind, s0, s1, s2, s3, b0, b1, b2, b3] = bytes;
        let length = u32::from_le_bytes([b0, b1, b2, b3]);
        let bytes = usize::try_from(length).unwrap_or(usize::MAX);
        if bytes > FRAME_BYTES_MAX {
            return Err(Malformed::TooLarge(bytes));
        }
        Ok(Self {
            kind,
            stream: u32::from_le_bytes([s0, s1, s2, s3]),
            bytes,
        })
    }
}

impl Frame {
    /// The bytes of it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let json = |value: Result<Vec<u8>, serde_json::Error>| value.unwrap_or_default();
        let (kind, stream, content) = match self {
            Self::Begin(brief) => (1, 0, json(serde_json::to_vec(brief))),
            Self::Signal(number) => (2, 0, number.to_le_bytes().to_vec()),
            Self::Rest => (3, 0, Vec::new()),
            Self::Wake(now) => (4, 0, json(serde_json::to_vec(now))),
            Self::Started => (5, 0, Vec::new()),
            Self::Output(bytes) => (6, 0, bytes.clone()),
            Self::Exited(exit) => (7, 0, json(serde_json::to_vec(exit))),
            Self::Resting => (8, 0, Vec::new()),
            Self::Open(stream, Service::Identity) => (9, *stream, vec![0]),
            Self::Open(stream, Service::Gateway) => (9, *stream, vec![1]),
            Self::Data(stream, bytes) => (10, *stream, bytes.clone()),
            Self::End(stream) => (11, *stream, Vec::new()),
            Self::Reset(stream) => (12, *stream, Vec::new()),
            Self::Credit(stream, bytes) => (13, *stream, bytes.to_le_bytes().to_vec()),
        };
        let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(HEAD_BYTES + content.len());
        bytes.push(kind);
        bytes.extend(stream.to_le_bytes());
        bytes.extend(length.to_le_bytes());
        bytes.extend(content);
        bytes
    }

    /// The frame of a head and the bytes that followed it.
    pub fn decode(head: Head, content: Vec<u8>) -> Result<Self, Malformed> {
        let wrong = Malformed::Content(head.kind);
        let stream = head.stream;
        Ok(match head.kind {
            1 => Self::Begin(Box::new(from_json(&content).ok_or(wrong)?)),
            2 => Self::Signal(i32::from_le_bytes(number(&content).ok_or(wrong)?)),
            3 => Self::Rest,
            4 => Self::Wake(from_json(&content).ok_or(wrong)?),
            5 => Self::Started,
            6 => Self::Output(content),
            7 => Self::Exited(from_json(&content).ok_or(wrong)?),
            8 => Self::Resting,
            9 => match content.as_slice() {
                [0] => Self::Open(stream, Service::Identity),
                [1] => Self::Open(stream, Service::Gateway),
                _ => return Err(wrong),
            },
            10 => Self::Data(stream, content),
            11 => Self::End(stream),
            12 => Self::Reset(stream),
            13 => Self::Credit(stream, u32::from_le_bytes(number(&content).ok_or(wrong)?)),
            unknown => return Err(Malformed::Kind(unknown)),
        })
    }
}

fn number(content: &[u8]) -> Option<[u8; 4]> {
    content.try_into().ok()
}

fn from_json<T: DeserializeOwned>(content: &[u8]) -> Option<T> {
    serde_json::from_slice(content).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(frame: &Frame) -> Frame {
        let bytes = frame.encode();
        let head = Head::parse(bytes[..HEAD_BYTES].try_into().unwrap()).unwrap();
        assert_eq!(head.bytes, bytes.len() - HEAD_BYTES);
        Frame::decode(head, bytes[HEAD_BYTES..].to_vec()).unwrap()
    }

    #[test]
    fn every_frame_is_read_as_it_was_written() {
        let now = Now {
            unix_ms: 1_700_000_000_000,
            entropy: vec![7; 32],
        };
        let brief = Brief {
            hostname: "m".to_owned(),
            program: vec!["/bin/sh".to_owned()],
            environment: BTreeMap::from([("A".to_owned(), "b".to_owned())]),
            volume: Some("/data".to_owned()),
            memory_mib: 256,
            processes: 1024,
            now: now.clone(),
        };
        let exit = Exit {
            code: 137,
            out_of_memory: true,
        };
        for frame in [
            Frame::Begin(Box::new(brief)),
            Frame::Signal(15),
            Frame::Rest,
            Frame::Wake(now),
            Frame::Started,
            Frame::Output(b"text".to_vec()),
            Frame::Exited(exit),
            Frame::Resting,
            Frame::Open(3, Service::Identity),
            Frame::Open(4, Service::Gateway),
            Frame::Data(5, vec![0; DATA_BYTES_MAX]),
            Frame::End(6),
            Frame::Reset(7),
            Frame::Credit(8, 9),
        ] {
            assert_eq!(again(&frame), frame);
        }
    }

    #[test]
    fn what_is_no_frame_is_refused_before_its_content_is_read() {
        let mut head = [0; HEAD_BYTES];
        head[5..].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(Head::parse(head), Err(Malformed::TooLarge(_))));
        let head = Head::parse([99, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap();
        assert!(matches!(
            Frame::decode(head, vec![]),
            Err(Malformed::Kind(99))
        ));
        for kind in [1, 2, 4, 7, 9, 13] {
            let head = Head::parse([kind, 0, 0, 0, 0, 3, 0, 0, 0]).unwrap();
            assert!(Frame::decode(head, vec![b'x'; 3]).is_err(), "kind {kind}");
        }
    }
}
