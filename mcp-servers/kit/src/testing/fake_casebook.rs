//! A casebook in memory. It is as strict as the real one, and stricter about what it is given.

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use nightshift_domain::{Epoch, EvidenceId, InvestigationId, scope::Audience};
use nightshift_protocol::run::{RecordCall, RecordEvidence, RecordModelUse, RunStatus};

use crate::{
    EvidenceLog, LogRefusal, ModelLog, Pending, Runs, RunsUnavailable,
    fit::{ANSWER_BYTES, json_bytes},
    secrets,
};

/// Knows the runs that it was told of, and keeps what it is given.
#[derive(Debug, Default)]
pub struct FakeCasebook {
    live: Mutex<HashMap<InvestigationId, RunStatus>>,
    evidence: Mutex<Vec<(EvidenceId, RecordEvidence)>>,
    calls: Mutex<Vec<RecordCall>>,
    model: Mutex<Vec<RecordModelUse>>,
    down: AtomicBool,
    asked: AtomicUsize,
}

impl FakeCasebook {
    /// Makes the run live at its epoch, and at no other.
    pub fn make_live(&self, run: &RunStatus) {
        lock(&self.live).insert(run.investigation, run.clone());
    }

    /// Ends the run.
    pub fn end(&self, investigation: InvestigationId) {
        lock(&self.live).remove(&investigation);
    }

    /// Makes every call fail as if nobody answered, or work again.
    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// How often it was asked for a run.
    pub fn times_asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// What was recorded, oldest first.
    pub fn evidence(&self) -> Vec<(EvidenceId, RecordEvidence)> {
        lock(&self.evidence).clone()
    }

    /// The calls that left no evidence, oldest first.
    pub fn calls(&self) -> Vec<RecordCall> {
        lock(&self.calls).clone()
    }

    /// The requests to the model, oldest first.
    pub fn model_uses(&self) -> Vec<RecordModelUse> {
        lock(&self.model).clone()
    }

    fn admit(&self, investigation: InvestigationId, epoch: Epoch) -> Result<(), LogRefusal> {
        if self.down.load(Ordering::SeqCst) {
            return Err(LogRefusal::Unavailable("nobody answers".to_owned()));
        }
        match lock(&self.live).get(&investigation) {
            Some(run) if run.epoch == epoch => Ok(()),
            Some(_) | None => Err(LogRefusal::NotLive),
        }
    }
}

impl Runs for FakeCasebook {
    fn status(
        &self,
        investigation: InvestigationId,
        epoch: Epoch,
    ) -> Pending<'_, Result<Option<RunStatus>, RunsUnavailable>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let answer = if self.down.load(Ordering::SeqCst) {
            Err(RunsUnavailable("nobody answers".to_owned()))
        } else {
            let live = lock(&self.live);
            Ok(live
                .get(&investigation)
                .filter(|run| run.epoch == epoch)
                .cloned())
        };
        Box::pin(async move { answer })
    }
}

impl EvidenceLog for FakeCasebook {
    fn record(
        &self,
        investigation: InvestigationId,
        evidence: RecordEvidence,
    ) -> Pending<'_, Result<EvidenceId, LogRefusal>> {
        let answer = self.admit(investigation, evidence.epoch).and_then(|()| {
            well_formed(&evidence)?;
            let id = EvidenceId::generate();
            lock(&self.evidence).push((id, evidence));
            Ok(id)
        });
        Box::pin(async move { answer })
    }

    fn call(
        &self,
        investigation: InvestigationId,
        call: RecordCall,
    ) -> Pending<'_, Result<(), LogRefusal>> {
        let answer = self.admit(investigation, call.epoch).and_then(|()| {
            let known = ["refused", "failed", "answered"].contains(&call.outcome.as_str());
            let explained = call.detail.is_some() == (call.outcome != "answered");
            if !known || !explained {
                return Err(LogRefusal::Unavailable(format!("not an outcome: {call:?}")));
            }
            lock(&self.calls).push(call);
            Ok(())
        });
        Box::pin(async move { answer })
    }
}

impl ModelLog for FakeCasebook {
    fn model_use(
        &self,
        investigation: InvestigationId,
        used: RecordModelUse,
    ) -> Pending<'_, Result<(), LogRefusal>> {
        let answer = self
            .admit(investigation, used.epoch)
            .map(|()| lock(&self.model).push(used));
        Box::pin(async move { answer })
    }
}

fn well_formed(evidence: &RecordEvidence) -> Result<(), LogRefusal> {
    let server = evidence.tool.split_once('.').map(|(server, _)| server);
    let checks = [
        (
            Audience::ALL
                .iter()
                .any(|known| Some(known.server()) == server),
            "the tool's name",
        ),
        (evidence.arguments.is_object(), "the arguments"),
        (
            json_bytes(&evidence.content).is_some_and(|bytes| bytes <= ANSWER_BYTES),
            "the answer's size",
        ),
        (
            secrets::scrub(evidence.content.clone()).0 == evidence.content,
            "the answer's characters or secrets",
        ),
    ];
    match checks.into_iter().find(|(holds, _)| !holds) {
        Some((_, what)) => Err(LogRefusal::Unavailable(format!("refused for {what}"))),
        None => Ok(()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
