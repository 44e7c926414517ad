//! Where tool results go before the agent sees them.

use nightshift_domain::{EvidenceId, InvestigationId};
use nightshift_protocol::run::{RecordCall, RecordEvidence, RecordModelUse};

use crate::Pending;

/// Keeps what the tools of a run saw and did.
pub trait EvidenceLog: Send + Sync {
    /// Keeps a tool result; the agent may cite it from then on.
    fn record(
        &self,
        investigation: InvestigationId,
        evidence: RecordEvidence,
    ) -> Pending<'_, Result<EvidenceId, LogRefusal>>;

    /// Keeps a call that left no evidence.
    fn call(
        &self,
        investigation: InvestigationId,
        call: RecordCall,
    ) -> Pending<'_, Result<(), LogRefusal>>;
}

/// Keeps what a run asked of the language model.
pub trait ModelLog: Send + Sync {
    /// Keeps one request to the model.
    fn model_use(
        &self,
        investigation: InvestigationId,
        used: RecordModelUse,
    ) -> Pending<'_, Result<(), LogRefusal>>;
}

/// Why something was not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogRefusal {
    /// The run is over, or a later start of the sandbox speaks for it now.
    #[error("the run is not live at this epoch")]
    NotLive,
    /// The casebook could not be asked, or did not understand.
    #[error("the casebook cannot record: {0}")]
    Unavailable(String),
}
