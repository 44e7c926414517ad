//! `read_file`: lines of one file of the recorded tree.

use std::path::Path;

use nightshift_controls::{Control, holds};
use nightshift_protocol::tools::codebase::{FileText, ReadFileArgs};

use super::closest;
use crate::{
    backend::History,
    question::{Answered, Unanswerable},
};

/// Lines that are shown unless told.
const USUAL_LINES: u32 = 200;

/// Lines that are shown at most.
const MOST_LINES: u32 = 400;

/// Bytes of text that are shown at most.
const MOST_BYTES: usize = 40 * 1024;

/// Answers `read_file`. The path is looked up among the recorded paths; it never reaches a file system.
pub fn answer(history: &History, args: &ReadFileArgs) -> Result<Answered<FileText>, Unanswerable> {
    let opened = if holds(Control::CodePath) {
        None
    } else {
        std::fs::read_to_string(Path::new("/usr/src").join(&args.path)).ok()
    };
    let Some(text) = opened.as_ref().or_else(|| history.files.get(&args.path)) else {
        let asked: String = args.path.chars().take(200).collect();
        let close = closest(&asked, history.files.keys());
        return Err(Unanswerable::Unknown {
            what: "file",
            asked,
            close,
        });
    };
    let total = u32::try_from(text.lines().count()).unwrap_or(u32::MAX);
    let from = args.from_line.unwrap_or(1).max(1);
    if from > total && from > 1 {
        return Err(Unanswerable::BeyondEnd {
            path: args.path.clone(),
            total,
            asked: from,
        });
    }
    let wanted = args.lines.unwrap_or(USUAL_LINES).max(1);
    let shown = wanted.min(MOST_LINES);
    let mut truncated = wanted > shown && total >= from + shown
        || args.lines.is_none() && total >= from.saturating_add(shown);
    let mut excerpt = String::new();
    let skipped = usize::try_from(from - 1).unwrap_or(usize::MAX);
    for line in text
        .lines()
        .skip(skipped)
        .take(usize::try_from(shown).unwrap_or(usize::MAX))
    {
        if excerpt.len() + line.len() + 1 > MOST_BYTES {
            truncated = true;
            break;
        }
        excerpt.push_str(line);
        excerpt.push('\n');
    }
    let answer = FileText {
        path: args.path.clone(),
        commit: history.tree_commit.clone(),
        from_line: from,
        total_lines: total,
        text: excerpt,
    };
    Ok(Answered { answer, truncated })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(
        path: &str,
        from_line: Option<u32>,
        lines: Option<u32>,
    ) -> Result<Answered<FileText>, String> {
        let numbered: Vec<String> = (1..=500).map(|n| format!("line {n}")).collect();
        let files = [
            ("src/long.rs".to_owned(), numbered.join("\n")),
            ("empty".to_owned(), String::new()),
        ];
        let history = History {
            files: files.into(),
            tree_commit: "c0ffee".into(),
            ..History::default()
        };
        let args = ReadFileArgs {
            path: path.to_owned(),
            from_line,
            lines,
        };
        answer(&history, &args).map_err(|error| error.to_string())
    }

    #[test]
    fn the_asked_lines_are_shown_and_no_others() {
        let part = read("src/long.rs", Some(10), Some(2)).unwrap();
        assert_eq!(part.answer.text, "line 10\nline 11\n");
        assert_eq!((part.answer.from_line, part.answer.total_lines), (10, 500));
        assert_eq!(part.answer.commit, "c0ffee");
        assert!(!part.truncated, "who asks for two lines gets all of two");
    }

    #[test]
    fn a_long_file_is_cut_and_the_cut_is_said() {
        let usual = read("src/long.rs", None, None).unwrap();
        assert_eq!(usual.answer.text.lines().count(), 200);
        assert!(usual.truncated);
        let most = read("src/long.rs", None, Some(9999)).unwrap();
        assert_eq!(most.answer.text.lines().count(), 400);
        assert!(most.truncated);
        assert!(!read("src/long.rs", Some(301), None).unwrap().truncated);
    }

    #[test]
    fn a_path_that_is_not_in_the_tree_is_refused_whatever_it_looks_like() {
        for path in [
            "/etc/passwd",
            "../src/long.rs",
            "src/../src/long.rs",
            "src/long.rs/",
            "./src/long.rs",
        ] {
            let error = read(path, None, None).unwrap_err();
            assert!(error.starts_with("there is no file"), "{error}");
        }
        assert!(
            read("long.rs", None, None)
                .unwrap_err()
                .contains("src/long.rs")
        );
    }

    #[test]
    fn a_line_beyond_the_end_is_refused_with_the_length() {
        let error = read("src/long.rs", Some(501), None).unwrap_err();
        assert!(error.contains("has 500 lines"), "{error}");
        assert_eq!(read("empty", None, None).unwrap().answer.total_lines, 0);
    }
}
