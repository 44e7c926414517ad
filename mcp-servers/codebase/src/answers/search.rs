//! `search_code`: lines that match a pattern.

use nightshift_protocol::tools::codebase::{CodeMatch, CodeMatches, SearchCodeArgs};
use regex::bytes::{Regex, RegexBuilder};

use crate::{
    backend::History,
    question::{Answered, Unanswerable},
};

/// The longest pattern, in bytes.
const PATTERN_BYTES: usize = 500;

/// What a compiled pattern may take, in bytes. Matching itself takes time in proportion to the text.
const COMPILED_BYTES: usize = 1024 * 1024;

/// Characters of a line that are shown.
const LINE_CHARS: usize = 300;

/// Answers `search_code`.
pub fn answer(
    history: &History,
    args: &SearchCodeArgs,
) -> Result<Answered<CodeMatches>, Unanswerable> {
    let pattern = compiled(&args.pattern)?;
    let shown = args.limit.unwrap_or(40).clamp(1, 200);
    let mut count = 0;
    let mut matches = Vec::new();
    let mut truncated = false;
    let wanted = |path: &str| args.path.as_deref().is_none_or(|part| path.contains(part));
    for (path, text) in history.files.iter().filter(|(path, _)| wanted(path)) {
        for (line, text) in (1_u32..).zip(text.lines()) {
            if !pattern.is_match(text.as_bytes()) {
                continue;
            }
            count += 1;
            if matches.len() < shown {
                let short: String = text.chars().take(LINE_CHARS).collect();
                truncated |= short.len() < text.len();
                matches.push(CodeMatch {
                    path: path.clone(),
                    line,
                    text: short,
                });
            } else {
                truncated = true;
            }
        }
    }
    Ok(Answered {
        answer: CodeMatches {
            matched: count,
            matches,
        },
        truncated,
    })
}

fn compiled(pattern: &str) -> Result<Regex, Unanswerable> {
    if pattern.is_empty() || pattern.len() > PATTERN_BYTES {
        let reason = format!("it must have 1 to {PATTERN_BYTES} bytes");
        return Err(Unanswerable::BadPattern(reason));
    }
    // Code is matched as bytes, so that no tables of Unicode are needed.
    RegexBuilder::new(pattern)
        .unicode(false)
        .size_limit(COMPILED_BYTES)
        .dfa_size_limit(COMPILED_BYTES)
        .nest_limit(50)
        .build()
        .map_err(|error| Unanswerable::BadPattern(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(
        pattern: &str,
        path: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Answered<CodeMatches>, String> {
        let files = [
            (
                "src/cart.rs",
                "fn total() {\n    for item in items {\n        db.query(item);\n",
            ),
            ("src/price.rs", "// Größe\nfn price() {}\n"),
        ];
        let history = History {
            files: files
                .map(|(path, text)| (path.to_owned(), text.to_owned()))
                .into(),
            ..History::default()
        };
        let path = path.map(str::to_owned);
        let args = SearchCodeArgs {
            pattern: pattern.to_owned(),
            path,
            limit,
        };
        answer(&history, &args).map_err(|error| error.to_string())
    }

    #[test]
    fn matching_lines_come_with_their_place() {
        let found = search(r"(?i)DB\.query", None, None).unwrap();
        let place = &found.answer.matches[0];
        assert_eq!((place.path.as_str(), place.line), ("src/cart.rs", 3));
        assert_eq!(place.text, "        db.query(item);");
        assert!(!found.truncated);
        assert_eq!(search("Größe", None, None).unwrap().answer.matched, 1);
    }

    #[test]
    fn all_matches_are_counted_when_only_some_are_shown() {
        let found = search("fn ", None, Some(1)).unwrap();
        assert_eq!((found.answer.matched, found.answer.matches.len()), (2, 1));
        assert!(found.truncated);
        assert_eq!(
            search("fn ", Some("price"), None).unwrap().answer.matches[0].path,
            "src/price.rs"
        );
    }

    #[test]
    fn a_pattern_that_cannot_be_used_is_refused_with_the_reason() {
        for (pattern, part) in [
            ("(", "unclosed group"),
            ("", "1 to 500"),
            (&"a".repeat(501), "1 to 500"),
            ("(a{300}){500}", "size limit"),
        ] {
            let error = search(pattern, None, None).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_pattern_made_to_explode_answers_at_once() {
        let text = "a".repeat(50_000);
        let files = [("a.txt".to_owned(), text)].into();
        let history = History {
            files,
            ..History::default()
        };
        let args = SearchCodeArgs {
            pattern: "(a+)+$".into(),
            path: None,
            limit: None,
        };
        let began = std::time::Instant::now();
        assert_eq!(answer(&history, &args).unwrap().answer.matched, 1);
        assert!(began.elapsed().as_secs() < 2);
    }
}
