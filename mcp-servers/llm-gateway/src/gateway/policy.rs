//! What may be asked. Whatever could carry data out through the provider is refused: servers that the
//! provider would call, tools that it would run, sources that it would fetch.

use nightshift_controls::{Control, holds};
use serde_json::{Map, Value, json};

use crate::{config::Models, tokens};

/// Top-level fields that pass.
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

/// Fields that clients send, that we know, and that change nothing of what is asked: they are dropped.
const DROP: &[&str] = &[
    "cache_control",
    "context_management",
    "inference_geo",
    "metadata",
    "output_config",
    "service_tier",
];

/// Fields that ask the provider to reach out, refused in words of their own.
const REFUSE: &[&str] = &["mcp_servers", "container"];

/// What a tool of the agent's own may say.
const TOOL_FIELDS: &[&str] = &[
    "cache_control",
    "description",
    "display_height_px",
    "display_number",
    "display_width_px",
    "eager_input_streaming",
    "input_examples",
    "input_schema",
    "max_characters",
    "name",
    "strict",
    "type",
];

/// Tools that run where the agent runs.
const OWN_TOOLS: &[&str] = &["custom", "bash_", "text_editor_", "memory_", "computer_"];

/// Pieces of a turn that are what they say and nothing else, and what each may hold.
const BLOCKS: &[(&str, &[&str])] = &[
    ("text", &["text", "citations"]),
    ("image", &["source"]),
    ("document", &["source", "title", "context", "citations"]),
    ("tool_use", &["id", "name", "input"]),
    ("tool_result", &["tool_use_id", "content", "is_error"]),
    ("thinking", &["thinking", "signature"]),
    ("redacted_thinking", &["data"]),
    (
        "search_result",
        &["source", "title", "content", "citations"],
    ),
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
    /// A field that we do not know: it might ask for anything.
    #[error("the field `{0}` is not known here")]
    Unknown(String),
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
    /// Roughly how many tokens the provider reads.
    #[must_use]
    pub fn read(&self) -> u64 {
        tokens::of(&self.body)
    }

    /// The most tokens that this request can use.
    #[must_use]
    pub fn worst_case(&self) -> u64 {
        self.read().saturating_add(self.max_tokens)
    }
}

/// Lets a request through, reduced to what may pass.
///
/// Controls: `model-fields` (unknown fields are refused, wherever they stand), `model-list`,
/// `model-server-tools` (tools, servers and sources that the provider would reach out for).
pub fn admit(body: Value, models: &Models) -> Result<Admitted, NotAllowed> {
    let Value::Object(mut body) = body else {
        return Err(NotAllowed::Malformed("body"));
    };
    if let Some(field) = REFUSE.iter().find(|field| body.contains_key(**field))
        && holds(Control::ModelServerTools)
    {
        return Err(NotAllowed::Field(field));
    }
    body.retain(|field, _| !DROP.contains(&field.as_str()));
    known(&body, PASS, "")?;
    let asked = text(&body, "model")?;
    let listed = match models.allowed(&asked) {
        None if !holds(Control::ModelList) => Some(asked.as_str()),
        listed => listed,
    };
    let Some(model) = listed.map(str::to_owned) else {
        return Err(NotAllowed::Model(asked));
    };
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
    for (field, fields) in [
        ("tool_choice", ["type", "name", "disable_parallel_tool_use"]),
        ("thinking", ["type", "budget_tokens", "display"]),
    ] {
        match body.get(field) {
            None => {}
            Some(Value::Object(object)) => known(object, &fields, field)?,
            Some(_) => return Err(NotAllowed::Malformed(field)),
        }
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

/// Refuses an object with a field that is not among these.
fn known(object: &Map<String, Value>, fields: &[&str], place: &str) -> Result<(), NotAllowed> {
    let unknown = object
        .keys()
        .find(|field| !fields.contains(&field.as_str()));
    match unknown {
        None => Ok(()),
        Some(_) if !holds(Control::ModelFields) => Ok(()),
        Some(field) if place.is_empty() => Err(NotAllowed::Unknown(field.clone())),
        Some(field) => Err(NotAllowed::Unknown(format!("{place}.{field}"))),
    }
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
        let object = tool.as_object().ok_or(NotAllowed::Malformed("tools"))?;
        // A tool without a type is the caller's own.
        let kind = match tool.get("type") {
            None | Some(Value::Null) => "custom",
            Some(Value::String(kind)) => kind,
            Some(_) => return Err(NotAllowed::Malformed("tools")),
        };
        if !OWN_TOOLS
            .iter()
            .any(|own| kind == *own || (own.ends_with('_') && kind.starts_with(own)))
            && holds(Control::ModelServerTools)
        {
            return Err(NotAllowed::Tool(kind.to_owned()));
        }
        known(object, TOOL_FIELDS, "tools")?;
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
        if let Some(object) = message.as_object() {
            known(object, &["role", "content"], "messages")?;
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
    let Some((_, fields)) = BLOCKS.iter().find(|(known, _)| *known == kind) else {
        return Err(NotAllowed::Block(kind.to_owned()));
    };
    for field in block.as_object().into_iter().flat_map(Map::keys) {
        let of_all = ["type", "cache_control"].contains(&field.as_str());
        if !of_all && !fields.contains(&field.as_str()) {
            return Err(NotAllowed::Unknown(format!("{kind}.{field}")));
        }
    }
    if matches!(kind, "image" | "document") {
        source(block.get("source"))?;
    }
    match block.get("content") {
        // The input of a call is the caller's own; only results hold further blocks.
        Some(inner @ Value::Array(_)) => content(Some(inner)),
        None | Some(Value::String(_)) => Ok(()),
        Some(_) => Err(NotAllowed::Malformed("content")),
    }
}

fn source(from: Option<&Value>) -> Result<(), NotAllowed> {
    let from = from.ok_or(NotAllowed::Malformed("source"))?;
    if let Some(object) = from.as_object() {
        known(
            object,
            &["type", "media_type", "data", "content", "url", "file_id"],
            "source",
        )?;
    }
    match from.get("type").and_then(Value::as_str) {
        Some("base64" | "text") if from.get("url").is_none() && from.get("file_id").is_none() => {
            Ok(())
        }
        Some(kind @ ("base64" | "text")) => Err(NotAllowed::Source(kind.to_owned())),
        Some("content") => content(from.get("content")),
        Some(_) if !holds(Control::ModelServerTools) => Ok(()),
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
            let refused = with(field, value.clone()).unwrap_err();
            assert!(
                !matches!(refused, NotAllowed::Malformed(_)),
                "{field} {value}: {refused}"
            );
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
    fn an_unknown_field_is_refused_wherever_it_stands() {
        assert_eq!(
            with("web_access", json!(true)).unwrap_err(),
            NotAllowed::Unknown("web_access".to_owned())
        );
        let tool =
            json!([{ "name": "x", "input_schema": {}, "allowed_callers": ["code_execution"] }]);
        assert_eq!(
            with("tools", tool).unwrap_err(),
            NotAllowed::Unknown("tools.allowed_callers".to_owned())
        );
        assert!(with("thinking", json!({ "type": "enabled", "fetch": 1 })).is_err());
        assert!(with("tool_choice", json!("auto")).is_err());
        for message in [
            json!({ "role": "user", "content": "x", "url": "https://example.com" }),
            json!({ "role": "user", "content": [{ "type": "text", "text": "x", "url": "https://e.com" }] }),
            json!({ "role": "user", "content": [{ "type": "image",
                "source": { "type": "base64", "data": "", "url": "https://e.com" } }] }),
            json!({ "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "t",
                "content": { "type": "image" } }] }),
        ] {
            assert!(with("messages", json!([message])).is_err(), "{message}");
        }
    }

    #[test]
    fn what_clients_always_send_is_dropped_and_numbers_are_clamped() {
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
