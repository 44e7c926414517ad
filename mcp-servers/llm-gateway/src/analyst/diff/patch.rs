//! A unified diff as lines that know whether they were there before and whether they are there after.

/// Whether a line was added, removed or kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It is context.
    Kept,
}

/// One line of a diff.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Added, removed or kept.
    pub(crate) mark: Mark,
    /// Its text, with its indentation.
    pub(crate) text: String,
}

impl Line {
    /// Columns of indentation; a tab counts four.
    pub(crate) fn indent(&self) -> usize {
        self.text
            .chars()
            .take_while(|letter| letter.is_whitespace())
            .map(|letter| if letter == '\t' { 4 } else { 1 })
            .sum()
    }

    /// Whether it only comments, or is empty.
    pub(crate) fn is_comment(&self) -> bool {
        let text = self.text.trim();
        text.is_empty()
            || [
                "//", "/*", "*/", "* ", "<!--", "--", "\"\"\"", "'''", ";;", "%",
            ]
            .iter()
            .any(|start| text.starts_with(start))
            || (text.starts_with('#') && !text.starts_with("#[") && !text.starts_with("#include"))
            || text == "*"
    }
}

/// The diff of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Patch {
    /// Which file.
    pub(crate) path: String,
    /// Its hunks, each with its lines.
    pub(crate) hunks: Vec<Vec<Line>>,
}

impl Patch {
    /// Reads a unified diff; headers of any style are skipped.
    pub(crate) fn parse(path: &str, diff: &str) -> Self {
        let mut hunks: Vec<Vec<Line>> = vec![Vec::new()];
        for line in diff.lines() {
            if line.starts_with("@@") {
                hunks.push(Vec::new());
                // Git puts the enclosing function behind the second marker: useful context.
                continue;
            }
            if [
                "diff --git",
                "index ",
                "--- ",
                "+++ ",
                "\\ No newline",
                "new file",
                "deleted file",
            ]
            .iter()
            .any(|start| line.starts_with(start))
            {
                continue;
            }
            let (mark, text) = match line.as_bytes().first() {
                Some(b'+') => (Mark::Added, &line[1..]),
                Some(b'-') => (Mark::Removed, &line[1..]),
                Some(b' ') => (Mark::Kept, &line[1..]),
                _ => (Mark::Kept, line),
            };
            if let Some(hunk) = hunks.last_mut() {
                hunk.push(Line {
                    mark,
                    text: text.to_owned(),
                });
            }
        }
        hunks.retain(|hunk| !hunk.is_empty());
        Self {
            path: path.to_owned(),
            hunks,
        }
    }

    /// Lines of code with one mark, without comments, trimmed.
    pub(crate) fn code(&self, mark: Mark) -> impl Iterator<Item = &str> {
        self.hunks
            .iter()
            .flatten()
            .filter(move |line| line.mark == mark && !line.is_comment())
            .map(|line| line.text.trim())
    }

    /// Every changed line of code.
    pub(crate) fn changed(&self) -> impl Iterator<Item = &str> {
        self.code(Mark::Added).chain(self.code(Mark::Removed))
    }
}

/// One side of a hunk: the lines as they stand after it, or as they stood before.
pub(crate) fn side(hunk: &[Line], after: bool) -> Vec<&Line> {
    let gone = if after { Mark::Removed } else { Mark::Added };
    hunk.iter().filter(|line| line.mark != gone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_is_read_with_and_without_headers() {
        let full = "--- a/x.rs\n+++ b/x.rs\n@@ -1,2 +1,2 @@ fn x()\n keep\n-old\n+new\n";
        let bare = " keep\n-old\n+new\n";
        for text in [full, bare] {
            let patch = Patch::parse("x.rs", text);
            assert_eq!(patch.code(Mark::Added).collect::<Vec<_>>(), ["new"]);
            assert_eq!(patch.code(Mark::Removed).collect::<Vec<_>>(), ["old"]);
            assert_eq!(side(&patch.hunks[0], true).len(), 2);
        }
    }

    #[test]
    fn comments_are_no_code() {
        let patch = Patch::parse("x.py", "+# why\n+\n+// what\n+go()\n+#[test]\n");
        assert_eq!(
            patch.code(Mark::Added).collect::<Vec<_>>(),
            ["go()", "#[test]"]
        );
    }
}
