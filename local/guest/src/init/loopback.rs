//! The only network there is: the machine's own.

use std::io;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, recv, send, socket};

use super::{Failed, step};

/// Its number, which is the same in every network name space of Linux.
const LOOPBACK: i32 = 1;
/// `RTM_NEWLINK`, `NLM_F_REQUEST | NLM_F_ACK`, `NLMSG_ERROR` and `IFF_UP` of Linux.
const NEW_LINK: u16 = 16;
const ACKNOWLEDGE: u16 = 5;
const ERROR: u16 = 2;
const UP: u32 = 1;
/// Bytes of a message's head.
const HEAD: usize = 16;
/// What the kernel may answer: a code and our own words.
const ANSWER_BYTES: usize = 256;

/// Brings it up, as in every sandbox of the host.
pub(super) fn up() -> Result<(), Failed> {
    ask().map_err(step("bringing the loopback up"))
}

fn ask() -> io::Result<()> {
    // No protocol is number 0, `NETLINK_ROUTE`.
    let kernel = socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
    send(&kernel, &request(), SendFlags::empty())?;
    let mut answer = [0; ANSWER_BYTES];
    let (bytes, _) = recv(&kernel, &mut answer, RecvFlags::empty())?;
    judge(&answer[..bytes])
}

/// `nlmsghdr` and `ifinfomsg`.
fn request() -> Vec<u8> {
    let mut words = Vec::new();
    words.extend(32_u32.to_ne_bytes());
    words.extend(NEW_LINK.to_ne_bytes());
    words.extend(ACKNOWLEDGE.to_ne_bytes());
    // Number of the message, and of who sends it, whom the kernel knows.
    words.extend([0; 8]);
    // Family and kind: any.
    words.extend([0; 4]);
    words.extend(LOOPBACK.to_ne_bytes());
    words.extend(UP.to_ne_bytes());
    // Which of the flags are meant.
    words.extend(UP.to_ne_bytes());
    words
}

/// `nlmsgerr`: nothing, or the error's negative number.
fn judge(answer: &[u8]) -> io::Result<()> {
    let kind = answer.get(4..6).and_then(|kind| kind.try_into().ok());
    let code = answer
        .get(HEAD..HEAD + 4)
        .and_then(|code| code.try_into().ok());
    match (kind.map(u16::from_ne_bytes), code.map(i32::from_ne_bytes)) {
        (Some(ERROR), Some(0)) => Ok(()),
        (Some(ERROR), Some(code)) => Err(io::Error::from_raw_os_error(-code)),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_as_long_as_it_says_and_the_answers_code_is_the_kernels() {
        let request = request();
        assert_eq!(
            request[..4],
            u32::try_from(request.len()).unwrap().to_ne_bytes()
        );
        let answer = |kind: u16, code: i32| {
            let mut bytes = vec![0; HEAD];
            bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
            bytes.extend(code.to_ne_bytes());
            bytes
        };
        judge(&answer(ERROR, 0)).unwrap();
        let refused = judge(&answer(ERROR, -1)).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(1));
        judge(&answer(NEW_LINK, 0)).unwrap_err();
        judge(b"").unwrap_err();
    }
}
