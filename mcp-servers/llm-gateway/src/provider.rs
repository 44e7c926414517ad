//! Who answers: providers behind one trait, and the choice between them.

pub mod anthropic;
pub mod breaker;
pub mod in_process;
pub mod sse;

mod usage;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::response::Response;
use http::HeaderValue;
use nightshift_domain::InvestigationId;
use nightshift_mcp_kit::Pending;
use nightshift_protocol::messages::Usage;

use self::in_process::Analyst;
use crate::{analyst, gateway::policy::Admitted};

/// No provider answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// It cannot be reached or is overloaded; asking again may help.
    #[error("the model's provider cannot be reached just now: {cause}")]
    Unreachable {
        /// What happened last.
        cause: String,
    },
    /// It does not accept what the gateway presents; asking again does not help.
    #[error("the gateway is not accepted by the model's provider")]
    Misconfigured,
}

/// One request to a provider.
#[derive(Debug)]
pub struct Ask {
    /// What is asked.
    pub admitted: Admitted,
    /// For which run.
    pub run: InvestigationId,
    /// The betas that the client asks for.
    pub beta: Option<HeaderValue>,
    /// To be called once it is known what was used.
    pub settle: Settle,
}

type Settling = Box<dyn FnOnce(Option<String>, Usage) + Send + Sync>;

/// Told once what a request used.
///
/// Dropped untold before the request was sent, nothing was used. Dropped untold after, because a client
/// hung up or a provider fell silent, the most that it can have used counts: whoever leaves early saves
/// nothing.
pub struct Settle {
    settling: Option<Settling>,
    sent: Option<Usage>,
}

impl Settle {
    /// Calls `settling` with the model that answered and what it used.
    #[must_use]
    pub fn new(settling: impl FnOnce(Option<String>, Usage) + Send + Sync + 'static) -> Self {
        Self {
            settling: Some(Box::new(settling)),
            sent: None,
        }
    }

    /// Tells it.
    pub fn used(&mut self, model: Option<String>, usage: Usage) {
        if let Some(settling) = self.settling.take() {
            settling(model, usage);
        }
    }

    /// The request goes out; from now on silence costs this much.
    pub const fn sent(&mut self, most: Usage) {
        self.sent = Some(most);
    }

    /// The provider did not take the request: nothing was used so far.
    pub const fn not_taken(&mut self) {
        self.sent = None;
    }
}

impl Drop for Settle {
    fn drop(&mut self) {
        if let Some(most) = self.sent.take() {
            self.used(None, most);
        }
    }
}

impl std::fmt::Debug for Settle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settle")
            .field("open", &self.settling.is_some())
            .field("sent", &self.sent)
            .finish()
    }
}

/// A provider of models.
pub trait Provider: Send + Sync {
    /// How the record spells it.
    fn name(&self) -> &'static str;

    /// Whether it is known to be down.
    fn is_down(&self) -> bool;

    /// Answers, or says why not before the first byte.
    fn answer(&self, ask: Ask) -> Pending<'_, Result<Response, ProviderError>>;
}

/// Who began a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Led {
    ByAnalyst,
    ByOther,
}

/// Conversations whose leader is remembered before all are forgotten; the transcript tells as well.
const REMEMBERED: usize = 10_000;

/// The providers, and who leads which conversation.
pub struct Providers {
    first: Option<Arc<dyn Provider>>,
    analyst: Analyst,
    led: Mutex<HashMap<InvestigationId, Led>>,
}

impl Providers {
    /// Only the analyst.
    #[must_use]
    pub fn analyst_only() -> Self {
        Self {
            first: None,
            analyst: Analyst,
            led: Mutex::default(),
        }
    }

    /// A provider, with the analyst where it is down.
    #[must_use]
    pub fn with_fallback(first: Arc<dyn Provider>) -> Self {
        Self {
            first: Some(first),
            analyst: Analyst,
            led: Mutex::default(),
        }
    }

    /// Who answers this request.
    ///
    /// A conversation stays with whom it began. What the analyst leads is never given to a provider.
    /// The other way round the analyst takes over only from a provider that is known to be down, and
    /// that is logged: two minds in one transcript are an exception that must be visible.
    pub fn choose(&self, run: InvestigationId, admitted: &Admitted) -> &dyn Provider {
        let Some(first) = &self.first else {
            return &self.analyst;
        };
        let mut led = self.led.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = led.get(&run).copied().or_else(|| transcript_led(admitted));
        let asked_for_analyst = admitted.model == analyst::MODEL;
        let by = match begun {
            Some(Led::ByAnalyst) => Led::ByAnalyst,
            _ if asked_for_analyst => Led::ByAnalyst,
            Some(Led::ByOther) if first.is_down() => {
                tracing::warn!(
                    investigation.id = %run,
                    provider = first.name(),
                    "The analyst takes a conversation over because its provider is down"
                );
                Led::ByAnalyst
            }
            None if first.is_down() => {
                tracing::warn!(
                    investigation.id = %run,
                    provider = first.name(),
                    "The analyst leads a new conversation because the provider is down"
                );
                Led::ByAnalyst
            }
            Some(Led::ByOther) | None => Led::ByOther,
        };
        if led.len() >= REMEMBERED {
            led.clear();
        }
        led.insert(run, by);
        match by {
            Led::ByAnalyst => &self.analyst,
            Led::ByOther => first.as_ref(),
        }
    }
}

/// Who led a conversation, by what stands in it: another replica, or this one before a restart, may
/// have served it so far.
fn transcript_led(admitted: &Admitted) -> Option<Led> {
    let request = in_process::readable(admitted);
    let begun = request
        .messages
        .iter()
        .any(|message| message.role == nightshift_protocol::messages::Role::Assistant);
    match (begun, analyst::led(&request)) {
        (false, _) => None,
        (true, true) => Some(Led::ByAnalyst),
        (true, false) => Some(Led::ByOther),
    }
}

impl std::fmt::Debug for Providers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let first = self.first.as_ref().map(|first| first.name());
        f.debug_struct("Providers")
            .field("first", &first)
            .finish_non_exhaustive()
    }
}
