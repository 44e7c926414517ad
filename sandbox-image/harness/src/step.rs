//! What comes next. It follows from the session alone, so a start after a crash takes the very step
//! that the crash prevented.

use nightshift_protocol::messages::{Block, Message, Role};
use serde_json::Value;

use crate::session::Session;

/// How often the model is reminded of the report.
const REMINDERS: u32 = 2;
/// The same call this many times in a row is not made any more.
const REPEATS: usize = 3;

/// One call that the model wants.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Its identity in the conversation.
    pub id: String,
    /// The tool as the model names it.
    pub name: String,
    /// The arguments.
    pub input: Value,
    /// Said instead of calling, where the call must not be made.
    pub refusal: Option<String>,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Ask the model.
    Ask,
    /// Make these calls.
    Call(Vec<Call>),
    /// Remind the model of the report.
    Remind,
    /// Stop asking and say so in the model's place.
    GiveUp(&'static str),
    /// The investigation, or the open question, is through.
    Finished,
}

/// What comes next in a session that may ask the model `most_requests` times.
#[must_use]
pub fn next(session: &Session, most_requests: u32) -> Next {
    if session.gave_up {
        return Next::Finished;
    }
    let Some(last) = session.messages.last() else {
        return Next::GiveUp("the session is empty");
    };
    if last.role == Role::User {
        return if session.requests < most_requests {
            Next::Ask
        } else {
            Next::GiveUp("the limit of model requests is reached")
        };
    }
    let calls = calls(&session.messages);
    if !calls.is_empty() {
        return Next::Call(calls);
    }
    if session.report_submitted {
        Next::Finished
    } else if session.reminders < REMINDERS {
        Next::Remind
    } else {
        Next::GiveUp("the agent ended without a report")
    }
}

/// The calls of the last message.
fn calls(messages: &[Message]) -> Vec<Call> {
    let all: Vec<(&String, &String, &Value)> = messages
        .iter()
        .flat_map(|message| &message.content)
        .filter_map(|block| match block {
            Block::ToolUse { id, name, input } => Some((id, name, input)),
            Block::Text { .. } | Block::ToolResult { .. } => None,
        })
        .collect();
    let wanted = messages.last().map_or(0, |last| {
        let is_call = |block: &&Block| matches!(block, Block::ToolUse { .. });
        last.content.iter().filter(is_call).count()
    });
    let first = all.len() - wanted;
    (first..all.len())
        .map(|at| {
            let (id, name, input) = all[at];
            let alike = |call: &&(&String, &String, &Value)| call.1 == name && call.2 == input;
            let repeats = all[..=at].iter().rev().take_while(alike).count();
            Call {
                id: id.clone(),
                name: name.clone(),
                input: input.clone(),
                refusal: (repeats >= REPEATS).then(|| {
                    format!(
                        "not called: this is the same call for the {repeats}. time in a row and its \
                         answer is above. Use it, or ask something else."
                    )
                }),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use nightshift_domain::InvestigationId;
    use serde_json::json;

    use super::*;
    use crate::session::VERSION;

    fn session(messages: &Value) -> Session {
        serde_json::from_value(json!({
            "version": VERSION,
            "investigation": InvestigationId::generate(),
            "messages": messages,
            "evidence": {},
            "requests": 1,
            "reminders": 0,
            "report_submitted": false,
            "gave_up": false,
            "question": null,
            "answered": [],
        }))
        .unwrap()
    }

    fn call(id: &str, input: &Value) -> Value {
        json!({ "type": "tool_use", "id": id, "name": "telemetry_query_logs", "input": input })
    }

    #[test]
    fn what_comes_next_follows_from_who_spoke_last() {
        let mut told = session(&json!([{ "role": "user", "content": "go" }]));
        assert_eq!(next(&told, 2), Next::Ask);
        assert!(matches!(next(&told, 1), Next::GiveUp(_)));
        told.gave_up = true;
        assert_eq!(next(&told, 2), Next::Finished);

        let mut ended = session(&json!([{ "role": "assistant", "content": "done" }]));
        assert_eq!(next(&ended, 2), Next::Remind);
        ended.reminders = 2;
        assert!(matches!(next(&ended, 2), Next::GiveUp(_)));
        ended.report_submitted = true;
        assert_eq!(next(&ended, 2), Next::Finished);
    }

    #[test]
    fn open_calls_are_made_even_when_no_request_is_left() {
        let content = [call("a", &json!({})), call("b", &json!({ "x": 1 }))];
        let open = session(&json!([{ "role": "assistant", "content": content }]));
        let Next::Call(calls) = next(&open, 0) else {
            panic!("expected calls");
        };
        let ids: Vec<_> = calls.iter().map(|call| call.id.as_str()).collect();
        assert_eq!(ids, ["a", "b"]);
    }

    #[test]
    fn only_the_third_equal_call_in_a_row_is_refused() {
        let same = json!({ "q": 1 });
        let refused = |inputs: &[&Value]| {
            let content: Vec<_> = inputs
                .iter()
                .enumerate()
                .map(|(n, input)| call(&n.to_string(), input))
                .collect();
            let open = session(&json!([{ "role": "assistant", "content": content }]));
            let Next::Call(calls) = next(&open, 9) else {
                panic!("expected calls");
            };
            calls
                .iter()
                .map(|call| call.refusal.is_some())
                .collect::<Vec<_>>()
        };
        let other = json!({ "q": 2 });
        assert_eq!(
            refused(&[&same, &same, &same, &same]),
            [false, false, true, true]
        );
        assert_eq!(refused(&[&same, &same, &other, &same]), [false; 4]);
    }
}
