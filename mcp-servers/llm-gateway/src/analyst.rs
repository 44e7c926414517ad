//! The analyst: a deterministic investigator that speaks the Messages API. It follows the runbook with
//! the tools that any model has, decides by evidence, and says so where the evidence does not decide.
//!
//! It is a pure function from a conversation to the next turn. What it knows stands in notes that it
//! writes into its own turns, so it goes on after the harness has compacted older results.

mod changes;
mod diff;
mod explain;
mod flags;
mod fold;
mod graph;
mod measure;
mod notes;
mod number;
mod plan;
mod reply;
mod report;
mod shape;
mod shortage;
mod signature;
mod surge;
mod transcript;
mod verdict;
mod walk;
mod words;

use nightshift_protocol::messages::{
    Block, MessagesAnswer, MessagesRequest, Role, StopReason, Usage,
};

use self::{
    notes::Notes,
    plan::{Next, next},
    transcript::Transcript,
};
use crate::tokens;

/// The model name under which the analyst answers.
pub const MODEL: &str = "analyst";

/// The next turn of a conversation.
#[must_use]
pub fn answer(request: &MessagesRequest) -> MessagesAnswer {
    let offered: Vec<&str> = request
        .tools
        .iter()
        .map(|tool| tool.name.as_str())
        .collect();
    let transcript = Transcript::read(&request.messages);
    let mut notes = transcript.notes.clone().unwrap_or_default();
    for exchange in &transcript.exchanges {
        fold::fold(&mut notes, exchange);
    }
    if let Some(question) = transcript.question
        && transcript.concluded
        && notes.accepted.is_some()
    {
        return said(request, reply::reply(&notes, question), StopReason::EndTurn);
    }
    if let Some(words) = &transcript.concluded_without_question {
        return said(request, words.clone(), StopReason::EndTurn);
    }
    match next(&mut notes, &offered) {
        Next::Call(words, calls) => {
            notes.turn += 1;
            let mut content = vec![
                Block::Text { text: words },
                Block::Text {
                    text: notes.write(),
                },
            ];
            content.extend(
                calls
                    .into_iter()
                    .enumerate()
                    .map(|(at, call)| Block::ToolUse {
                        id: format!("toolu_{}_{}", request.messages.len(), at + 1),
                        name: call.tool,
                        input: call.args,
                    }),
            );
            finish(request, content, StopReason::ToolUse)
        }
        Next::End(words) => said(request, words, StopReason::EndTurn),
    }
}

fn said(request: &MessagesRequest, text: String, stop: StopReason) -> MessagesAnswer {
    finish(request, vec![Block::Text { text }], stop)
}

fn finish(request: &MessagesRequest, content: Vec<Block>, stop: StopReason) -> MessagesAnswer {
    let usage = Usage {
        input_tokens: tokens::of(&request.messages) + tokens::of(&request.tools),
        output_tokens: tokens::of(&content),
    };
    MessagesAnswer {
        id: format!("msg_analyst_{}", request.messages.len()),
        kind: "message".to_owned(),
        role: Role::Assistant,
        model: MODEL.to_owned(),
        content,
        stop_reason: Some(stop),
        usage,
    }
}

/// Whether a conversation was led by the analyst so far.
#[must_use]
pub fn led(request: &MessagesRequest) -> bool {
    request.messages.iter().any(|message| {
        message.role == Role::Assistant
            && message.content.iter().any(|block| match block {
                Block::Text { text } => Notes::parse(text).is_some(),
                Block::ToolUse { .. } | Block::ToolResult { .. } => false,
            })
    })
}
