//! Finds calls that a diff moves into a loop, and calls that it adds.

use std::collections::BTreeSet;

use super::{
    Ability, inert,
    patch::{Line, Mark, Patch, side},
};
use crate::analyst::words::{short, words};

/// Calls in loops, and added calls.
pub(crate) fn abilities(patch: &Patch) -> Vec<Ability> {
    let mut found = Vec::new();
    let callers = local_callers(patch);
    for hunk in &patch.hunks {
        let after = side(hunk, true);
        let before = side(hunk, false);
        let looped_before: BTreeSet<&str> = looped_calls(&before, &callers)
            .into_iter()
            .map(|line| line.text.trim())
            .collect();
        let new_in_loop: Vec<&Line> = looped_calls(&after, &callers)
            .into_iter()
            .filter(|line| !looped_before.contains(line.text.trim()))
            .collect();
        if let Some(line) = new_in_loop.first() {
            let batch_removed = hunk
                .iter()
                .any(|line| line.mark == Mark::Removed && is_batch(&line.text));
            found.push(Ability::CallsInLoop {
                path: patch.path.clone(),
                line: short(&line.text, 90),
                batch_removed,
            });
            continue;
        }
        let calls = |mark: Mark| {
            hunk.iter()
                .filter(move |line| line.mark == mark && is_call(line, &BTreeSet::new()))
        };
        if calls(Mark::Added).count() > calls(Mark::Removed).count()
            && let Some(line) = calls(Mark::Added).next()
        {
            found.push(Ability::OneMoreCall {
                path: patch.path.clone(),
                line: short(&line.text, 90),
            });
        }
    }
    found
}

/// Functions of this patch whose bodies call something outside the process.
fn local_callers(patch: &Patch) -> BTreeSet<String> {
    let mut callers = BTreeSet::new();
    for hunk in &patch.hunks {
        let after = side(hunk, true);
        for (at, line) in after.iter().enumerate() {
            let Some(name) = defined(&line.text) else {
                continue;
            };
            if body(&after, at)
                .iter()
                .any(|line| is_call(line, &BTreeSet::new()))
            {
                callers.insert(name);
            }
        }
    }
    callers
}

fn defined(text: &str) -> Option<String> {
    let text = text.trim();
    let rest = ["fn ", "def ", "func ", "function "]
        .iter()
        .find_map(|intro| text.split_once(intro).map(|(_, rest)| rest))?;
    let name: String = rest
        .chars()
        .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
        .collect();
    (!name.is_empty()).then_some(name)
}

/// The lines below a header that belong to it, by indentation.
fn body<'a>(lines: &[&'a Line], header: usize) -> Vec<&'a Line> {
    let indent = lines[header].indent();
    lines[header + 1..]
        .iter()
        .take_while(|line| line.text.trim().is_empty() || line.indent() > indent)
        .copied()
        .collect()
}

/// Calls that stand inside a loop.
fn looped_calls<'a>(lines: &[&'a Line], callers: &BTreeSet<String>) -> Vec<&'a Line> {
    let mut found: Vec<&Line> = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if line.is_comment() || !opens_loop(&line.text) {
            continue;
        }
        let header_calls = is_inline_loop(&line.text) && is_call(line, callers);
        let inside = body(lines, at);
        let calls = inside.into_iter().filter(|line| is_call(line, callers));
        for call in header_calls.then_some(*line).into_iter().chain(calls) {
            // The loop or the call must be new; a hunk around an old loop proves nothing.
            if !found.iter().any(|known| std::ptr::eq(*known, call)) {
                found.push(call);
            }
        }
    }
    found
}

fn opens_loop(text: &str) -> bool {
    let text = text.trim();
    let starts = [
        "for ",
        "for(",
        "while ",
        "while(",
        "foreach",
        "loop {",
        "async for ",
        "} while",
    ]
    .iter()
    .any(|start| text.starts_with(start));
    starts || is_inline_loop(text)
}

/// A loop written as an expression.
fn is_inline_loop(text: &str) -> bool {
    let low = text.to_lowercase();
    let closure = [
        ".map(|",
        ".for_each(|",
        ".foreach(",
        ".map(",
        ".flatmap(",
        ".each do",
        ".each {",
        ".then(|",
        ".and_then(|",
        ".filter_map(|",
        ".fold(",
        ".map(async",
    ]
    .iter()
    .any(|needle| low.contains(needle));
    let comprehension = low.contains(" for ") && low.contains(" in ");
    closure || (comprehension && (low.contains('[') || low.contains('(')))
}

/// Whether a line calls something outside the process.
pub(crate) fn is_call(line: &Line, callers: &BTreeSet<String>) -> bool {
    if line.is_comment() || inert::is_report(&line.text) || defined(&line.text).is_some() {
        return false;
    }
    let low = line.text.to_lowercase();
    if is_statement(&low) || low.contains(".await") || low.contains("await ") {
        return true;
    }
    if !low.contains('(') {
        return false;
    }
    let called_here = callers
        .iter()
        .any(|name| line.text.contains(&format!("{name}(")));
    called_here || outward(&line.text)
}

/// Whether a call names a client, a store or a way to ask one.
fn outward(text: &str) -> bool {
    const ASKS: &[&str] = &[
        "query", "execute", "exec", "fetch", "rpc", "invoke", "select", "lookup", "scan",
        "prefetch", "requery", "hydrate",
    ];
    const STORES: &[&str] = &[
        "client",
        "db",
        "database",
        "conn",
        "connection",
        "tx",
        "repo",
        "repository",
        "dao",
        "session",
        "sql",
        "stub",
        "api",
        "http",
        "redis",
        "store",
        "upstream",
        "remote",
    ];
    let found = words(text);
    let has = |wanted: &[&str]| found.iter().any(|word| wanted.contains(&word.as_str()));
    has(ASKS) || has(STORES)
}

/// Whether a text holds an SQL statement.
fn is_statement(low: &str) -> bool {
    (low.contains("select ") && low.contains(" from "))
        || low.contains("insert into ")
        || low.contains("delete from ")
        || (low.contains("update ") && low.contains(" set "))
}

/// Whether a line asks for many at once.
fn is_batch(text: &str) -> bool {
    let low = text.to_lowercase();
    [
        " in (", "any(", "= any", "join ", "batch", "bulk", "_many", "getall", "get_all", "mget",
        "all(", "unnest", " in %s", "in_(", "many(", "multi",
    ]
    .iter()
    .any(|needle| low.contains(needle))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(diff: &str) -> Vec<Ability> {
        abilities(&Patch::parse("src/list.rs", diff))
    }

    fn in_loop(diff: &str) -> Option<bool> {
        found(diff).into_iter().find_map(|ability| {
            let Ability::CallsInLoop { batch_removed, .. } = ability else {
                return None;
            };
            Some(batch_removed)
        })
    }

    #[test]
    fn a_query_moved_into_a_loop_is_found_in_several_languages() {
        let rust = "@@ -1,4 +1,7 @@\n async fn load(db: &Db) {\n-    let rows = db.query(\"select * from t where id = any($1)\", &[&ids]).await?;\n+    for id in &ids {\n+        let row = db.query_one(\"select * from t where id = $1\", &[id]).await?;\n+        rows.push(row);\n+    }\n     rows\n";
        assert_eq!(in_loop(rust), Some(true));
        let python = "@@\n def load(ids):\n-    return repo.bulk(ids)\n+    return [repo.one(i) for i in ids]\n";
        assert_eq!(in_loop(python), Some(true));
        let go = "@@\n func load() {\n+\tfor _, id := range ids {\n+\t\tp, err := s.client.Price(ctx, id)\n+\t}\n";
        assert_eq!(in_loop(go), Some(false));
        let js = "@@\n-const all = await api.prices(ids);\n+const all = await Promise.all(ids.map((id) => api.price(id)));\n";
        assert_eq!(in_loop(js), Some(false));
    }

    #[test]
    fn a_call_through_a_function_of_the_same_diff_is_found() {
        let diff = "@@\n+fn price(conn: &Conn, id: u32) -> u32 {\n+    conn.query_one(\"select p from t where id = $1\", id)\n+}\n fn all(conn: &Conn) {\n+    for id in ids {\n+        sum += price(&c, id);\n+    }\n";
        assert!(in_loop(diff).is_some());
    }

    #[test]
    fn a_loop_over_memory_is_no_fan_out() {
        let diff =
            "@@\n+    for item in &items {\n+        total += item.price * item.count;\n+    }\n";
        assert_eq!(in_loop(diff), None);
    }

    #[test]
    fn a_loop_that_was_there_before_is_not_blamed_on_the_diff() {
        let diff = "@@\n for id in ids {\n     db.query(id).await;\n-    info!(\"got\");\n+    info!(\"got it\");\n }\n";
        assert_eq!(in_loop(diff), None);
    }
}
