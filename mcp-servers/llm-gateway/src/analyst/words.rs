//! Splits names and sentences into plain words, so that names from code, metrics and logs compare.

use std::collections::BTreeSet;

/// Words that stand in every program and every log, and so link nothing to anything.
const COMMON: &[&str] = &[
    "and", "app", "are", "async", "await", "but", "bool", "code", "const", "could", "data",
    "debug", "def", "else", "err", "error", "errors", "fail", "failed", "failure", "false", "fmt",
    "for", "from", "func", "function", "get", "has", "have", "http", "impl", "info", "int", "into",
    "json", "let", "level", "line", "log", "main", "message", "mod", "mut", "new", "none", "not",
    "null", "number", "pub", "public", "req", "request", "requests", "res", "resp", "response",
    "result", "return", "self", "server", "service", "set", "some", "src", "status", "str",
    "string", "struct", "that", "the", "this", "time", "true", "type", "use", "value", "var",
    "void", "warn", "was", "were", "while", "will", "with",
];

/// The words of a name or a sentence, lower-case, in order: `HTTPPoolSize` is `http pool size`.
pub(crate) fn words(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut word = String::new();
    let mut before: Option<char> = None;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        if !letter.is_alphanumeric() {
            flush(&mut word, &mut found);
            before = None;
            continue;
        }
        let hump = letter.is_uppercase()
            && before.is_some_and(|last| {
                last.is_lowercase()
                    || (last.is_uppercase() && letters.peek().is_some_and(|c| c.is_lowercase()))
            });
        let digits = before.is_some_and(|last| last.is_numeric() != letter.is_numeric());
        if hump || digits {
            flush(&mut word, &mut found);
        }
        word.extend(letter.to_lowercase());
        before = Some(letter);
    }
    flush(&mut word, &mut found);
    found
}

fn flush(word: &mut String, found: &mut Vec<String>) {
    if !word.is_empty() {
        found.push(std::mem::take(word));
    }
}

/// The words that can link two texts: three letters or more, not common, a plural `s` removed.
pub(crate) fn telling(text: &str) -> BTreeSet<String> {
    words(text)
        .into_iter()
        .filter(|word| word.len() >= 3 && word.chars().any(char::is_alphabetic))
        .filter(|word| !COMMON.contains(&word.as_str()))
        .map(|word| singular(&word))
        .collect()
}

fn singular(word: &str) -> String {
    match word.strip_suffix('s') {
        Some(stem) if stem.len() >= 3 && !stem.ends_with(['s', 'u', 'i']) => stem.to_owned(),
        _ => word.to_owned(),
    }
}

/// Whether two names mean the same thing: equal once case, separators and a `service` are left out.
pub(crate) fn same_name(one: &str, other: &str) -> bool {
    let bare = |name: &str| {
        let whole: String = words(name).concat();
        let cut = whole
            .strip_suffix("service")
            .or_else(|| whole.strip_suffix("svc"))
            .unwrap_or(&whole);
        if cut.is_empty() {
            whole
        } else {
            cut.to_owned()
        }
    };
    bare(one) == bare(other)
}

/// At most `limit` characters of `text`, on one line.
pub(crate) fn short(text: &str, limit: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= limit {
        return line;
    }
    let mut cut: String = line.chars().take(limit.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_style_split_into_the_same_words() {
        for name in [
            "maxPoolSize",
            "max_pool_size",
            "MAX-POOL.size",
            "MaxPoolSize",
        ] {
            assert_eq!(words(name), ["max", "pool", "size"], "{name}");
        }
        assert_eq!(words("HTTPClient"), ["http", "client"]);
        assert_eq!(words("p95"), ["p", "95"]);
    }

    #[test]
    fn telling_words_leave_out_what_every_log_says() {
        let found = telling("failed to read the ledgers: error from server");
        assert!(found.contains("ledger"));
        assert!(!found.contains("error") && !found.contains("server"));
    }

    #[test]
    fn a_suffix_does_not_make_another_service() {
        assert!(same_name("LedgerService", "ledger"));
        assert!(same_name("ledger-svc", "ledger_service"));
        assert!(!same_name("ledger", "larder"));
    }
}
