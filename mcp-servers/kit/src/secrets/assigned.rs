//! Secrets that are known by the name they are given: `password=…`, `"api_key": "…"`.

use std::{borrow::Cow, sync::LazyLock};

use regex::{Captures, Regex};

use super::{Redactions, note, shapes::compiled};

/// How these are counted.
pub(super) const NAME: &str = "named-secret";

/// What a name ends in when it names a secret. A name that only contains one (`token_count`) does not.
const WORDS: &str = "password|passwd|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|\
    private[_-]?key|account[_-]?key|signing[_-]?key|encryption[_-]?key|auth[_-]?key|shared[_-]?key";

/// Names of what comes with every request and opens nothing.
const HARMLESS: &[&str] = &[
    "page_token",
    "pagetoken",
    "continuation_token",
    "next_token",
    "nexttoken",
];

/// Values that say something of the secret and are not it.
const SAYINGS: &[&str] = &[
    "absent",
    "changed",
    "default",
    "disabled",
    "empty",
    "enabled",
    "expired",
    "false",
    "hidden",
    "incorrect",
    "invalid",
    "masked",
    "missing",
    "mismatch",
    "nil",
    "none",
    "null",
    "optional",
    "redacted",
    "refused",
    "rejected",
    "removed",
    "required",
    "revoked",
    "rotated",
    "set",
    "string",
    "str",
    "true",
    "undefined",
    "unset",
    "unknown",
    "value",
    "wrong",
    "bytes",
    "token",
    "secret",
    "password",
    "text",
];

static ASSIGNED: LazyLock<Regex> = LazyLock::new(|| {
    compiled(&format!(
        r#"(?i)(?-u:\b)(?P<name>[a-z0-9_.-]{{0,64}}?(?P<word>{WORDS}))\\?["']?(?P<sign>\s{{0,4}}(?:=>|:=|=|:)\s{{0,4}})(?:\\?"(?P<double>[^"\\\n]+)|\\?'(?P<single>[^'\\\n]+)|(?P<bare>[^\s"'\\,;&|(){{}}\[\]<>]+))"#
    ))
});

/// A name that ends in one of the words.
static WORD_AT_END: LazyLock<Regex> =
    LazyLock::new(|| compiled(&format!("(?i)(?P<word>{WORDS})$")));

/// A cheap look before the pattern: most texts name no secret.
static NAMED: LazyLock<Regex> = LazyLock::new(|| compiled(&format!("(?i)(?:{WORDS})")));

/// The text without the values of names that name a secret.
pub(super) fn replace<'a>(text: &'a str, found: &mut Redactions) -> Cow<'a, str> {
    if !NAMED.is_match(text) {
        return Cow::Borrowed(text);
    }
    ASSIGNED.replace_all(text, |hit: &Captures<'_>| {
        let Some(whole) = hit.get(0) else {
            return String::new();
        };
        let part = |name: &str| hit.name(name).map(|part| part.as_str()).unwrap_or_default();
        let quoted = hit.name("double").or_else(|| hit.name("single"));
        let (value, style) = match (quoted, hit.name("bare")) {
            (Some(quoted), _) => (quoted, Style::Quoted),
            (None, Some(bare)) => (bare, Style::of_bare(part("sign"))),
            (None, None) => return whole.as_str().to_owned(),
        };
        // In code the name of a function or a list: what stands here is not a value.
        let goes_on = text
            .get(whole.end()..)
            .is_some_and(|rest| rest.starts_with(['(', '[']));
        if style != Style::Quoted && goes_on {
            return whole.as_str().to_owned();
        }
        if !is_secret(part("name"), part("word"), value.as_str(), style) {
            return whole.as_str().to_owned();
        }
        found.count(NAME);
        let before = whole.as_str().get(..value.start() - whole.start());
        format!("{}{}", before.unwrap_or_default(), note(NAME))
    })
}

/// Whether a field of this name holds a secret, by its text.
pub(super) fn names_a_secret(name: &str, text: &str) -> bool {
    WORD_AT_END
        .captures(name)
        .and_then(|hit| hit.name("word"))
        .is_some_and(|word| is_secret(name, word.as_str(), text, Style::Quoted))
}

/// How a value was given to its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// `name = "value"`.
    Quoted,
    /// `name=value`.
    Tight,
    /// `name: value` or `name = value`: in code that is an expression, in prose a remark.
    Loose,
}

impl Style {
    fn of_bare(sign: &str) -> Self {
        if sign == "=" {
            Self::Tight
        } else {
            Self::Loose
        }
    }
}

fn is_secret(name: &str, word: &str, value: &str, style: Style) -> bool {
    let lower = value.to_ascii_lowercase();
    let said = lower.trim_matches(|character: char| !character.is_ascii_alphanumeric());
    let placeholder = value.starts_with(['*', '$', '%', '[', '{', '<', '#'])
        || said.is_empty()
        || said.bytes().all(|byte| byte == b'x')
        || lower.contains("redacted");
    if placeholder
        || SAYINGS.contains(&said)
        || HARMLESS.contains(&name.to_ascii_lowercase().as_str())
    {
        return false;
    }
    let digit = value.bytes().any(|byte| byte.is_ascii_digit());
    let letter = value.bytes().any(|byte| byte.is_ascii_alphabetic());
    let of_person =
        ["password", "passwd", "passphrase", "pwd"].contains(&word.to_ascii_lowercase().as_str());
    match (of_person, style) {
        (true, Style::Quoted | Style::Tight) => value.len() >= 4,
        (true, Style::Loose) => value.len() >= 6 && digit && !is_expression(value),
        // Prose is no key.
        (false, _) if value.contains(char::is_whitespace) => false,
        (false, Style::Quoted | Style::Tight) => {
            value.len() >= 8 && letter && digit && !is_expression(value)
                || value.len() >= 20 && letter && !value.contains(['.', '_', '-', ':'])
        }
        (false, Style::Loose) => value.len() >= 12 && letter && digit && !is_expression(value),
    }
}

/// Whether the text reads like code: a path, a field, a call.
fn is_expression(value: &str) -> bool {
    value.contains("::") || value.contains("->") || value.contains('(')
}
