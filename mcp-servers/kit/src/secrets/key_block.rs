//! Private keys in PEM: in one text, or spread over the lines of a log.

use std::{borrow::Cow, sync::LazyLock};

use regex::Regex;

use super::{Redactions, note, shapes::compiled};

/// How these are counted.
const NAME: &str = "private-key";
/// The texts after a beginning that may belong to it. A key of 8,192 bits has 100 lines.
const LINES: u32 = 256;
/// A part of a key is at least this long; what stands between the parts, such as times and levels, is not.
const PART: usize = 16;

static BLOCK: LazyLock<Regex> = LazyLock::new(|| {
    compiled(
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?s:.)*?(?P<end>-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\z)",
    )
});

/// Whether a key that began in an earlier text goes on.
#[derive(Debug, Default)]
pub(super) struct KeyBlock {
    left: u32,
}

impl KeyBlock {
    /// The text without private keys, and without what may be the rest of one.
    pub(super) fn take<'a>(&mut self, text: &'a str, found: &mut Redactions) -> Cow<'a, str> {
        if self.left > 0 {
            self.left -= 1;
            if text.contains("-----END ") {
                self.left = 0;
            }
            if is_part(text) {
                return Cow::Owned(note(NAME));
            }
        }
        if !text.contains("PRIVATE KEY") {
            return Cow::Borrowed(text);
        }
        let mut open = false;
        let replaced = BLOCK.replace_all(text, |hit: &regex::Captures<'_>| {
            found.count(NAME);
            open = hit.name("end").is_none_or(|end| end.as_str().is_empty());
            note(NAME)
        });
        if open {
            self.left = LINES;
        }
        replaced
    }
}

/// Whether the text is what the inside of a key looks like: base64 and nothing else.
fn is_part(text: &str) -> bool {
    let line = text.trim();
    line.len() >= PART
        && line
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+/=\n\r".contains(&byte))
}
