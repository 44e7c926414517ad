//! What may be asked. Whatever could carry data out through the provider is refused: servers that the
//! provider would call, tools that it would run, sources that it would fetch.

use serde_json::{Map, Value, json};

use crate::{config::Models, tokens};

/// Top-level fields that pass. Others are dropped: newer clients may send more than we know.
const PASS: &[&str] = &[
    "model",
    "max_tokens",
    "system",
    "messages",
    "tools",
    "tool_choice",
    "stream",
    "stop_sequences",
    "temperature",
    "top_p",
    "top_k",
    "thinking",
];

/// Fields that ask the provider to reach out; dropping them silently would change what was asked.
const REFUSE: &[&str] = &["mcp_servers", "container"];

/// Tools that run where the agent runs.
const OWN_TOOLS: &[&str] = &["custom", "bash_", "text_editor_", "memory_", "computer_"];

/// Pieces of a turn that are what they say and nothing else.
const BLOCKS: &[&str] = &[
    "text",
    "image",
    "document",
    "tool_use",
    "tool_result",
    "thinking",
    "redacted_thinking",
    "search_result",
];

/// An answer may have this many tokens, whatever is asked for.
pub const MAX_TOKENS: u64 = 16_384;

/// The request asks for what a run may not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAllowed {
    /// A field is missing or of the wrong type.
    #[error("`{0}` is missing or malformed")]
    Malformed(&'static str),
    /// The model is not on the list.
    #[error("model: {0}")]
    Model(String),
    /// A field that makes the provider reach out.
    #[error("`{0}` is not available here")]
    Field(&'static str),
    /// A tool that the provider would run.
    #[error("the tool type `{0}` runs outside of the sandbox and is not available here")]
    Tool(String),
    /// A source that the provider would fetch.
    #[error("a `{0}` source would be fetched by the provider and is not available here")]
    Source(String),
    /// A piece of a turn that we do not know.
    #[error("a content block of type `{0}` is not available here")]
    Block(String),
}

/// A request that may go on.
#[derive(Debug, Clone, PartialEq)]
pub struct Admitted {
    /// The body with only what passes; its `model` is the provider's own name.
    pub body: Map<String, Value>,
    /// The provider's name of the model.
    pub model: String,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// Tokens that the answer may have.
    pub max_tokens: u64,
}

impl Admitted {
    /// The most tokens that this request can use.
    #[must_use]
    pub fn worst_case(&self) -> u64 {
        tokens::of(&self.body).saturating_add(self.max_tokens)
    }
}

/// Lets a request through, reduced to what may pass.
pub fn admit(body: Value, models: &Models) -> Result<Admitted, NotAllowed> {
    let Value::Object(mut body) = body else {
        return Err(NotAllowed::Malformed("body"));
    };
    if let Some(field) = REFUSE.iter().find(|field| body.contains_key(**field)) {
        return Err(NotAllowed::Field(field));
    }
    body.retain(|field, _| {
        let passes = PASS.contains(&field.as_str());
        if !passes {
            tracing::debug!(field, "Dropped a field of a request to the model");
        }
        passes
    });
    let asked = text(&body, "model")?;
    let model = models
        .allowed(&asked)
        .ok_or(NotAllowed::Model(asked))?
        .to_owned();
    let max_tokens = body
        .get("max_tokens")
        .and_then(Value::as_u64)
        .filter(|tokens| *tokens > 0)
        .ok_or(NotAllowed::Malformed("max_tokens"))?
        .min(MAX_TOKENS);
    tools(&body)?;
    messages(&body)?;
    if let Some(Value::Array(blocks)) = body.get("system") {
        blocks.iter().try_for_each(block)?;
    }
    clamp_thinking(&mut body, max_tokens);
    let stream = body.get("stream").and_then(Value::as_bool).unwrap_or(false);
    body.insert("model".to_owned(), json!(model));
    body.insert("max_tokens".to_owned(), json!(max_tokens));
    Ok(Admitted {
        body,
        model,
        stream,
        max_tokens,
    })
}

fn text(body: &Map<String, Value>, field: &'static str) -> Result<String, NotAllowed> {
    body.get(field)
        .and_then(Value::as_str)
        .map(str::to_owned)
        .ok_or(NotAllowed::Malformed(field))
}

fn tools(body: &Map<String, Value>) -> Result<(), NotAllowed> {
    let Some(tools) = body.get("tools") else {
        return Ok(());
    };
    let tools = tools.as_array().ok_or(NotAllowed::Malformed("tools"))?;
    for tool in tools {
        if !tool.is_object() {
            return Err(NotAllowed::Malformed("tools"));
        }
        // A tool without a type is the caller's own.
        let kind = match tool.get("type") {
            None | Some(Value::Null) => continue,
            Some(Value::String(kind)) => kind,
            Some(_) => return Err(NotAllowed::Malformed("tools")),
        };
        if !OWN_TOOLS
            .iter()
            .any(|own| kind == own || (own.ends_with('_') && kind.starts_with(own)))
        {
            return Err(NotAllowed::Tool(kind.clone()));
        }
    }
    Ok(())
}

fn messages(body: &Map<String, Value>) -> Result<(), NotAllowed> {
    let messages = body
        .get("messages")
        .and_then(Value::as_array)
        .filter(|messages| !messages.is_empty())
        .ok_or(NotAllowed::Malformed("messages"))?;
    for message in messages {
        let role = message.get("role").and_then(Value::as_str);
        if !matches!(role, Some("user" | "assistant" | "system")) {
            return Err(NotAllowed::Malformed("messages"));
        }
        content(message.get("content"))?;
    }
    Ok(())
}

fn content(content: Option<&Value>) -> Result<(), NotAllowed> {
    match content {
        Some(Value::String(_)) => Ok(()),
        Some(Value::Array(blocks)) => blocks.iter().try_for_each(block),
        _ => Err(NotAllowed::Malformed("messages")),
    }
}

fn block(block: &Value) -> Result<(), NotAllowed> {
    let kind = block
        .get("type")
        .and_then(Value::as_str)
        .ok_or(NotAllowed::Malformed("messages"))?;
    if !BLOCKS.contains(&kind) {
        return Err(NotAllowed::Block(kind.to_owned()));
    }
    if matches!(kind, "image" | "document") {
        source(block.get("source"))?;
    }
    match block.get("content") {
        // The input of a call is the caller's own; only results hold further blocks.
        Some(inner @ Value::Array(_)) if kind == "tool_result" => content(Some(inner)),
        _ => Ok(()),
    }
}

fn source(from: Option<&Value>) -> Result<(), NotAllowed> {
    let from = from.ok_or(NotAllowed::Malformed("source"))?;
    match from.get("type").and_then(Value::as_str) {
        Some("base64" | "text") => Ok(()),
        Some("content") => content(from.get("content")),
        Some(other) => Err(NotAllowed::Source(other.to_owned())),
        None => Err(NotAllowed::Malformed("source")),
    }
}

/// Thinking counts against the same tokens, so it must leave room for an answer.
fn clamp_thinking(body: &mut Map<String, Value>, max_tokens: u64) {
    const LEAST: u64 = 1_024;
    let Some(thinking) = body.get_mut("thinking") else {
        return;
    };
    let Some(wanted) = thinking.get("budget_tokens").and_then(Value::as_u64) else {
        return;
    };
    let room = max_tokens.saturating_sub(1).min(wanted);
    if room < LEAST {
        body.remove("thinking");
    } else if let Value::Object(thinking) = thinking {
        thinking.insert("budget_tokens".to_owned(), json!(room));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn models() -> Models {
        "claude-a,fast=claude-b".parse().unwrap()
    }

    fn request() -> Value {
        json!({ "model": "claude-a", "max_tokens": 900,
            "messages": [{ "role": "user", "content": "hello" }] })
    }

    fn with(field: &str, value: Value) -> Result<Admitted, NotAllowed> {
        let mut body = request();
        body[field] = value;
        admit(body, &models())
    }

    #[test]
    fn what_a_run_may_ask_for_passes_unchanged() {
        let tools = json!([{ "name": "look", "input_schema": { "type": "object" } },
            { "type": "bash_20250124", "name": "bash" }]);
        let admitted = with("tools", tools.clone()).unwrap();
        assert_eq!(admitted.body["tools"], tools);
        assert_eq!(admitted.max_tokens, 900);
    }

    #[test]
    fn whatever_would_reach_out_is_refused() {
        for (field, value) in [
            ("mcp_servers", json!([{ "url": "https://example.com" }])),
            ("container", json!("c1")),
            (
                "tools",
                json!([{ "type": "web_search_20250305", "name": "web_search" }]),
            ),
            (
                "tools",
                json!([{ "type": "web_fetch_20250910", "name": "web_fetch" }]),
            ),
            (
                "tools",
                json!([{ "type": "code_execution_20250825", "name": "code" }]),
            ),
            ("tools", json!([{ "type": "something_new", "name": "x" }])),
        ] {
            assert!(with(field, value.clone()).is_err(), "{field} {value}");
        }
        let url = json!({ "type": "url", "url": "https://example.com/?secret" });
        for content in [
            json!([{ "type": "image", "source": url }]),
            json!([{ "type": "document", "source": url }]),
            json!([{ "type": "document", "source": { "type": "file", "file_id": "f" } }]),
            json!([{ "type": "tool_result", "tool_use_id": "t", "content": [
                { "type": "image", "source": url }] }]),
            json!([{ "type": "document", "source": { "type": "content", "content": [
                { "type": "image", "source": url }] } }]),
            json!([{ "type": "mcp_tool_use", "id": "m" }]),
        ] {
            let messages = json!([{ "role": "user", "content": content }]);
            assert!(with("messages", messages).is_err(), "{content}");
        }
    }

    #[test]
    fn the_input_of_a_call_may_look_like_anything() {
        let messages = json!([{ "role": "assistant", "content": [
            { "type": "tool_use", "id": "t", "name": "x", "input": { "source": { "type": "url" } } }] }]);
        assert!(with("messages", messages).is_ok());
    }

    #[test]
    fn unknown_fields_are_dropped_and_numbers_are_clamped() {
        let mut body = request();
        body["metadata"] = json!({ "user_id": "device" });
        body["max_tokens"] = json!(900_000);
        body["thinking"] = json!({ "type": "enabled", "budget_tokens": 500_000 });
        let admitted = admit(body, &models()).unwrap();
        assert!(!admitted.body.contains_key("metadata"));
        assert_eq!(admitted.max_tokens, MAX_TOKENS);
        assert_eq!(admitted.body["max_tokens"], json!(MAX_TOKENS));
        assert_eq!(
            admitted.body["thinking"]["budget_tokens"],
            json!(MAX_TOKENS - 1)
        );
    }

    #[test]
    fn a_model_is_renamed_or_refused() {
        assert_eq!(
            with("model", json!("fast")).unwrap().body["model"],
            json!("claude-b")
        );
        let unlisted = with("model", json!("claude-b")).unwrap_err();
        assert_eq!(unlisted, NotAllowed::Model("claude-b".to_owned()));
        assert!(with("max_tokens", json!(0)).is_err());
        assert!(with("messages", json!([])).is_err());
    }
}
