//! Tools behind scopes: one handler that every server uses, so that no server can list or call a
//! tool past the caller's permissions.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::request::Parts;
use nightshift_controls::{Control, holds};
use nightshift_domain::{Scope, scope::Audience};
use nightshift_protocol::run::RecordCall;
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    handler::server::{router::tool::ToolRouter, tool::ToolCallContext},
    model::{
        CacheScope, CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock,
        Implementation, ListPromptsRequestMethod, ListPromptsResult,
        ListResourceTemplatesRequestMethod, ListResourceTemplatesResult,
        ListResourcesRequestMethod, ListResourcesResult, ListToolsResult, PaginatedRequestParams,
        ServerCapabilities, ServerConfig,
    },
    service::RequestContext,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout};

use crate::{EvidenceLog, Grant, LogRefusal, caller::Call, clean, fit, secrets};

/// Arguments of audited calls are kept up to this many bytes of JSON.
const AUDITED_ARGUMENT_BYTES: usize = 4 * 1024;
/// The failure's text is kept up to this many bytes.
const AUDITED_DETAIL_BYTES: usize = 1024;

/// A server's tools, each with the scope that it needs.
#[derive(Debug)]
pub struct ScopedRouter<S> {
    router: ToolRouter<S>,
    scopes: BTreeMap<&'static str, Scope>,
}

/// The list of scopes does not match the tools.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopesIncomplete {
    /// A tool without a scope could be called by anyone, so there is no such tool.
    #[error("the tool `{0}` has no scope")]
    NoScope(String),
    /// A scope for nothing is a misspelling.
    #[error("a scope is listed for `{0}`, which is no tool")]
    NoTool(&'static str),
    /// Two scopes for one tool leave open which one counts.
    #[error("two scopes are listed for `{0}`")]
    Twice(&'static str),
}

/// What a server tells the kit about itself.
pub trait ToolServer: Sized + Send + Sync + 'static {
    /// Which server it is; its tokens are for this audience.
    const AUDIENCE: Audience;

    /// How long a tool may take. Control: `tool-time`.
    const PATIENCE: Duration = Duration::from_mins(1);

    /// What the model reads about the server as a whole.
    const INSTRUCTIONS: &'static str;

    /// Its tools.
    fn tools(&self) -> &ScopedRouter<Self>;

    /// Whether a successful call that records no evidence leaves an audit row. Only for calls
    /// that a run makes all the time and that say nothing about it.
    #[must_use]
    fn audits(_tool: &str) -> bool {
        true
    }
}

impl<S: Send + Sync + 'static> ScopedRouter<S> {
    /// Pairs every tool with its scope.
    pub fn new(
        router: ToolRouter<S>,
        scopes: &[(&'static str, Scope)],
    ) -> Result<Self, ScopesIncomplete> {
        let mut paired = BTreeMap::new();
        for (tool, scope) in scopes {
            if !router.has_route(tool) {
                return Err(ScopesIncomplete::NoTool(tool));
            }
            if paired.insert(*tool, *scope).is_some() {
                return Err(ScopesIncomplete::Twice(tool));
            }
        }
        match router
            .list_all()
            .iter()
            .find(|tool| !paired.contains_key(tool.name.as_ref()))
        {
            Some(tool) => Err(ScopesIncomplete::NoScope(tool.name.to_string())),
            None => Ok(Self {
                router,
                scopes: paired,
            }),
        }
    }

    /// Every tool's name and scope, by name.
    pub fn scopes(&self) -> impl Iterator<Item = (&'static str, Scope)> {
        self.scopes.iter().map(|(tool, scope)| (*tool, *scope))
    }

    fn allows(&self, grant: &Grant, tool: &str) -> bool {
        self.scopes
            .get(tool)
            .is_some_and(|scope| grant.allows(*scope))
    }
}

/// The MCP handler of a server's tools.
pub struct Tools<S> {
    server: Arc<S>,
    log: Arc<dyn EvidenceLog>,
    /// Skips the comparison with the list of scopes, to show that the signatures refuse as well.
    #[cfg(feature = "testing")]
    pub(crate) unguarded: bool,
}

impl<S> Clone for Tools<S> {
    fn clone(&self) -> Self {
        Self {
            server: Arc::clone(&self.server),
            log: Arc::clone(&self.log),
            #[cfg(feature = "testing")]
            unguarded: self.unguarded,
        }
    }
}

impl<S> std::fmt::Debug for Tools<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tools").finish_non_exhaustive()
    }
}

impl<S: ToolServer> Tools<S> {
    /// Serves the tools of `server`; what they see goes to `log`.
    #[must_use]
    pub fn new(server: Arc<S>, log: Arc<dyn EvidenceLog>) -> Self {
        secrets::prepare();
        Self {
            server,
            log,
            #[cfg(feature = "testing")]
            unguarded: false,
        }
    }

    fn allows(&self, grant: &Grant, tool: &str) -> bool {
        #[cfg(feature = "testing")]
        if self.unguarded {
            return true;
        }
        self.server.tools().allows(grant, tool)
    }

    /// Control: `audit`. A row for the call at the casebook, whoever made it and however it ended.
    async fn audit(
        &self,
        grant: &Grant,
        call: &Call,
        arguments: Value,
        ending: Ending,
    ) -> Result<(), LogRefusal> {
        if !holds(Control::Audit) {
            return Ok(());
        }
        let (outcome, detail) = match ending {
            Ending::Refused => ("refused", Some("no such tool for this caller".to_owned())),
            Ending::Failed(detail) => ("failed", Some(fit::text(detail, AUDITED_DETAIL_BYTES).0)),
            Ending::Answered => ("answered", None),
        };
        let record = RecordCall {
            epoch: grant.epoch(),
            tool: call.tool.as_ref().to_owned(),
            arguments,
            outcome: outcome.to_owned(),
            detail,
            took_ms: call.took_ms(),
        };
        let kept = self.log.call(grant.investigation(), record).await;
        if let Err(refusal) = &kept {
            tracing::error!(
                investigation.id = %grant.investigation(),
                tool = %call.tool,
                outcome,
                %refusal,
                "A tool call is missing from the audit"
            );
        }
        kept
    }
}

enum Ending {
    Refused,
    Failed(String),
    Answered,
}

impl<S: ToolServer> ServerHandler for Tools<S> {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new(
                format!("nightshift-{}", S::AUDIENCE.server()),
                env!("CARGO_PKG_VERSION"),
            ))
            .with_instructions(S::INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let grant = grant(&context).ok_or_else(unauthenticated)?;
        let tools = self.server.tools();
        let visible = tools
            .router
            .list_all()
            .into_iter()
            .filter(|tool| tools.allows(&grant, &tool.name))
            .collect();
        // The list depends on the token, so nobody between us and the agent may share it.
        Ok(ListToolsResult::with_all_items(visible)
            .with_ttl_ms(0)
            .with_cache_scope(if holds(Control::ListPrivate) {
                CacheScope::Private
            } else {
                CacheScope::Public
            }))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        mut context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let grant = grant(&context).ok_or_else(unauthenticated)?;
        let name = request.name.to_string();
        let arguments = audited(request.arguments.as_ref());
        let call = Call {
            tool: format!(
                "{}.{}",
                S::AUDIENCE.server(),
                fit::text(clean::text(&name).into_owned(), 100).0
            )
            .into(),
            started: Instant::now(),
            log: Arc::clone(&self.log),
            observed: Arc::new(AtomicBool::new(false)),
        };
        // Control: `unknown-as-denied`. One path for both, and nothing of the server is touched on it.
        if !self.allows(&grant, &name) || !self.server.tools().router.has_route(&name) {
            // Without its row the refusal is the same: it tells nothing.
            let _ = self.audit(&grant, &call, arguments, Ending::Refused).await;
            return Err(
                if holds(Control::UnknownAsDenied) || !self.server.tools().router.has_route(&name) {
                    unknown_tool()
                } else {
                    ErrorData::invalid_request("this tool is not for this caller", None)
                },
            );
        }

        context.extensions.insert(call.clone());
        let context = ToolCallContext::new(self.server.as_ref(), request, context);
        let answering = self.server.tools().router.call(context);
        let answer = timeout(S::PATIENCE, answering)
            .await
            .unwrap_or_else(|_| Ok(failure(&too_slow(S::PATIENCE))));
        let observed = call.observed.load(Ordering::Relaxed);
        let answer = if observed {
            answer
        } else {
            scrubbed(answer, &call.tool)
        };

        let ending = match &answer {
            Err(error) => Ending::Failed(error.message.to_string()),
            Ok(CallToolResponse::Complete(result)) if result.is_error == Some(true) => {
                Ending::Failed(words(result))
            }
            Ok(_) if observed || !S::audits(&name) => return answer,
            Ok(_) => Ending::Answered,
        };
        // Control: `audit-or-silence`. What has no row is not said, not even how it failed.
        match self.audit(&grant, &call, arguments, ending).await {
            Ok(()) => answer,
            Err(_) if !holds(Control::AuditOrSilence) => answer,
            Err(LogRefusal::NotLive) => Ok(failure("this run is over")),
            Err(LogRefusal::Unavailable(_)) => Ok(failure(
                "the call could not be recorded, so its answer is withheld; ask again",
            )),
        }
    }

    async fn list_prompts(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Err(ErrorData::method_not_found::<ListPromptsRequestMethod>())
    }

    async fn list_resources(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Err(ErrorData::method_not_found::<ListResourcesRequestMethod>())
    }

    async fn list_resource_templates(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Err(ErrorData::method_not_found::<
            ListResourceTemplatesRequestMethod,
        >())
    }
}

fn grant(context: &RequestContext<RoleServer>) -> Option<Grant> {
    context
        .extensions
        .get::<Parts>()?
        .extensions
        .get::<Grant>()
        .cloned()
}

fn unauthenticated() -> ErrorData {
    ErrorData::invalid_request("the caller is not authenticated", None)
}

/// One answer for a tool that is not there and for one that this caller may not use.
fn unknown_tool() -> ErrorData {
    ErrorData::invalid_params("unknown tool", None)
}

/// Arguments as they are kept in the audit: without secrets, and not more than is useful there. What is cut
/// can still be told apart, by its hash.
fn audited(arguments: Option<&rmcp::model::JsonObject>) -> Value {
    let arguments = Value::Object(arguments.cloned().unwrap_or_default());
    let bytes = fit::json_bytes(&arguments).unwrap_or(0);
    if bytes > AUDITED_ARGUMENT_BYTES {
        let digest = Sha256::digest(arguments.to_string());
        let hash = digest
            .iter()
            .fold(String::new(), |hash, byte| hash + &format!("{byte:02x}"));
        return json!({ "cut": true, "bytes": bytes, "sha256": hash });
    }
    secrets::scrub(arguments).0
}

/// An answer that was not recorded as evidence, cleaned and without secrets as evidence is.
fn scrubbed(
    answer: Result<CallToolResponse, ErrorData>,
    tool: &str,
) -> Result<CallToolResponse, ErrorData> {
    let mut result = match answer {
        Ok(CallToolResponse::Complete(result)) => result,
        Ok(other) => return Ok(other),
        Err(mut error) => {
            error.message = secrets::scrub_text(&error.message).0.into();
            error.data = error.data.map(|data| secrets::scrub(data).0);
            return Err(error);
        }
    };
    if let Some(structured) = result.structured_content.take() {
        let (structured, found) = secrets::scrub(structured);
        found.log(tool);
        // The text is a copy of the structure.
        result.content = vec![ContentBlock::text(structured.to_string())];
        result.structured_content = Some(structured);
    } else {
        let (text, found) = secrets::scrub_text(&words(&result));
        found.log(tool);
        result.content = vec![ContentBlock::text(text)];
    }
    Ok(result.into())
}

fn failure(text: &str) -> CallToolResponse {
    CallToolResult::error(vec![ContentBlock::text(text)]).into()
}

fn too_slow(patience: Duration) -> String {
    format!(
        "no answer within {} s; narrow the question",
        patience.as_secs()
    )
}

fn words(result: &CallToolResult) -> String {
    let texts = result.content.iter().filter_map(|block| block.as_text());
    texts
        .map(|block| block.text.as_str())
        .collect::<Vec<_>>()
        .join("\n")
}
