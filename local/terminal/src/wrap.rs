//! Lines that fit, and words that do no harm.

/// Text of strangers as a terminal may show it: one line, no control characters. An escape sequence
/// in a log line must not move the cursor or hide what follows.
#[must_use]
pub fn clean(text: &str) -> String {
    let visible = text.chars().map(|c| match c {
        c if c.is_whitespace() => ' ',
        c if c.is_control() => '\u{fffd}',
        // Marks that turn the direction of what follows.
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        c => c,
    });
    let visible: String = visible.collect();
    visible.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Breaks `text` into lines of at most `width` characters, each led by `indent` spaces. A word that is
/// longer than a line is cut.
#[must_use]
pub fn wrap(text: &str, indent: usize, width: usize) -> Vec<String> {
    let room = width.saturating_sub(indent).max(8);
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    for word in clean(text).split(' ') {
        for piece in pieces(word, room) {
            let length = piece.chars().count();
            if used > 0 && used + 1 + length > room {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            line.push_str(&piece);
            used += length;
        }
    }
    if used > 0 {
        lines.push(line);
    }
    let lead = " ".repeat(indent);
    lines.iter().map(|line| format!("{lead}{line}")).collect()
}

fn pieces(word: &str, room: usize) -> Vec<String> {
    let letters: Vec<char> = word.chars().collect();
    letters
        .chunks(room)
        .map(|piece| piece.iter().collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_longer_than_the_width_and_no_letter_is_lost() {
        let text = format!("a {} b {}", "long".repeat(40), "über ".repeat(30));
        let lines = wrap(&text, 4, 40);
        assert!(lines.iter().all(|line| line.chars().count() <= 40));
        let letters = |text: &str| text.split_whitespace().collect::<String>();
        assert_eq!(letters(&lines.join(" ")), letters(&text));
    }

    #[test]
    fn an_escape_sequence_in_a_log_line_is_defused() {
        let shown = clean("ok\x1b[2J\x1b]0;title\x07\nnext\u{202e}line");
        assert!(!shown.contains(char::is_control));
        assert!(!shown.contains('\u{202e}'));
    }
}
