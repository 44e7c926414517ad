//! Makes room in a transcript: old tool results go, what the model said and which evidence there is
//! stay.

use std::collections::BTreeMap;

use nightshift_domain::EvidenceId;
use nightshift_protocol::messages::{Block, Message};

/// How every stub begins.
const CUT: &str = "[cut to save room";

/// Characters in a transcript.
#[must_use]
pub fn size(messages: &[Message]) -> usize {
    messages
        .iter()
        .flat_map(|message| &message.content)
        .map(block_size)
        .sum()
}

fn block_size(block: &Block) -> usize {
    match block {
        Block::Text { text } => text.chars().count(),
        Block::ToolUse { name, input, .. } => name.len() + input.to_string().chars().count(),
        Block::ToolResult { content, .. } => content.chars().count(),
    }
}

/// Shortens a transcript of more than `limit` characters to about three fifths of it, so that this
/// is not needed again at every step. Oldest results first; the ones that the model has not seen
/// yet are only shortened, and only when nothing else is left. Gives the number of results cut.
pub fn compact(
    messages: &mut [Message],
    evidence: &BTreeMap<String, EvidenceId>,
    limit: usize,
) -> usize {
    let mut size = size(messages);
    if size <= limit {
        return 0;
    }
    let target = limit / 5 * 3;
    let mut cut = 0;
    let Some((last, older)) = messages.split_last_mut() else {
        return 0;
    };
    for (id, content) in older.iter_mut().flat_map(results) {
        if size <= target {
            return cut;
        }
        let stub = stub(evidence.get(id));
        let (before, after) = (content.chars().count(), stub.chars().count());
        if after < before {
            *content = stub;
            size -= before - after;
            cut += 1;
        }
    }
    let unseen = results(last).count();
    for (id, content) in results(last) {
        let before = content.chars().count();
        let share = target / unseen.max(1);
        if size <= limit || before <= share {
            continue;
        }
        let end = content
            .char_indices()
            .nth(share)
            .map_or(content.len(), |(at, _)| at);
        content.truncate(end);
        content.push('\n');
        content.push_str(&stub(evidence.get(id)));
        size = size.saturating_sub(before.saturating_sub(content.chars().count()));
        cut += 1;
    }
    cut
}

fn results(message: &mut Message) -> impl Iterator<Item = (&String, &mut String)> {
    message.content.iter_mut().filter_map(|block| match block {
        Block::ToolResult {
            tool_use_id,
            content,
            ..
        } => Some((&*tool_use_id, content)),
        Block::Text { .. } | Block::ToolUse { .. } => None,
    })
}

fn stub(evidence: Option<&EvidenceId>) -> String {
    match evidence {
        Some(evidence) => {
            format!("{CUT}: evidence {evidence}; read it again with casebook_read_evidence]")
        }
        None => format!("{CUT}; call the tool again if you need the answer]"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn transcript(results: &[(&str, usize)]) -> Vec<Message> {
        let mut messages = vec![json!({ "role": "user", "content": "go" })];
        for (id, chars) in results {
            messages.push(json!({ "role": "assistant", "content": [
                { "type": "text", "text": "I look." },
                { "type": "tool_use", "id": id, "name": "t", "input": {} },
            ]}));
            messages.push(json!({ "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": id, "content": "é".repeat(*chars) },
            ]}));
        }
        messages
            .into_iter()
            .map(|message| serde_json::from_value(message).unwrap())
            .collect()
    }

    fn contents(messages: &mut [Message]) -> Vec<String> {
        messages
            .iter_mut()
            .flat_map(results)
            .map(|(_, content)| content.clone())
            .collect()
    }

    #[test]
    fn nothing_is_cut_while_there_is_room() {
        let mut messages = transcript(&[("a", 400), ("b", 400)]);
        let before = messages.clone();
        assert_eq!(compact(&mut messages, &BTreeMap::new(), 2_000), 0);
        assert_eq!(messages, before);
    }

    #[test]
    fn the_oldest_results_go_first_and_keep_their_evidence() {
        let mut messages = transcript(&[("a", 900), ("b", 900), ("c", 900)]);
        let evidence = EvidenceId::generate();
        let known = BTreeMap::from([("a".to_owned(), evidence)]);
        assert_eq!(compact(&mut messages, &known, 2_500), 2);
        let left = contents(&mut messages);
        assert_eq!(
            left[0],
            format!(
                "[cut to save room: evidence {evidence}; read it again with casebook_read_evidence]"
            )
        );
        assert!(left[1].starts_with("[cut to save room; call"));
        assert_eq!(
            left[2].chars().count(),
            900,
            "the model has not seen this one yet"
        );
        assert!(size(&messages) <= 2_500);
        // Cutting again cuts nothing: a stub is not worth a stub.
        let once = messages.clone();
        compact(&mut messages, &known, 2_500);
        assert_eq!(messages, once);
    }

    #[test]
    fn a_single_answer_that_is_too_long_is_shortened_on_a_character() {
        let mut messages = transcript(&[("a", 10_000)]);
        assert_eq!(compact(&mut messages, &BTreeMap::new(), 1_000), 1);
        assert!(size(&messages) <= 1_000, "{}", size(&messages));
        assert!(contents(&mut messages)[0].starts_with('é'));
    }
}
