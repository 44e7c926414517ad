//! Reads a conversation: the latest notes, what was asked since and answered, and a person's question.

use nightshift_protocol::messages::{Block, Message, Role};
use serde_json::Value;

use super::notes::Notes;

/// A call and its answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Exchange<'a> {
    /// The tool's name.
    pub(crate) tool: &'a str,
    /// Its arguments.
    pub(crate) args: &'a Value,
    /// The answer as text; `None` where there is none (yet).
    pub(crate) result: Option<&'a str>,
    /// Whether the tool failed.
    pub(crate) failed: bool,
}

/// A conversation as far as the analyst needs it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Transcript<'a> {
    /// The latest notes.
    pub(crate) notes: Option<Notes>,
    /// Calls of the turn with the notes and of every later turn; of all turns where there are no notes.
    pub(crate) exchanges: Vec<Exchange<'a>>,
    /// What a person said last, where the last turn is a person's.
    pub(crate) question: Option<&'a str>,
    /// Whether a turn of ours that asked for nothing ended the work before.
    pub(crate) concluded: bool,
    /// What we said last, where nobody said anything after it.
    pub(crate) concluded_without_question: Option<String>,
}

impl<'a> Transcript<'a> {
    /// Reads a conversation, oldest message first.
    pub(crate) fn read(messages: &'a [Message]) -> Self {
        let mut transcript = Self::default();
        let from = messages
            .iter()
            .rposition(|message| latest_notes(message).is_some())
            .unwrap_or(0);
        transcript.notes = messages.get(from).and_then(latest_notes);
        for (at, message) in messages.iter().enumerate().skip(from) {
            if message.role != Role::Assistant {
                continue;
            }
            for block in &message.content {
                if let Block::ToolUse { id, name, input } = block {
                    let result = result_of(&messages[at + 1..], id);
                    transcript.exchanges.push(Exchange {
                        tool: name,
                        args: input,
                        result: result.map(|(text, _)| text),
                        failed: result.is_some_and(|(_, failed)| failed),
                    });
                }
            }
        }
        transcript.concluded = messages.iter().any(|message| {
            message.role == Role::Assistant
                && !message
                    .content
                    .iter()
                    .any(|block| matches!(block, Block::ToolUse { .. }))
        });
        match messages.last() {
            Some(last) if last.role == Role::User => transcript.question = last_words(last),
            Some(last) if transcript.concluded => {
                transcript.concluded_without_question =
                    Some(last_words(last).unwrap_or_default().to_owned());
            }
            Some(_) | None => {}
        }
        transcript
    }
}

fn latest_notes(message: &Message) -> Option<Notes> {
    if message.role != Role::Assistant {
        return None;
    }
    message.content.iter().rev().find_map(|block| match block {
        Block::Text { text } => Notes::parse(text),
        Block::ToolUse { .. } | Block::ToolResult { .. } => None,
    })
}

fn result_of<'a>(messages: &'a [Message], call: &str) -> Option<(&'a str, bool)> {
    messages
        .iter()
        .flat_map(|message| &message.content)
        .find_map(|block| match block {
            Block::ToolResult {
                tool_use_id,
                content,
                is_error,
            } if tool_use_id == call => Some((content.as_str(), *is_error)),
            Block::ToolResult { .. } | Block::Text { .. } | Block::ToolUse { .. } => None,
        })
}

fn last_words(message: &Message) -> Option<&str> {
    message.content.iter().rev().find_map(|block| match block {
        Block::Text { text } => Some(text.as_str()),
        Block::ToolUse { .. } | Block::ToolResult { .. } => None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(role: Role, content: Vec<Block>) -> Message {
        Message { role, content }
    }

    fn text(text: &str) -> Block {
        Block::Text {
            text: text.to_owned(),
        }
    }

    #[test]
    fn only_calls_since_the_latest_notes_are_read() {
        let call = |id: &str| Block::ToolUse {
            id: id.to_owned(),
            name: "x_look".to_owned(),
            input: json!({}),
        };
        let result = |id: &str| Block::ToolResult {
            tool_use_id: id.to_owned(),
            content: format!("answer {id}"),
            is_error: false,
        };
        let notes = Notes {
            turn: 2,
            ..Notes::default()
        }
        .write();
        let messages = [
            message(Role::User, vec![text("Investigate.")]),
            message(Role::Assistant, vec![call("a")]),
            message(Role::User, vec![result("a")]),
            message(Role::Assistant, vec![text(&notes), call("b"), call("c")]),
            message(Role::User, vec![result("b")]),
        ];

        let transcript = Transcript::read(&messages);

        assert_eq!(transcript.notes.map(|notes| notes.turn), Some(2));
        let results: Vec<_> = transcript.exchanges.iter().map(|it| it.result).collect();
        assert_eq!(results, [Some("answer b"), None]);
        assert!(!transcript.concluded);
    }

    #[test]
    fn a_person_who_speaks_after_the_end_asks_a_question() {
        let messages = [
            message(Role::User, vec![text("Investigate.")]),
            message(Role::Assistant, vec![text("Done.")]),
            message(Role::User, vec![text("A person asks: why?")]),
        ];
        let transcript = Transcript::read(&messages);
        assert!(transcript.concluded);
        assert_eq!(transcript.question, Some("A person asks: why?"));
    }
}
