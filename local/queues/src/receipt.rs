//! Receipt handles: what a receiver shows to delete a message or to keep it hidden.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::refusal::{Code, Refusal};
use crate::shelf::Place;

/// What a handle says. It names one receive of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) place: Place,
    /// Drawn at the receive; only the newest one is worth anything.
    pub(crate) number: u64,
}

impl Receipt {
    /// The handle, opaque to receivers.
    pub(crate) fn handle(self, queue: &str) -> String {
        STANDARD.encode(format!("{queue}/{}/{:016x}", self.place.0, self.number))
    }

    /// Reads a handle that this queue gave.
    pub(crate) fn read(handle: &str, queue: &str) -> Result<Self, Refusal> {
        if handle.is_empty() {
            return Err(Refusal::missing("ReceiptHandle"));
        }
        let parsed = STANDARD
            .decode(handle)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .and_then(|text| {
                let mut parts = text.split('/');
                let (name, place, number) = (parts.next()?, parts.next()?, parts.next()?);
                let receipt = Self {
                    place: Place(place.parse().ok()?),
                    number: u64::from_str_radix(number, 16).ok()?,
                };
                (name == queue && parts.next().is_none()).then_some(receipt)
            });
        parsed.ok_or_else(|| {
            Code::ReceiptHandleIsInvalid.because(format!(
                "The input receipt handle \"{handle}\" is not a valid receipt handle."
            ))
        })
    }

    /// A handle that was once good and is not any more.
    pub(crate) fn expired(handle: &str) -> Refusal {
        Refusal::value(handle, "ReceiptHandle", "The receipt handle has expired.")
    }
}
