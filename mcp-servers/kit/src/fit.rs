//! Makes answers small enough to be read: what does not fit is cut, and the cut is said.

use nightshift_controls::{Control, holds};
use serde::Serialize;

/// The most that an answer may take as JSON, in bytes.
pub const ANSWER_BYTES: usize = 64 * 1024;

/// How many bytes the value takes as JSON; `None` where it has no JSON form.
#[must_use]
pub fn json_bytes(value: &(impl Serialize + ?Sized)) -> Option<usize> {
    let mut count = Count(0);
    serde_json::to_writer(&mut count, value).ok()?;
    Some(count.0)
}

/// Cuts the end of the list that `list` finds in the answer until the answer takes at most
/// [`ANSWER_BYTES`]. Says whether something was cut.
///
/// Order the list by worth first: what comes last goes first.
#[must_use]
pub fn list<T: Serialize, I: Serialize>(
    answer: T,
    list: impl Fn(&mut T) -> &mut Vec<I>,
) -> (T, bool) {
    let limit = if holds(Control::OutputSize) {
        ANSWER_BYTES
    } else {
        usize::MAX
    };
    list_within(limit, answer, list)
}

/// As [`list`], with a limit of one's own in bytes.
#[must_use]
pub fn list_within<T: Serialize, I: Serialize>(
    limit: usize,
    mut answer: T,
    list: impl Fn(&mut T) -> &mut Vec<I>,
) -> (T, bool) {
    let mut excess = json_bytes(&answer).unwrap_or(0).saturating_sub(limit);
    let mut cut = false;
    while excess > 0 {
        let Some(item) = list(&mut answer).pop() else {
            break;
        };
        cut = true;
        // One more for the comma before it.
        excess = excess.saturating_sub(json_bytes(&item).unwrap_or(0) + 1);
    }
    (answer, cut)
}

/// Asks `shrink` to make the answer smaller until it takes at most [`ANSWER_BYTES`] or `shrink`
/// says that it cannot. Says whether something was cut.
#[must_use]
pub fn shrinking<T: Serialize>(mut answer: T, mut shrink: impl FnMut(&mut T) -> bool) -> (T, bool) {
    let mut cut = false;
    while json_bytes(&answer).is_some_and(|bytes| bytes > ANSWER_BYTES) && shrink(&mut answer) {
        cut = true;
    }
    (answer, cut)
}

/// At most `bytes` bytes of the text, cut between characters. Says whether something was cut.
#[must_use]
pub fn text(mut text: String, bytes: usize) -> (String, bool) {
    if text.len() <= bytes {
        return (text, false);
    }
    text.truncate(text.floor_char_boundary(bytes));
    (text, true)
}

struct Count(usize);

impl std::io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Answer {
        lines: Vec<String>,
        note: &'static str,
    }

    #[test]
    fn a_list_is_cut_from_its_end_and_only_as_far_as_needed() {
        let lines: Vec<String> = (0..5_000)
            .map(|line| format!("line {line:04} of the log"))
            .collect();
        let (answer, cut) = list(
            Answer {
                lines: lines.clone(),
                note: "n",
            },
            |a| &mut a.lines,
        );

        assert!(cut);
        let bytes = json_bytes(&answer).unwrap();
        assert!(bytes <= ANSWER_BYTES, "{bytes}");
        assert!(
            bytes > ANSWER_BYTES - 40,
            "{bytes}: more was cut than needed"
        );
        assert_eq!(answer.lines[..], lines[..answer.lines.len()]);
        assert_eq!(answer.note, "n");
    }

    #[test]
    fn what_fits_is_not_touched() {
        let (answer, cut) = list(
            Answer {
                lines: vec!["x".to_owned()],
                note: "",
            },
            |a| &mut a.lines,
        );
        assert!(!cut);
        assert_eq!(answer.lines.len(), 1);
        assert_eq!(text("é".to_owned(), 2), ("é".to_owned(), false));
    }

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(text("aé".to_owned(), 2), ("a".to_owned(), true));
    }

    #[test]
    fn shrinking_stops_when_nothing_is_left_to_cut() {
        let (answer, cut) = shrinking("x".repeat(ANSWER_BYTES), |text| {
            let half = text.len() / 2;
            text.truncate(half);
            half > 0
        });
        assert!(cut);
        assert_eq!(answer.len(), ANSWER_BYTES / 2);
        let (_, cut) = shrinking("x".repeat(ANSWER_BYTES), |_| false);
        assert!(!cut);
    }
}
