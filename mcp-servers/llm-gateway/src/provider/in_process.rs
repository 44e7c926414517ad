//! The analyst as a provider: it answers here, at once, and is never down.

use axum::{
    Json,
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, header};
use nightshift_mcp_kit::Pending;
use nightshift_protocol::messages::{Message, MessagesRequest};
use serde_json::{Value, json};

use super::{Ask, Provider, ProviderError, sse};
use crate::{analyst, gateway::policy::Admitted};

/// The analyst.
#[derive(Debug, Clone, Copy)]
pub struct Analyst;

impl Provider for Analyst {
    fn name(&self) -> &'static str {
        "analyst"
    }

    fn is_down(&self) -> bool {
        false
    }

    fn answer(&self, ask: Ask) -> Pending<'_, Result<Response, ProviderError>> {
        Box::pin(async move {
            let Ask {
                admitted,
                mut settle,
                ..
            } = ask;
            let stream = admitted.stream;
            // Some milliseconds of pure computation over a transcript: off the threads that serve.
            let answer = tokio::task::spawn_blocking(move || analyst::answer(&readable(&admitted)))
                .await
                .map_err(|error| ProviderError::Unreachable {
                    cause: error.to_string(),
                })?;
            settle.used(Some(answer.model.clone()), answer.usage);
            if !stream {
                return Ok(Json(answer).into_response());
            }
            let mut response = Response::new(Body::from_stream(sse::events(&answer)));
            let headers = response.headers_mut();
            headers.insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static("text/event-stream"),
            );
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            Ok(response)
        })
    }
}

/// The request as far as the analyst reads it: pieces that it does not know, such as images and
/// another model's thoughts, are left out.
pub(crate) fn readable(admitted: &Admitted) -> MessagesRequest {
    let list = |field: &str| {
        admitted
            .body
            .get(field)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let messages = list("messages").into_iter().filter_map(message).collect();
    let tools = list("tools")
        .into_iter()
        .filter_map(|tool| serde_json::from_value(tool).ok())
        .collect();
    MessagesRequest {
        model: admitted.model.clone(),
        max_tokens: u32::try_from(admitted.max_tokens).unwrap_or(u32::MAX),
        system: None,
        messages,
        tools,
        stream: admitted.stream,
    }
}

fn message(mut message: Value) -> Option<Message> {
    if let Some(Value::Array(blocks)) = message.get_mut("content") {
        for block in &mut *blocks {
            if let Some(Value::Array(inner)) = block.get_mut("content") {
                inner.retain(|block| block["type"] == json!("text"));
            }
            if block["type"] == json!("tool_result") && block.get("content").is_none() {
                block["content"] = json!("");
            }
        }
        blocks.retain(|block| {
            ["text", "tool_use", "tool_result"]
                .iter()
                .any(|kind| block["type"] == json!(kind))
        });
    }
    serde_json::from_value(message).ok()
}
