//! The part of the Anthropic Messages API that harness, gateway and analyst speak.
//!
//! Unknown fields are ignored when reading, so a newer peer does not break us.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `POST /v1/messages`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MessagesRequest {
    /// Which model.
    pub model: String,
    /// Tokens that the answer may have.
    pub max_tokens: u32,
    /// What the model is told first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// The conversation so far, oldest first.
    pub messages: Vec<Message>,
    /// What the model may call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Tool>,
    /// Whether to answer as server-sent events.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stream: bool,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said. Reading accepts a bare string as one text block.
    #[serde(deserialize_with = "blocks")]
    pub content: Vec<Block>,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The harness, with the task or tool results.
    User,
    /// The model.
    Assistant,
}

/// A piece of a turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Block {
    /// Plain words.
    Text {
        /// The words.
        text: String,
    },
    /// The model wants a tool called.
    ToolUse {
        /// The call's identity within the conversation.
        id: String,
        /// The tool, `server_tool` (the API forbids dots in names).
        name: String,
        /// Its arguments.
        input: Value,
    },
    /// What the tool answered.
    ToolResult {
        /// Which call it answers.
        tool_use_id: String,
        /// The answer as text; reading accepts a list of text blocks.
        #[serde(deserialize_with = "text")]
        content: String,
        /// Whether the tool failed.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
    },
}

/// A tool as the model sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    /// `server_tool`.
    pub name: String,
    /// When to use it.
    #[serde(default)]
    pub description: String,
    /// JSON schema of its arguments.
    pub input_schema: Value,
}

/// The model's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MessagesAnswer {
    /// The answer's identity.
    pub id: String,
    /// Always `message`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Always the assistant.
    pub role: Role,
    /// Which model answered.
    pub model: String,
    /// What it says.
    pub content: Vec<Block>,
    /// Why it stopped.
    pub stop_reason: Option<StopReason>,
    /// What it cost.
    pub usage: Usage,
}

/// Why a model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// It is done.
    EndTurn,
    /// It waits for tool results.
    ToolUse,
    /// The answer was cut at `max_tokens`.
    MaxTokens,
    /// Anything else.
    #[serde(other)]
    Other,
}

/// What an answer cost, in tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Read.
    #[serde(default)]
    pub input_tokens: u64,
    /// Written.
    #[serde(default)]
    pub output_tokens: u64,
}

/// The body of every refusal, in the provider's shape.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorAnswer {
    /// Always `error`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What went wrong.
    pub error: ErrorDetail,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// E.g. `invalid_request_error`, `authentication_error`, `overloaded_error`.
    #[serde(rename = "type")]
    pub kind: String,
    /// In words.
    pub message: String,
}

fn blocks<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<Block>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Content {
        Words(String),
        Blocks(Vec<Block>),
    }
    Ok(match Content::deserialize(from)? {
        Content::Words(text) => vec![Block::Text { text }],
        Content::Blocks(blocks) => blocks,
    })
}

fn text<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Content {
        Words(String),
        Blocks(Vec<Block>),
    }
    Ok(match Content::deserialize(from)? {
        Content::Words(text) => text,
        Content::Blocks(blocks) => blocks
            .into_iter()
            .filter_map(|block| match block {
                Block::Text { text } => Some(text),
                Block::ToolUse { .. } | Block::ToolResult { .. } => None,
            })
            .collect::<Vec<_>>()
            .join("\n"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_of_content_are_read() {
        let short = serde_json::json!({ "role": "user", "content": "hello" });
        let long = serde_json::json!({ "role": "user", "content": [
            { "type": "tool_result", "tool_use_id": "t1", "content": [
                { "type": "text", "text": "one" }, { "type": "text", "text": "two" } ] },
        ]});
        let short: Message = serde_json::from_value(short).unwrap();
        let long: Message = serde_json::from_value(long).unwrap();
        assert_eq!(
            short.content,
            [Block::Text {
                text: "hello".to_owned()
            }]
        );
        assert_eq!(
            long.content,
            [Block::ToolResult {
                tool_use_id: "t1".to_owned(),
                content: "one\ntwo".to_owned(),
                is_error: false,
            }]
        );
    }
}
