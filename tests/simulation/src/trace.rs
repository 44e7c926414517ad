//! What happened, line by line, in words that are the same whenever the seed is run again.

use std::collections::HashMap;

/// The lines of one seed, and their digest.
#[derive(Debug, Default)]
pub struct Trace {
    keep: bool,
    lines: Vec<String>,
    digest: Fnv,
    names: Names,
}

impl Trace {
    /// A trace whose lines are kept for people, or only digested.
    #[must_use]
    pub fn new(keep: bool) -> Self {
        Self {
            keep,
            ..Self::default()
        }
    }

    /// Notes that something happened.
    pub fn note(&mut self, line: &str) {
        let line = self.names.shorten(line);
        self.digest.add(line.as_bytes());
        if self.keep {
            self.lines.push(line);
        }
    }

    /// The lines, if they are kept.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// 64 bits that differ where any line differs.
    #[must_use]
    pub const fn digest(&self) -> u64 {
        self.digest.0
    }

    /// A text with every identifier replaced by its short name.
    pub fn shorten(&mut self, text: &str) -> String {
        self.names.shorten(text)
    }
}

/// FNV-1a, <http://www.isthe.com/chongo/tech/comp/fnv/>.
#[derive(Debug)]
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().chain(b"\n") {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// Short names in the order of first mention: identifiers are random, their order is not.
#[derive(Debug, Default)]
struct Names {
    known: HashMap<String, String>,
    counts: HashMap<String, usize>,
}

/// Hexadecimal digits of an identifier.
const DIGITS: usize = 32;

impl Names {
    /// Replaces each `kind_` or `kind-` with 32 hexadecimal digits behind it by `kind#number`.
    fn shorten(&mut self, text: &str) -> String {
        let bytes = text.as_bytes();
        let mut short = String::with_capacity(text.len());
        let (mut at, mut from) = (0, 0);
        while at < bytes.len() {
            let run = bytes[at..]
                .iter()
                .take_while(|byte| byte.is_ascii_hexdigit())
                .count();
            let separated = at > 0 && matches!(bytes[at - 1], b'_' | b'-');
            if run == DIGITS && separated {
                let kind_at = text[..at - 1]
                    .rfind(|c: char| !c.is_ascii_lowercase())
                    .map_or(0, |index| index + 1);
                let (kind, digits) = (&text[kind_at..at - 1], &text[at..at + run]);
                short.push_str(&text[from..kind_at]);
                short.push_str(&self.name(kind, digits));
                from = at + run;
            }
            at += run.max(1);
        }
        short.push_str(&text[from..]);
        short
    }

    fn name(&mut self, kind: &str, digits: &str) -> String {
        if let Some(known) = self.known.get(digits) {
            return known.clone();
        }
        // The app of a sandbox is named after it.
        let kind = if kind == "ns" { "sbx" } else { kind };
        let count = self.counts.entry(kind.to_owned()).or_default();
        *count += 1;
        let name = format!("{kind}#{count}");
        self.known.insert(digits.to_owned(), name.clone());
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_has_one_name_wherever_it_stands() {
        let mut trace = Trace::new(true);
        let digits = "0192f0c1000070008000000000000001";
        trace.note(&format!(
            "sbx_{digits} is ns-{digits}, not inv_{}",
            digits.replace('1', "2")
        ));
        assert_eq!(trace.lines(), ["sbx#1 is sbx#1, not inv#1"]);
    }

    #[test]
    fn one_other_letter_is_another_digest() {
        let digest = |text: &str| {
            let mut trace = Trace::new(false);
            trace.note(text);
            trace.digest()
        };
        assert_ne!(digest("a"), digest("b"));
    }
}
