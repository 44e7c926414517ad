//! Takes out of texts what only terminals and renderers act on.
//!
//! Log lines, commit messages and alerts are written by others. Escape sequences, control
//! characters and characters that reorder or hide text can show a person something other than
//! what the agent read, so no answer carries them.
//!
//! Controls: `output-control` (control characters and escape sequences), `output-bidi` (characters that
//! reorder), `output-hidden` (zero width, tags, and other characters that nobody sees).

use std::borrow::Cow;

use nightshift_controls::{Control, holds};
use serde_json::Value;

const ESCAPE: char = '\u{1b}';

/// The text without escape sequences, control characters (but for line feed and tab) and
/// invisible or reordering characters.
#[must_use]
pub fn text(text: &str) -> Cow<'_, str> {
    if text.chars().all(|character| !is_unwelcome(character)) {
        return Cow::Borrowed(text);
    }
    let mut kept = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        if character == ESCAPE && holds(Control::OutputControl) {
            skip_sequence(&mut rest);
        } else if !is_unwelcome(character) {
            kept.push(character);
        }
    }
    Cow::Owned(kept)
}

/// The value with every string in it, keys included, cleaned.
#[must_use]
pub fn value(value: Value) -> Value {
    match value {
        Value::String(string) => match text(&string) {
            Cow::Borrowed(_) => Value::String(string),
            Cow::Owned(cleaned) => Value::String(cleaned),
        },
        Value::Array(items) => Value::Array(items.into_iter().map(self::value).collect()),
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(key, field)| (text(&key).into_owned(), self::value(field)))
                .collect(),
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

/// Skips what follows an escape character: `[` with parameters up to a final letter, a string that only the
/// terminal reads (`]`, `P`, `X`, `^`, `_`) up to its terminator, or one character.
fn skip_sequence(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match rest.peek() {
        Some('[') => {
            rest.next();
            while let Some(character) = rest.peek().copied() {
                if !(' '..='~').contains(&character) {
                    return;
                }
                rest.next();
                if ('@'..='~').contains(&character) {
                    return;
                }
            }
        }
        Some(']' | 'P' | 'X' | '^' | '_') => {
            while let Some(character) = rest.peek().copied() {
                if character == '\n' || character == ESCAPE {
                    return;
                }
                rest.next();
                if character == '\u{7}' || character == '\u{9c}' {
                    return;
                }
            }
        }
        Some(' '..='~') => {
            rest.next();
        }
        Some(_) | None => {}
    }
}

fn is_unwelcome(character: char) -> bool {
    match character {
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' if !holds(Control::OutputControl) => false,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            holds(Control::OutputBidi)
        }
        _ => is_never_welcome(character) && (character <= '\u{9f}' || holds(Control::OutputHidden)),
    }
}

const fn is_never_welcome(character: char) -> bool {
    match character {
        '\n' | '\t' => false,
        // C0 and C1 controls and DEL
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        // soft hyphen, Arabic letter mark, Mongolian vowel separator
        | '\u{ad}' | '\u{61c}' | '\u{180e}'
        // joiners and fillers that have no width: grapheme joiner, Hangul, Khmer, musical
        | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{3164}' | '\u{ffa0}'
        | '\u{1d173}'..='\u{1d17a}'
        // variation selectors, which can spell bytes; the one that makes an emoji stays
        | '\u{180b}'..='\u{180d}' | '\u{fe00}'..='\u{fe0e}' | '\u{e0100}'..='\u{e01ef}'
        // zero width and direction marks, embeddings and overrides, invisible operators, isolates
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        // byte order mark, interlinear annotation, tags
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ordinary_text_in_any_script_is_untouched() {
        let plain = "checkout: 3 % slower\n\tпроверка 支払い é ✓";
        assert!(matches!(text(plain), Cow::Borrowed(same) if same == plain));
    }

    #[test]
    fn escape_sequences_leave_nothing_behind() {
        assert_eq!(text("a\u{1b}[31;1mred\u{1b}[0m b"), "ared b");
        assert_eq!(
            text("\u{1b}]0;title\u{7}shell\u{1b}]8;;http://x\u{1b}\\link"),
            "shelllink"
        );
        assert_eq!(text("cut\u{1b}["), "cut");
        assert_eq!(text("\u{1b}\u{1b}[2Jx"), "x");
        assert_eq!(text("a\u{1b}Pq#0;payload\u{1b}\\b\u{1b}_x\u{7}c"), "abc");
    }

    /// `output-control`, `output-bidi`, `output-hidden`: one by one, for all there are.
    #[test]
    fn no_character_that_acts_or_hides_passes_and_cleaning_twice_changes_nothing() {
        for character in '\0'..=char::MAX {
            let dirty = format!("a{character}b\u{1b}[{character}mc");
            let once = text(&dirty);
            assert!(
                !once
                    .chars()
                    .any(|kept| kept.is_control() && kept != '\n' && kept != '\t'),
                "{dirty:?} left {once:?}"
            );
            assert_eq!(text(&once), once, "{dirty:?}");
        }
        for hidden in [
            "\u{200b}",
            "\u{2066}",
            "\u{202e}",
            "\u{e0041}",
            "\u{e0101}",
            "\u{3164}",
            "\u{feff}",
        ] {
            assert_eq!(text(hidden), "", "{hidden:?}");
        }
        assert_eq!(text("\u{2764}\u{fe0f}"), "\u{2764}\u{fe0f}");
    }

    #[test]
    fn hidden_and_reordering_characters_are_taken_out() {
        assert_eq!(
            text("pay\u{202e}tnem\u{202c}\u{200b}s\u{0}\r\u{9b}"),
            "paytnems"
        );
        assert_eq!(text("\u{e0069}\u{e0067}n\u{feff}ote"), "note");
    }

    #[test]
    fn every_string_of_a_value_is_cleaned_and_numbers_stay() {
        let dirty = json!({ "k\u{7}": ["\u{1b}[1mx", 1.5, { "y": "\u{200e}z" }], "n": null });
        assert_eq!(
            value(dirty),
            json!({ "k": ["x", 1.5, { "y": "z" }], "n": null })
        );
    }
}
