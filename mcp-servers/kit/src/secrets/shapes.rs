//! Secrets that are known by their shape.

use std::{borrow::Cow, sync::LazyLock};

use regex::{Captures, Regex, RegexSet};

use super::{Redactions, note};

/// One sort of secret. The part of the match that is called `secret`, or all of it, is taken out.
#[derive(Debug)]
pub(super) struct Detector {
    name: &'static str,
    pattern: Regex,
}

/// Names and patterns, in the order in which they are applied. Each is linear in the text: the engine knows
/// neither backtracking nor lookaround.
const PATTERNS: &[(&str, &str)] = &[
    (
        "aws-access-key",
        r"(?-u:\b)(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}(?-u:\b)",
    ),
    (
        "github-token",
        r"(?-u:\b)(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})",
    ),
    (
        "gitlab-token",
        r"(?-u:\b)gl(?:pat|oas|dt|rt|rtr|cbt|ptt|ft|imt|agent|soat|ffct)-[A-Za-z0-9_.-]{20,}",
    ),
    (
        "slack-token",
        r"(?-u:\b)(?:xox[abeoprs](?:\.xox[a-z])?-[A-Za-z0-9-]{10,}|xapp-[0-9]-[A-Za-z0-9-]{10,})",
    ),
    (
        "slack-webhook",
        r"https://hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/_-]{20,}",
    ),
    ("anthropic-key", r"(?-u:\b)sk-ant-[A-Za-z0-9_-]{20,}"),
    (
        "openai-key",
        r"(?-u:\b)sk-(?:(?:proj|svcacct|admin)-[A-Za-z0-9_-]{20,}|[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}|[A-Za-z0-9]{48}(?-u:\b))",
    ),
    (
        "stripe-key",
        r"(?-u:\b)(?:[rs]k_(?:live|test)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9+/=]{24,})",
    ),
    (
        "google-key",
        r"(?-u:\b)(?:AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,}|GOCSPX-[A-Za-z0-9_-]{20,})",
    ),
    (
        "package-token",
        r"(?-u:\b)(?:npm_[A-Za-z0-9]{36}|pypi-AgE[A-Za-z0-9_-]{50,}|dckr_pat_[A-Za-z0-9_-]{20,}|cio[A-Za-z0-9]{32}(?-u:\b))",
    ),
    (
        "sendgrid-key",
        r"(?-u:\b)SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",
    ),
    ("vault-token", r"(?-u:\b)hv[sbr]\.[A-Za-z0-9_-]{20,}"),
    ("fly-token", r"(?-u:\b)fm[12][ar]?_[A-Za-z0-9+/=_-]{20,}"),
    (
        "jwt",
        r"(?-u:\b)eyJ[A-Za-z0-9_-]{10,}(?:\.[A-Za-z0-9_-]*){2,4}",
    ),
    (
        "url-password",
        r#"(?-u:\b)[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\s:@/?#'"<>\[\]]*:(?P<secret>[^\s@/'"<>\[\]]+)@"#,
    ),
    (
        "authorization",
        r#"(?i)(?-u:\b)(?:authorization|x-api-key|x-auth-token|private-token|dd-api-key)\\?["']?\s{0,4}[:=]\s{0,4}\\?["']?(?:(?:basic|bearer|token|digest|dpop|bot|key|splunk|apikey)\s{1,4})?(?P<secret>[A-Za-z0-9+/=._~:-]{8,})"#,
    ),
    (
        "bearer-token",
        r"(?i)(?-u:\b)(?:bearer|dpop)\s{1,4}(?P<secret>[A-Za-z0-9._~+/=-]{20,})",
    ),
];

static DETECTORS: LazyLock<Vec<Detector>> = LazyLock::new(|| {
    PATTERNS
        .iter()
        .map(|(name, pattern)| Detector {
            name,
            pattern: compiled(pattern),
        })
        .collect()
});

/// All patterns at once, so that a text that holds nothing is read once.
static ANY: LazyLock<RegexSet> = LazyLock::new(|| {
    #[expect(
        clippy::expect_used,
        reason = "the patterns are constants, and a test compiles them"
    )]
    RegexSet::new(PATTERNS.iter().map(|(_, pattern)| pattern)).expect("the patterns compile")
});

/// A constant pattern, compiled.
#[expect(
    clippy::expect_used,
    reason = "the patterns are constants, and a test compiles them"
)]
pub(super) fn compiled(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern compiles")
}

/// The sorts of which the text may hold one.
pub(super) fn suspected(text: &str) -> impl Iterator<Item = &'static Detector> + use<> {
    // Every pattern needs this much text.
    let matches = if text.len() < 8 {
        None
    } else {
        Some(ANY.matches(text))
    };
    let hits: Vec<usize> = matches.iter().flatten().collect();
    hits.into_iter().filter_map(|hit| DETECTORS.get(hit))
}

impl Detector {
    /// The text without secrets of this sort.
    pub(super) fn replace<'a>(&self, text: &'a str, found: &mut Redactions) -> Cow<'a, str> {
        self.pattern.replace_all(text, |hit: &Captures<'_>| {
            let Some(whole) = hit.get(0) else {
                return String::new();
            };
            let secret = hit.name("secret").unwrap_or(whole);
            if !self.is_secret(secret.as_str()) {
                return whole.as_str().to_owned();
            }
            found.count(self.name);
            let (start, end) = (secret.start() - whole.start(), secret.end() - whole.start());
            let around = whole.as_str();
            format!(
                "{}{}{}",
                around.get(..start).unwrap_or_default(),
                note(self.name),
                around.get(end..).unwrap_or_default()
            )
        })
    }

    /// Where only the surroundings tell, the text itself must look the part.
    fn is_secret(&self, text: &str) -> bool {
        match self.name {
            "authorization" | "bearer-token" => {
                text.bytes().any(|byte| byte.is_ascii_digit()) && text != "Authorization"
            }
            "url-password" => !text.starts_with(['*', '$', '{', '%']),
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_compiles_and_every_name_is_one_sort() {
        let mut names: Vec<&str> = DETECTORS.iter().map(|detector| detector.name).collect();
        assert_eq!(ANY.len(), names.len());
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), PATTERNS.len());
    }
}
