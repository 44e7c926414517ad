//! What all batches have in common: which are refused as a whole, and how single entries fail.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::limits;
use crate::refusal::{Code, Refusal};

/// What became of each entry of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BatchAnswer<T> {
    /// Those that worked.
    pub successful: Vec<T>,
    /// Those that did not; the others are done all the same.
    pub failed: Vec<BatchFailure>,
}

/// An entry that worked and has nothing else to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Succeeded {
    /// The entry's id.
    pub id: String,
}

/// An entry that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BatchFailure {
    /// The entry's id.
    pub id: String,
    /// Whether the sender is at fault, and sending it again will not help.
    pub sender_fault: bool,
    /// The code that programs compare.
    pub code: String,
    /// Words for people.
    pub message: String,
}

/// Checks the ids of a batch: 1 to 10 entries, each id well formed and unlike the others.
pub(super) fn check_ids<'a>(ids: impl ExactSizeIterator<Item = &'a str>) -> Result<(), Refusal> {
    if ids.len() == 0 {
        return Err(
            Code::EmptyBatchRequest.because("There should be at least one entry in the request.")
        );
    }
    if ids.len() > limits::BATCH_ENTRIES {
        return Err(Code::TooManyEntriesInBatchRequest.because(format!(
            "Maximum number of entries per request are {}. You have sent {}.",
            limits::BATCH_ENTRIES,
            ids.len()
        )));
    }
    let mut seen = BTreeSet::new();
    for id in ids {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if id.is_empty() || id.len() > limits::NAME_CHARACTERS || !id.bytes().all(is_allowed) {
            return Err(Code::InvalidBatchEntryId.because(
                "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most \
                 80 letters long.",
            ));
        }
        if !seen.insert(id) {
            return Err(Code::BatchEntryIdsNotDistinct.because(format!("Id {id} repeated.")));
        }
    }
    Ok(())
}

/// Performs each entry and sorts what became of them.
pub(super) fn each<E, T>(
    entries: Vec<(String, E)>,
    mut perform: impl FnMut(&str, E) -> Result<T, Refusal>,
) -> BatchAnswer<T> {
    let mut answer = BatchAnswer {
        successful: Vec::new(),
        failed: Vec::new(),
    };
    for (id, entry) in entries {
        match perform(&id, entry) {
            Ok(done) => answer.successful.push(done),
            Err(refusal) => answer.failed.push(BatchFailure {
                id,
                sender_fault: true,
                code: refusal.code.query().to_owned(),
                message: refusal.message,
            }),
        }
    }
    answer
}
