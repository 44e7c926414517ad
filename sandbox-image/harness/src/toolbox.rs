//! Everything the model may call, under the names it sees, and how a call is carried out.

use futures_util::{StreamExt as _, future::join_all, stream};
use nightshift_domain::EvidenceId;
use nightshift_protocol::messages::Tool;
use rmcp::model::CallToolResult;
use serde_json::Value;

use crate::{
    servers::{Server, Servers},
    shell,
    socket::Socket,
    step::Call,
};

/// Calls of one turn that run at the same time.
const AT_ONCE: usize = 4;
/// Characters of one result that the transcript takes. The servers bound theirs far below.
const RESULT_CHARS: usize = 100_000;
/// Tools that are the harness's own business.
const HIDDEN: [(&str, &str); 1] = [("casebook", "heartbeat")];

/// What a call gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// What the model reads.
    pub text: String,
    /// The same as data, where the tool has it.
    pub structured: Option<Value>,
    /// Whether the call failed.
    pub is_error: bool,
}

impl Outcome {
    /// A failure, in words.
    #[must_use]
    pub const fn error(text: String) -> Self {
        Self {
            text,
            structured: None,
            is_error: true,
        }
    }

    /// The evidence that the call left, where it left one.
    #[must_use]
    pub fn evidence(&self) -> Option<EvidenceId> {
        self.structured
            .as_ref()?
            .get("evidence")?
            .as_str()?
            .parse()
            .ok()
    }
}

impl From<CallToolResult> for Outcome {
    fn from(result: CallToolResult) -> Self {
        let texts: Vec<&str> = result
            .content
            .iter()
            .filter_map(|block| block.as_text().map(|text| text.text.as_str()))
            .collect();
        let mut text = texts.join("\n");
        if let (true, Some(structured)) = (text.is_empty(), &result.structured_content) {
            text = structured.to_string();
        }
        if let Some((cut, _)) = text.char_indices().nth(RESULT_CHARS) {
            text.truncate(cut);
            text.push_str("\n[cut here: the answer is too long]");
        }
        Self {
            text,
            structured: result.structured_content,
            is_error: result.is_error.unwrap_or(false),
        }
    }
}

/// The servers' tools and the shell.
#[derive(Debug)]
pub struct Toolbox<'a> {
    servers: &'a Servers,
    socket: Socket,
}

impl<'a> Toolbox<'a> {
    /// The tools of these servers, and the shell behind the socket.
    #[must_use]
    pub const fn new(servers: &'a Servers, socket: Socket) -> Self {
        Self { servers, socket }
    }

    /// The servers behind it.
    #[must_use]
    pub const fn servers(&self) -> &'a Servers {
        self.servers
    }

    /// Everything the model may call now. A server that is away is asked again each time; what it
    /// offers is missing until it is back.
    pub async fn catalogue(&self) -> Vec<Tool> {
        let links = join_all(self.servers.all().map(Server::link)).await;
        let mut tools = Vec::new();
        for (server, link) in self.servers.all().into_iter().zip(links) {
            match link {
                Ok(link) => tools.extend(
                    link.tools()
                        .iter()
                        .filter(|tool| !HIDDEN.contains(&(server.name(), &tool.name)))
                        .map(|tool| named(server.name(), tool)),
                ),
                Err(error) => {
                    tracing::warn!(server = server.name(), error = %error, "Its tools are missing");
                }
            }
        }
        tools.push(shell::tool());
        tools
    }

    /// Carries out the calls of one turn, a few at a time. The outcomes are in the calls' order.
    pub async fn call_all(&self, calls: &[Call]) -> Vec<Outcome> {
        stream::iter(calls)
            .map(|call| self.call(call))
            .buffered(AT_ONCE)
            .collect()
            .await
    }

    async fn call(&self, call: &Call) -> Outcome {
        if let Some(refusal) = &call.refusal {
            return Outcome::error(refusal.clone());
        }
        if call.name == shell::NAME {
            return shell::call(&self.socket, &call.input).await;
        }
        let found = call.name.split_once('_').and_then(|(server, tool)| {
            let server = self
                .servers
                .all()
                .into_iter()
                .find(|known| known.name() == server)?;
            (!HIDDEN.contains(&(server.name(), tool))).then_some((server, tool))
        });
        let Some((server, tool)) = found else {
            return Outcome::error(format!("there is no tool `{}`", call.name));
        };
        match call.input.as_object() {
            Some(arguments) => server.call(tool, arguments.clone()).await,
            None if call.input.is_null() => server.call(tool, serde_json::Map::new()).await,
            None => Outcome::error("the arguments must be an object".to_owned()),
        }
    }
}

fn named(server: &str, tool: &rmcp::model::Tool) -> Tool {
    Tool {
        name: format!("{server}_{}", tool.name),
        description: tool.description.as_deref().unwrap_or_default().to_owned(),
        input_schema: Value::Object((*tool.input_schema).clone()),
    }
}
