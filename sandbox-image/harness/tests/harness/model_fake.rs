//! A model that plays a script, and refuses a conversation that the real API would refuse.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    body::Bytes,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use nightshift_protocol::messages::{Block, Message, MessagesRequest, Role};
use serde_json::{Value, json};

/// One scripted answer, chosen by how often the model spoke already: asked the same again, it
/// says the same again.
#[derive(Debug, Clone)]
pub(crate) struct Turn {
    pub(crate) content: Value,
    pub(crate) stop_reason: &'static str,
}

/// A refusal: status, headers, message.
pub(crate) type Refusal = (u16, Vec<(&'static str, &'static str)>, &'static str);

#[derive(Debug, Default)]
pub(crate) struct ModelFake {
    pub(crate) script: Mutex<Vec<Turn>>,
    /// Refusals by the number of the request, counted from 0.
    pub(crate) refusals: Mutex<HashMap<usize, Refusal>>,
    pub(crate) asked: AtomicUsize,
    pub(crate) requests: Mutex<Vec<MessagesRequest>>,
    pub(crate) violations: Mutex<Vec<String>>,
}

pub(crate) fn says(text: &str) -> Turn {
    Turn {
        content: json!([{ "type": "text", "text": text }]),
        stop_reason: "end_turn",
    }
}

pub(crate) fn calls(calls: &[(&str, &str, Value)]) -> Turn {
    let mut content = vec![json!({ "type": "text", "text": format!("Calling {}", calls[0].0) })];
    content.extend(calls.iter().map(
        |(id, name, input)| json!({ "type": "tool_use", "id": id, "name": name, "input": input }),
    ));
    Turn {
        content: Value::Array(content),
        stop_reason: "tool_use",
    }
}

impl ModelFake {
    pub(crate) fn answer(&self, headers: &HeaderMap, body: &Bytes) -> Response {
        let refuse = |status: u16, message: &str| {
            let body = json!({ "type": "error", "error": { "type": "x", "message": message } });
            (StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response()
        };
        let number = self.asked.fetch_add(1, Ordering::SeqCst);
        if let Some((status, headers, message)) = self.refusals.lock().unwrap().remove(&number) {
            let mut response = refuse(status, message);
            for (name, value) in headers {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            return response;
        }
        let request: MessagesRequest = match serde_json::from_slice(body) {
            Ok(request) => request,
            Err(error) => return refuse(400, &error.to_string()),
        };
        let mut violation = violation(&request).err();
        if headers.contains_key("authorization") || headers.contains_key("x-api-key") {
            violation = Some("the harness sent a credential".to_owned());
        }
        if let Some(violation) = violation {
            self.violations.lock().unwrap().push(violation.clone());
            return refuse(400, &violation);
        }
        let said = request
            .messages
            .iter()
            .filter(|m| m.role == Role::Assistant)
            .count();
        let model = request.model.clone();
        self.requests.lock().unwrap().push(request);
        let Some(turn) = self.script.lock().unwrap().get(said).cloned() else {
            return refuse(400, &format!("the script has no turn {said}"));
        };
        axum::Json(json!({
            "id": format!("msg_{said}"), "type": "message", "role": "assistant", "model": model,
            "content": turn.content, "stop_reason": turn.stop_reason, "stop_sequence": null,
            "usage": { "input_tokens": 1, "output_tokens": 1 },
        }))
        .into_response()
    }
}

/// The rules of the Messages API that a loop can break.
fn violation(request: &MessagesRequest) -> Result<(), String> {
    let mut names = HashSet::new();
    for tool in &request.tools {
        let proper = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if !tool.name.chars().all(proper) || tool.name.len() > 64 || !names.insert(&tool.name) {
            return Err(format!("bad or repeated tool name {}", tool.name));
        }
        if tool.input_schema["type"] != "object" {
            return Err(format!("the schema of {} is no object", tool.name));
        }
    }
    if request.max_tokens == 0 || request.system.as_deref().unwrap_or_default().is_empty() {
        return Err("max_tokens or system is missing".to_owned());
    }
    let mut open: Vec<&str> = Vec::new();
    let mut seen = HashSet::new();
    let mut expected = Role::User;
    for message in &request.messages {
        if message.role != expected {
            return Err("the roles do not alternate".to_owned());
        }
        check_message(message, &mut open, &mut seen)?;
        expected = if expected == Role::User {
            Role::Assistant
        } else {
            Role::User
        };
    }
    if expected == Role::User || !open.is_empty() {
        return Err(
            "the last turn is not the user's, or leaves a call without a result".to_owned(),
        );
    }
    Ok(())
}

fn check_message<'a>(
    message: &'a Message,
    open: &mut Vec<&'a str>,
    seen: &mut HashSet<&'a str>,
) -> Result<(), String> {
    if message.content.is_empty() {
        return Err("a turn has no content".to_owned());
    }
    let mut answered = Vec::new();
    let mut text_seen = false;
    for block in &message.content {
        match (message.role, block) {
            (_, Block::Text { text }) if text.trim().is_empty() => {
                return Err("a text is empty".to_owned());
            }
            (_, Block::Text { .. }) => text_seen = true,
            (Role::Assistant, Block::ToolUse { id, .. }) => {
                if !seen.insert(id) {
                    return Err(format!("call {id} appears twice"));
                }
                open.push(id);
            }
            (Role::User, Block::ToolResult { tool_use_id, .. }) => {
                if text_seen {
                    return Err("a result comes after a text".to_owned());
                }
                answered.push(tool_use_id.as_str());
            }
            (Role::User, Block::ToolUse { .. }) | (Role::Assistant, Block::ToolResult { .. }) => {
                return Err("a block of the wrong role".to_owned());
            }
        }
    }
    if message.role == Role::User {
        if answered != *open {
            return Err(format!("calls {open:?} got results for {answered:?}"));
        }
        open.clear();
    }
    Ok(())
}
