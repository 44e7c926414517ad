//! A whole answer as the server-sent events in which the provider's API streams one.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::{Stream, stream};
use nightshift_protocol::messages::{Block, MessagesAnswer};
use serde_json::{Value, json};

/// The events of an answer, in order.
pub fn events(answer: &MessagesAnswer) -> impl Stream<Item = Result<Bytes, Infallible>> + use<> {
    let mut events = vec![event(
        "message_start",
        &json!({ "message": {
            "id": answer.id,
            "type": answer.kind,
            "role": answer.role,
            "model": answer.model,
            "content": [],
            "stop_reason": null,
            "stop_sequence": null,
            "usage": { "input_tokens": answer.usage.input_tokens, "output_tokens": 0 },
        }}),
    )];
    for (index, block) in answer.content.iter().enumerate() {
        let Some((start, delta)) = parts(block) else {
            continue;
        };
        events.push(event(
            "content_block_start",
            &json!({ "index": index, "content_block": start }),
        ));
        events.push(event(
            "content_block_delta",
            &json!({ "index": index, "delta": delta }),
        ));
        events.push(event("content_block_stop", &json!({ "index": index })));
    }
    events.push(event(
        "message_delta",
        &json!({
            "delta": { "stop_reason": answer.stop_reason, "stop_sequence": null },
            "usage": { "output_tokens": answer.usage.output_tokens },
        }),
    ));
    events.push(event("message_stop", &json!({})));
    stream::iter(events.into_iter().map(Ok))
}

/// One event; its data repeats its type.
pub(crate) fn event(kind: &str, data: &Value) -> Bytes {
    let mut data = data.clone();
    data["type"] = json!(kind);
    Bytes::from(format!("event: {kind}\ndata: {data}\n\n"))
}

fn parts(block: &Block) -> Option<(Value, Value)> {
    match block {
        Block::Text { text } => Some((
            json!({ "type": "text", "text": "" }),
            json!({ "type": "text_delta", "text": text }),
        )),
        Block::ToolUse { id, name, input } => Some((
            json!({ "type": "tool_use", "id": id, "name": name, "input": {} }),
            json!({ "type": "input_json_delta", "partial_json": input.to_string() }),
        )),
        // A model never says this.
        Block::ToolResult { .. } => None,
    }
}
