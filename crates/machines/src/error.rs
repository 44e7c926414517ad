//! What went wrong with a call; each variant is a different decision for the caller.

use crate::{CapacityScope, Refusal};

/// Why a call did not give what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum MachinesError {
    /// Nothing was changed: no connection, or a read that failed. The same call is safe again.
    #[error("the machines API cannot be used now")]
    Unavailable(#[source] Failure),
    /// 429: too many calls for this app or machine; nothing was changed.
    #[error("the machines API asks for fewer calls: {0}")]
    RateLimited(Refusal),
    /// A write whose outcome is unknown (408, 5xx, a timeout, a broken answer). It may have
    /// happened: look by name before doing it again.
    #[error("whether the call took effect is unknown")]
    Ambiguous(#[source] Failure),
    /// The host the machine lives on has no room to run it. Waiting does not help; replace it.
    #[error("the machine's host is full: {0}")]
    HostFull(Refusal),
    /// The host that holds the volume has no room for a machine. Replace both.
    #[error("the volume's host is full: {0}")]
    VolumeHostFull(Refusal),
    /// No host of the region has room.
    #[error("the region is full: {0}")]
    RegionFull(Refusal),
    /// The organisation has used up what it may have there.
    #[error("the organisation's quota is used up: {0}")]
    OverQuota(Refusal),
    /// It does not exist, or no longer (404, 410).
    #[error("not found: {0}")]
    NotFound(Refusal),
    /// An app of that name exists already, perhaps in an organisation we cannot see.
    #[error("the app's name is taken: {0}")]
    AppNameTaken(Refusal),
    /// A machine of that name exists already in the app.
    #[error("the machine's name is taken by {machine:?}: {refusal}")]
    NameTaken {
        /// The machine that has the name, when the provider said which.
        machine: Option<String>,
        /// The provider's words.
        refusal: Refusal,
    },
    /// The volume still belongs to a machine, often one that is being destroyed.
    #[error("the volume is still claimed by {machine:?}: {refusal}")]
    VolumeClaimed {
        /// Whose it is, when the provider said so legibly.
        machine: Option<String>,
        /// The provider's words.
        refusal: Refusal,
    },
    /// The volume named in the machine's configuration is gone, whatever a list still says.
    #[error("the volume is gone: {0}")]
    VolumeGone(Refusal),
    /// The machine is between two states and refuses to start for now.
    #[error("the machine has not settled: {0}")]
    NotSettled(Refusal),
    /// The machine runs, and only a forced delete takes it.
    #[error("the machine is not stopped: {0}")]
    NotStopped(Refusal),
    /// Somebody else is changing it at this moment (409: a lease, a concurrent update).
    #[error("another change is under way: {0}")]
    Contended(Refusal),
    /// The machine will not come to the state that was waited for.
    #[error("the machine is not heading there: {0}")]
    WaitRefused(Refusal),
    /// Our own deadline passed while waiting; the machine goes on by itself.
    #[error("the machine did not reach the state within {waited_ms} ms")]
    WaitTimedOut {
        /// How long we waited, in milliseconds.
        waited_ms: u64,
    },
    /// The token is not accepted, or does not reach that far (401, 403).
    #[error("the machines API refuses our token: {0}")]
    Unauthorized(Refusal),
    /// The request itself is wrong; sending it again changes nothing.
    #[error("the machines API rejects the request: {0}")]
    Rejected(Refusal),
}

/// What stood between the call and its answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The connection failed, broke or timed out.
    #[error("the connection failed")]
    Transport(#[source] reqwest::Error),
    /// The provider answered that it failed or timed out.
    #[error("the provider answered {0}")]
    Answer(Refusal),
    /// The answer could not be read.
    #[error("the answer is not what the API promises")]
    Unreadable(#[source] serde_json::Error),
}

/// What a call does, which decides what its failure means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Changes nothing.
    Read,
    /// Waits for a state; changes nothing.
    Wait,
    /// Changes something.
    Write,
}

impl MachinesError {
    pub(crate) fn failed(effect: Effect, failure: Failure) -> Self {
        match effect {
            Effect::Read | Effect::Wait => Self::Unavailable(failure),
            Effect::Write => Self::Ambiguous(failure),
        }
    }

    pub(crate) fn transport(effect: Effect, error: reqwest::Error) -> Self {
        if error.is_connect() {
            return Self::Unavailable(Failure::Transport(error));
        }
        Self::failed(effect, Failure::Transport(error))
    }

    pub(crate) fn refused(effect: Effect, refusal: Refusal) -> Self {
        match refusal.http_status {
            408 | 500.. => return Self::failed(effect, Failure::Answer(refusal)),
            429 => return Self::RateLimited(refusal),
            _ => {}
        }
        match refusal.capacity_scope() {
            CapacityScope::Host => return Self::HostFull(refusal),
            CapacityScope::VolumePlacement => return Self::VolumeHostFull(refusal),
            CapacityScope::Region => return Self::RegionFull(refusal),
            CapacityScope::None => {}
        }
        if refusal.code.as_deref() == Some("name_taken") {
            return Self::AppNameTaken(refusal);
        }
        Self::by_sentence(effect, refusal)
    }

    /// The provider has no code for most refusals; its sentences are all there is.
    fn by_sentence(effect: Effect, refusal: Refusal) -> Self {
        let says = |part: &str| refusal.text.contains(part);
        match refusal.http_status {
            400 if effect == Effect::Wait => Self::WaitRefused(refusal),
            400 if says("volume not found") => Self::VolumeGone(refusal),
            403 if says("over the allowed quota") => Self::OverQuota(refusal),
            401 | 403 => Self::Unauthorized(refusal),
            404 | 410 => Self::NotFound(refusal),
            409 if says("unique machine name violation") => Self::NameTaken {
                machine: refusal.word_after("machine ID "),
                refusal,
            },
            409 if says("unable to destroy machine") => Self::NotStopped(refusal),
            409 => Self::Contended(refusal),
            412 if says("already claimed by machine") => Self::VolumeClaimed {
                machine: refusal.word_after("claimed by machine "),
                refusal,
            },
            412 if says("currently bound to machine") => Self::VolumeClaimed {
                machine: refusal.word_after("bound to machine: "),
                refusal,
            },
            412 if says("unable to destroy machine") => Self::NotStopped(refusal),
            412 => Self::NotSettled(refusal),
            422 if says("limit") => Self::OverQuota(refusal),
            _ => Self::Rejected(refusal),
        }
    }

    /// Whether it says that the thing asked for no longer exists.
    #[must_use]
    pub const fn is_gone(&self) -> bool {
        matches!(self, Self::NotFound(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(http_status: u16, text: &str) -> MachinesError {
        let body = serde_json::json!({ "error": text }).to_string();
        MachinesError::refused(Effect::Write, Refusal::read(http_status, body.as_bytes()))
    }

    #[test]
    fn the_machine_behind_a_taken_name_is_read_from_the_sentence() {
        let text = "already_exists: unique machine name violation, machine ID 148e21ea7d5389 already exists with name \"a\"";
        let MachinesError::NameTaken { machine, .. } = refused(409, text) else {
            panic!("not a taken name")
        };
        assert_eq!(machine.as_deref(), Some("148e21ea7d5389"));
    }

    #[test]
    fn an_illegible_machine_behind_a_claimed_volume_is_no_machine() {
        let claimed = |text: &str| {
            let error = refused(412, text);
            let MachinesError::VolumeClaimed { machine, .. } = error else {
                panic!("{error}")
            };
            machine
        };
        let text = "failed_precondition: volume already claimed by machine ";
        assert_eq!(claimed(&format!("{text}\0\0\0")), None);
        assert_eq!(claimed(&format!("{text}e82")), Some("e82".to_owned()));
        let bound = "failed_precondition: volume is currently bound to machine: e82";
        assert_eq!(claimed(bound), Some("e82".to_owned()));
    }

    #[test]
    fn a_write_that_failed_midway_is_ambiguous_and_a_read_is_not() {
        for status in [408, 500, 502, 504] {
            let refusal = Refusal::read(status, b"upstream went away");
            let write = MachinesError::refused(Effect::Write, refusal.clone());
            assert!(matches!(write, MachinesError::Ambiguous(_)), "{status}");
            let read = MachinesError::refused(Effect::Read, refusal);
            assert!(matches!(read, MachinesError::Unavailable(_)), "{status}");
        }
    }

    #[test]
    fn each_documented_sentence_leads_to_its_own_decision() {
        let start = "failed_precondition: unable to start machine from current state: 'created'";
        assert!(matches!(refused(412, start), MachinesError::NotSettled(_)));
        let active = "failed_precondition: machine still active, refusing to start";
        assert!(matches!(refused(412, active), MachinesError::NotSettled(_)));
        let running = "failed_precondition: unable to destroy machine, not currently stopped, suspended, failed or created";
        assert!(matches!(
            refused(412, running),
            MachinesError::NotStopped(_)
        ));
        assert!(matches!(
            refused(409, running),
            MachinesError::NotStopped(_)
        ));
        assert!(matches!(
            refused(400, "volume not found"),
            MachinesError::VolumeGone(_)
        ));
        assert!(matches!(
            refused(404, "not_found: machine not found"),
            MachinesError::NotFound(_)
        ));
        let quota = "organization \"x\" is using 9 MB of memory in dfw which is over the allowed quota. please consider other regions";
        assert!(matches!(refused(403, quota), MachinesError::OverQuota(_)));
        assert!(matches!(
            refused(403, "forbidden"),
            MachinesError::Unauthorized(_)
        ));
        assert!(matches!(
            refused(400, "invalid_argument: bad"),
            MachinesError::Rejected(_)
        ));
        let lease = "machine ID e82 lease currently held by someone";
        assert!(matches!(refused(409, lease), MachinesError::Contended(_)));
    }
}
