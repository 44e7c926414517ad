//! Who is calling, and what they may do.
//!
//! The gate verifies the token and leaves a [`Grant`] in the request. A tool asks for a [`Caller`]
//! in its signature, and that is the check. The caller also knows the call that it makes, so that
//! what a tool saw is recorded under the right name before it is answered.

use std::{
    collections::BTreeSet,
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use http::request::Parts;
use nightshift_controls::{Control, holds};
use nightshift_domain::{
    Epoch, EvidenceId, EvidenceKind, InvestigationId, SandboxId, Scope, TenantId, scope::Audience,
};
use nightshift_protocol::{
    RunClaims,
    run::{RecordEvidence, RunStatus},
    tools::Observed,
};
use rmcp::{
    ErrorData, Json,
    handler::server::common::{AsRequestContext, FromContextPart},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;

use crate::{EvidenceLog, LogRefusal, Permission, ToolError, fit, secrets};

/// What a verified token of a live run allows. Only the gate makes one.
#[derive(Debug, Clone)]
pub struct Grant {
    scopes: BTreeSet<Scope>,
    run: Arc<RunStatus>,
}

/// Why a caller was refused by a tool's signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request did not pass the gate.
    #[error("the caller is not authenticated")]
    Unauthenticated,
    /// The token does not carry the scope.
    #[error("this tool needs the scope `{0}`")]
    MissingScope(Scope),
}

impl Grant {
    pub(crate) fn new(claims: &RunClaims, audience: Audience, run: RunStatus) -> Self {
        // Words that we do not know and scopes of other servers grant nothing.
        let scopes = claims
            .scope
            .split(' ')
            .filter_map(Scope::parse)
            .filter(|scope| audience.scopes().contains(scope))
            .collect();
        Self {
            scopes,
            run: Arc::new(run),
        }
    }

    /// Whether it covers the scope.
    #[must_use]
    pub fn allows(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || !holds(Control::ToolScope)
    }

    /// The investigation that is asking.
    #[must_use]
    pub fn investigation(&self) -> InvestigationId {
        self.run.investigation
    }

    /// On whose behalf.
    #[must_use]
    pub fn tenant(&self) -> TenantId {
        self.run.tenant
    }

    /// The start of the sandbox that is asking.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.run.epoch
    }

    /// The sandbox that is asking.
    #[must_use]
    pub fn sandbox(&self) -> SandboxId {
        self.run.sandbox
    }

    /// The run as the casebook described it, at most two seconds ago.
    #[must_use]
    pub fn run(&self) -> &RunStatus {
        &self.run
    }
}

/// The call that is being made: its name, its beginning, and where its result is kept.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) tool: Arc<str>,
    pub(crate) started: Instant,
    pub(crate) log: Arc<dyn EvidenceLog>,
    pub(crate) observed: Arc<AtomicBool>,
}

impl Call {
    pub(crate) fn took_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Someone who holds the permission `P`, making one call. Only a [`Grant`] can make one.
pub struct Caller<P> {
    grant: Grant,
    call: Call,
    permission: PhantomData<P>,
}

impl<P> std::ops::Deref for Caller<P> {
    type Target = Grant;

    fn deref(&self) -> &Grant {
        &self.grant
    }
}

impl<P> std::fmt::Debug for Caller<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caller")
            .field("grant", &self.grant)
            .field("tool", &self.call.tool)
            .finish_non_exhaustive()
    }
}

impl<P: Permission> Caller<P> {
    /// Records what the tool saw, then answers with it and with the evidence to cite.
    ///
    /// The answer is cleaned and its secrets are taken out first; what is recorded is what the agent will see. Where it cannot
    /// be recorded, or takes more than [`fit::ANSWER_BYTES`], the agent sees an error and nothing
    /// else.
    pub async fn observe<A, T>(
        &self,
        kind: EvidenceKind,
        arguments: &A,
        answer: T,
        truncated: bool,
    ) -> Result<Json<Observed<T>>, ToolError>
    where
        A: Serialize + Sync,
        T: Serialize + DeserializeOwned,
    {
        let arguments = serde_json::to_value(arguments).map(secrets::scrub);
        let content = serde_json::to_value(answer).map(secrets::scrub);
        let (Ok((arguments, _)), Ok((content, redactions))) = (arguments, content) else {
            return Err(ToolError::new("the answer has no JSON form"));
        };
        redactions.log(&self.call.tool);
        if fit::json_bytes(&content).is_none_or(|bytes| bytes > fit::ANSWER_BYTES)
            && holds(Control::OutputSize)
        {
            return Err(ToolError::new(format!(
                "the answer takes more than {} KiB; narrow the question",
                fit::ANSWER_BYTES / 1024
            )));
        }
        let answer = T::deserialize(&content)
            .map_err(|_| ToolError::new("the answer holds a number without a JSON form"))?;

        let evidence = RecordEvidence {
            epoch: self.epoch(),
            kind,
            tool: self.call.tool.as_ref().to_owned(),
            arguments,
            content,
            truncated,
            took_ms: self.call.took_ms(),
        };
        match self.call.log.record(self.investigation(), evidence).await {
            Ok(evidence) => {
                self.call.observed.store(true, Ordering::Relaxed);
                Ok(Json(Observed {
                    evidence,
                    truncated,
                    redacted: redactions.total(),
                    answer,
                }))
            }
            Err(_) if !holds(Control::AuditOrSilence) => Ok(Json(Observed {
                evidence: EvidenceId::generate(),
                truncated,
                redacted: redactions.total(),
                answer,
            })),
            Err(refusal) => {
                tracing::error!(
                    investigation.id = %self.investigation(),
                    tool = %self.call.tool,
                    %refusal,
                    "Withheld an answer that could not be recorded"
                );
                Err(ToolError::new(match refusal {
                    LogRefusal::NotLive => "this run is over",
                    LogRefusal::Unavailable(_) => {
                        "the answer could not be recorded as evidence, so it is withheld; ask again"
                    }
                }))
            }
        }
    }
}

impl<C: AsRequestContext, P: Permission> FromContextPart<C> for Caller<P> {
    fn from_context_part(context: &mut C) -> Result<Self, ErrorData> {
        let extensions = &context.as_request_context().extensions;
        let refused = |refusal: Refusal| ErrorData::invalid_request(refusal.to_string(), None);
        let grant = extensions
            .get::<Parts>()
            .and_then(|request| request.extensions.get::<Grant>())
            .ok_or_else(|| refused(Refusal::Unauthenticated))?;
        let call = extensions
            .get::<Call>()
            .ok_or_else(|| refused(Refusal::Unauthenticated))?;
        if !grant.allows(P::SCOPE) {
            return Err(refused(Refusal::MissingScope(P::SCOPE)));
        }
        Ok(Self {
            grant: grant.clone(),
            call: call.clone(),
            permission: PhantomData,
        })
    }
}
