//! Recognises changes that can do nothing to a running system: words, tests, reports, renames.

use std::collections::BTreeMap;

use super::patch::{Mark, Patch};

/// Why this file's change can do nothing, where that is so.
pub(crate) fn reason(patch: &Patch) -> Option<&'static str> {
    if let Some(reason) = by_path(&patch.path) {
        return Some(reason);
    }
    let added: Vec<&str> = patch.code(Mark::Added).collect();
    let removed: Vec<&str> = patch.code(Mark::Removed).collect();
    if added.is_empty() && removed.is_empty() {
        return Some("comments");
    }
    if squeezed(&added) == squeezed(&removed) {
        return Some("layout");
    }
    if added.iter().chain(&removed).all(|line| is_import(line)) && !is_manifest(&patch.path) {
        return Some("imports");
    }
    if reports_only(&added) && reports_only(&removed) {
        return Some("logs and metrics");
    }
    if !added.is_empty() && wording(&added) == wording(&removed) {
        return Some("wording");
    }
    if renames(&added, &removed) {
        return Some("names");
    }
    None
}

fn is_manifest(path: &str) -> bool {
    let path = path.to_lowercase();
    [
        "requirements",
        "package.json",
        "go.mod",
        "cargo.toml",
        "gemfile",
        "pom.xml",
        "pyproject",
    ]
    .iter()
    .any(|name| path.contains(name))
}

fn by_path(path: &str) -> Option<&'static str> {
    let low = path.to_lowercase();
    let parts: Vec<&str> = low.split('/').collect();
    let file = *parts.last()?;
    let folder = |wanted: &[&str]| {
        parts[..parts.len() - 1]
            .iter()
            .any(|part| wanted.contains(part))
    };
    let manifest = is_manifest(path) || file.starts_with("constraints");
    if folder(&["docs", "doc", "runbooks"])
        || [".md", ".rst", ".adoc"]
            .iter()
            .any(|end| file.ends_with(end))
        || (ends_in(file, "txt") && !manifest)
        || [
            "codeowners",
            "license",
            "notice",
            "authors",
            ".gitignore",
            ".editorconfig",
        ]
        .contains(&file)
    {
        return Some("documentation");
    }
    if folder(&[
        "test",
        "tests",
        "__tests__",
        "spec",
        "testdata",
        "fixtures",
        "e2e",
    ]) || file.starts_with("test_")
        || ["_test.", ".test.", ".spec.", "_spec.", "_tests."]
            .iter()
            .any(|mid| file.contains(mid))
    {
        return Some("tests");
    }
    if folder(&[".github", ".gitlab", ".circleci", "ci", ".ci"]) || file == "makefile" {
        return Some("build scripts");
    }
    None
}

fn ends_in(file: &str, ending: &str) -> bool {
    file.rsplit_once('.')
        .is_some_and(|(_, end)| end.eq_ignore_ascii_case(ending))
}

fn squeezed(lines: &[&str]) -> String {
    lines
        .iter()
        .flat_map(|line| line.chars())
        .filter(|letter| !letter.is_whitespace() && *letter != ',')
        .collect()
}

fn is_import(line: &str) -> bool {
    [
        "use ", "pub use ", "import ", "from ", "#include", "require(", "using ", "package ",
        "mod ",
    ]
    .iter()
    .any(|start| line.starts_with(start))
}

/// Whether a line only reports what happens: a log line, a metric, a span.
pub(crate) fn is_report(line: &str) -> bool {
    let low = line.to_lowercase();
    [
        "log.",
        "logger.",
        "logging.",
        "slog.",
        "log::",
        "tracing::",
        "info!",
        "debug!",
        "warn!(",
        "error!(",
        "trace!(",
        "println",
        "eprintln",
        "console.",
        "print(",
        "span.",
        "metrics.",
        "metrics::",
        "counter",
        "histogram",
        "gauge",
        "prometheus",
        "statsd",
        "telemetry",
        "journal.",
        ".observe(",
        ".inc()",
        ".record(",
        "labels(",
        "set_attribute",
        "buckets",
    ]
    .iter()
    .any(|start| low.contains(start))
}

fn reports_only(lines: &[&str]) -> bool {
    // A statement over several lines leaves lines of brackets, names and texts; these belong to it.
    let mut open = false;
    lines.iter().all(|line| {
        let reports = is_report(line);
        let bracket = !line.chars().any(char::is_alphanumeric);
        let goes_on = open && !line.contains("return") && !line.contains(" = ");
        let fine = reports || bracket || goes_on || is_import(line);
        if reports {
            open = !line.ends_with(';') && !balanced(line);
        } else if line.contains(')') && bracket {
            open = false;
        }
        fine
    })
}

fn balanced(line: &str) -> bool {
    line.matches('(').count() <= line.matches(')').count()
}

/// The lines without what stands in quotes. Texts that a machine reads are left in.
fn wording(lines: &[&str]) -> Vec<String> {
    lines
        .iter()
        .map(|line| {
            line.split('"')
                .enumerate()
                .map(|(at, part)| {
                    if at % 2 == 1 && is_prose(part) {
                        ""
                    } else {
                        part
                    }
                })
                .collect::<Vec<_>>()
                .join("\"")
        })
        .collect()
}

fn is_prose(text: &str) -> bool {
    let low = text.to_lowercase();
    let statement = [
        "select ", "insert ", "update ", "delete ", " from ", "where ",
    ]
    .iter()
    .any(|word| low.contains(word));
    let address = text.contains("://") || text.starts_with('/') || text.contains('=');
    text.contains(' ') && !statement && !address
}

/// Whether the added lines are the removed ones with names consistently replaced.
fn renames(added: &[&str], removed: &[&str]) -> bool {
    if added.len() != removed.len() || added.is_empty() {
        return false;
    }
    let mut forth: BTreeMap<String, String> = BTreeMap::new();
    let mut back: BTreeMap<String, String> = BTreeMap::new();
    for (new, old) in added.iter().zip(removed) {
        let (new, old) = (tokens(new), tokens(old));
        if new.len() != old.len() {
            return false;
        }
        for (new, old) in new.into_iter().zip(old) {
            if new != old && (!is_name(&new) || !is_name(&old)) {
                return false;
            }
            let to = forth.entry(old.clone()).or_insert_with(|| new.clone());
            let from = back.entry(new.clone()).or_insert_with(|| old.clone());
            if *to != new || *from != old {
                return false;
            }
        }
    }
    // A name that is replaced must be defined here, else another thing is called than before.
    forth
        .iter()
        .filter(|(old, new)| old != new)
        .all(|(_, new)| {
            added.iter().any(|line| {
                [
                    "let ",
                    "let mut ",
                    "const ",
                    "var ",
                    "def ",
                    "fn ",
                    "func ",
                    "function ",
                    "class ",
                ]
                .iter()
                .any(|intro| line.contains(&format!("{intro}{new}")))
                    || line.contains(&format!("{new} :="))
                    || line.starts_with(&format!("{new} = "))
            })
        })
}

fn tokens(line: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut in_word = false;
    for letter in line.chars() {
        let word = letter.is_alphanumeric() || letter == '_';
        match found.last_mut() {
            Some(last) if word && in_word => last.push(letter),
            _ if letter.is_whitespace() => {}
            _ => found.push(letter.to_string()),
        }
        in_word = word;
    }
    found
}

fn is_name(token: &str) -> bool {
    token
        .chars()
        .next()
        .is_some_and(|letter| letter.is_alphabetic() || letter == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason_of(path: &str, diff: &str) -> Option<&'static str> {
        reason(&Patch::parse(path, diff))
    }

    #[test]
    fn what_cannot_matter_is_recognised() {
        for (path, diff, expected) in [
            ("README.md", "+words\n", "documentation"),
            ("src/tests/pool.rs", "+pool.close();\n", "tests"),
            ("src/a.rs", "-// old\n+// new\n", "comments"),
            ("src/a.rs", "-go( a )\n+go(a)\n", "layout"),
            ("src/a.rs", "-use a::b;\n+use a::c;\n", "imports"),
            (
                "src/a.rs",
                "-    info!(\"sent\");\n+    info!(id, \"sent it\");\n",
                "logs and metrics",
            ),
            (
                "src/a.js",
                "-  show(\"Buy it now\");\n+  show(\"Buy it today\");\n",
                "wording",
            ),
            (
                "src/a.rs",
                "-let n = rows.len();\n-total(n)\n+let count = rows.len();\n+total(count)\n",
                "names",
            ),
        ] {
            assert_eq!(reason_of(path, diff), Some(expected), "{diff}");
        }
    }

    #[test]
    fn what_can_matter_is_not_taken_for_inert() {
        for (path, diff) in [
            ("src/a.rs", "-limit: 50,\n+limit: 10,\n"),
            (
                "src/a.rs",
                "-let row = one(conn);\n+let row = other(conn);\n",
            ),
            (
                "src/a.py",
                "-q(\"select a from t where x\")\n+q(\"select b from t where x\")\n",
            ),
            ("src/a.rs", "-conn.close();\n"),
            ("svc/requirements.txt", "-lib==1\n+lib==2\n"),
            ("conf/a.yaml", "-ttl: 300\n+ttl: 3\n"),
        ] {
            assert_eq!(reason_of(path, diff), None, "{diff}");
        }
    }
}
