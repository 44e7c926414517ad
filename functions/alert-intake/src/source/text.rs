//! Takes text and JSON of a stranger into forms that are safe to store and to print on one line.

use serde_json::{Map, Value, json};

/// How much JSON a signal may carry along, in bytes of its text.
pub(super) const MAX_DETAILS_BYTES: usize = 16 * 1024;

/// `text` on one line of at most `max_chars`, without control characters or invisible ones that
/// change how the rest is shown.
pub(super) fn one_line(text: &str, max_chars: usize) -> String {
    let visible: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .filter(|&c| !misleads(c))
        .collect();
    let words = visible.split_whitespace().collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(max_chars) {
        None => words,
        Some(_) => words.chars().take(max_chars - 1).chain(['…']).collect(),
    }
}

/// The text at one of `pointers`, on one line; `None` where none holds any.
pub(super) fn line_at(body: &Value, pointers: &[&str], max_chars: usize) -> Option<String> {
    pointers.iter().find_map(|pointer| {
        let line = match body.pointer(pointer)? {
            Value::String(text) => one_line(text, max_chars),
            Value::Number(number) => number.to_string(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
        };
        (!line.is_empty()).then_some(line)
    })
}

/// A link at one of `pointers`, if it is one that a browser may be given.
pub(super) fn link_at(body: &Value, pointers: &[&str]) -> Option<String> {
    let link = line_at(body, pointers, 2_000)?;
    (link.starts_with("https://") || link.starts_with("http://")).then_some(link)
}

/// Those of `fields` that fit, in their order; says `"cut": true` where one did not.
pub(super) fn bounded(fields: Map<String, Value>) -> Value {
    let mut kept = Map::new();
    let mut room = MAX_DETAILS_BYTES;
    let mut cut = false;
    for (name, value) in fields {
        if value.is_null() {
            continue;
        }
        let value = storable(value);
        let size = name.len() + value.to_string().len() + 4;
        if size > room {
            cut = true;
            continue;
        }
        room -= size;
        kept.insert(name.replace('\0', "\u{fffd}"), value);
    }
    if cut {
        kept.insert("cut".to_owned(), json!(true));
    }
    Value::Object(kept)
}

/// The same JSON without the one character that PostgreSQL cannot store.
fn storable(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace('\0', "\u{fffd}")),
        Value::Array(items) => Value::Array(items.into_iter().map(storable).collect()),
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(name, value)| (name.replace('\0', "\u{fffd}"), storable(value)))
                .collect(),
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

/// Zero-width, bidirectional and tag characters: they show nothing and change what is shown.
const fn misleads(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_no_escapes_no_breaks_and_no_hidden_text() {
        let hostile = "disk\r\n full \u{1b}[31m\u{202e}now\u{0}\u{200b}!\u{e0041}";
        assert_eq!(one_line(hostile, 80), "disk full [31mnow !");
    }

    #[test]
    fn a_long_line_is_cut_at_its_limit_and_says_so() {
        assert_eq!(one_line("äöüß", 4), "äöüß");
        assert_eq!(one_line("äöüßx", 4), "äöü…");
    }

    #[test]
    fn only_links_that_a_browser_may_follow_are_kept() {
        let body = json!({"good": "https://example.com/1", "bad": "javascript:alert(1)"});
        assert_eq!(
            link_at(&body, &["/good"]).as_deref(),
            Some("https://example.com/1")
        );
        assert_eq!(link_at(&body, &["/bad"]), None);
    }

    #[test]
    fn details_stay_below_their_limit_and_can_be_stored() {
        let Value::Object(fields) =
            json!({"a": "x\u{0}y", "b": "z".repeat(20_000), "c": 7, "n": null})
        else {
            unreachable!()
        };
        assert_eq!(
            bounded(fields),
            json!({"a": "x\u{fffd}y", "c": 7, "cut": true})
        );
    }
}
