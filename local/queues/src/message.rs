//! A message: what was sent, and which contents a queue takes.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::limits;
use crate::message_attributes::{self, MessageAttributeValue};
use crate::refusal::{Code, Refusal};

/// What a sender gave.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Content {
    /// The body.
    pub(crate) body: String,
    /// The sender's attributes by name.
    pub(crate) attributes: BTreeMap<String, MessageAttributeValue>,
    /// The X-Ray header, the one system attribute that can be sent.
    pub(crate) trace_header: Option<String>,
    /// FIFO: what must stay in order. Standard: whose message it is.
    pub(crate) group: Option<String>,
    /// FIFO: what makes two messages the same.
    pub(crate) deduplication: Option<String>,
}

/// A message that a queue accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Message {
    /// The service's id; a duplicate has the same.
    pub(crate) id: String,
    /// What was sent.
    pub(crate) content: Content,
    /// When it was accepted. Retention counts from here.
    pub(crate) sent_at: DateTime<Utc>,
    /// FIFO: grows within the queue.
    pub(crate) sequence: Option<u64>,
    /// Receives, across all queues it has been in.
    pub(crate) received: u32,
    /// Its first receive.
    pub(crate) first_received_at: Option<DateTime<Utc>>,
    /// The name of the queue that gave it up.
    pub(crate) dead_from: Option<String>,
}

impl Content {
    /// Bytes that count against a queue's limit. System attributes do not.
    pub(crate) fn bytes(&self) -> usize {
        self.body.len() + message_attributes::bytes(&self.attributes)
    }

    /// Whether the body holds only characters that SQS takes (those of XML 1.0).
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        if self.body.is_empty() {
            return Err(Refusal::missing("MessageBody"));
        }
        if !self.body.chars().all(is_allowed) {
            return Err(Code::InvalidMessageContents.because(
                "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to \
                 #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF",
            ));
        }
        message_attributes::check(&self.attributes)
    }

    /// The deduplication id that content-based deduplication gives: the body's SHA-256, without
    /// the attributes.
    pub(crate) fn body_hash(&self) -> String {
        hex::encode(Sha256::digest(self.body.as_bytes()))
    }
}

const fn is_allowed(character: char) -> bool {
    matches!(character,
        '\u{9}' | '\u{a}' | '\u{d}' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}'
        | '\u{10000}'..='\u{10ffff}')
}

/// Checks a group id or a deduplication id: 1 to 128 letters, digits and punctuation.
pub(crate) fn check_token(value: &str, parameter: &str) -> Result<(), Refusal> {
    let fits = !value.is_empty() && value.len() <= limits::TOKEN_CHARACTERS;
    if fits && value.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(Refusal::value(
        value,
        parameter,
        &format!(
            "{parameter} can only include alphanumeric and punctuation characters. 1 to 128 in length."
        ),
    ))
}
