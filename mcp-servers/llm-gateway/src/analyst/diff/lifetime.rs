//! Finds changes of how long something limited is held: a release that is gone, a way out before it,
//! a store that only grows.

use super::{
    Ability, inert,
    patch::{Line, Mark, Patch, side},
};
use crate::analyst::words::{short, words};

const TAKES: &[&str] = &[
    "acquire",
    "borrow",
    "connect",
    "open",
    "begin",
    "subscribe",
    "permit",
    "lease",
    "reserve",
    "take",
    "alloc",
    "allocate",
    "getconn",
];
const GIVES: &[&str] = &[
    "release",
    "close",
    "dispose",
    "free",
    "unlock",
    "disconnect",
    "destroy",
    "unsubscribe",
    "checkin",
    "restore",
    "recycle",
    "giveback",
    "putconn",
];
const GUARDS: &[&str] = &[
    "defer ",
    "finally",
    "with ",
    "using (",
    "using var",
    "ensure",
    "impl drop",
    "try (",
    "scopeguard",
    "contextmanager",
    "addcleanup",
    "__exit__",
];
const LIMITED: &[&str] = &[
    "conn",
    "connection",
    "pool",
    "handle",
    "file",
    "socket",
    "client",
    "stream",
    "cursor",
    "tx",
    "transaction",
    "lock",
    "permit",
    "semaphore",
    "session",
    "lease",
    "slot",
    "fd",
    "channel",
    "subscription",
    "guard",
];

/// Ways in which the diff can keep what it takes.
pub(crate) fn abilities(patch: &Patch) -> Vec<Ability> {
    let mut found: Vec<Ability> = patch
        .hunks
        .iter()
        .filter_map(|hunk| keeps(hunk))
        .map(|(how, line)| Ability::KeepsResource {
            path: patch.path.clone(),
            how: how.to_owned(),
            line,
        })
        .collect();
    if found.is_empty()
        && let Some(line) = grows(patch)
    {
        found.push(Ability::Grows {
            path: patch.path.clone(),
            line,
        });
    }
    found
}

fn keeps(hunk: &[Line]) -> Option<(&'static str, String)> {
    let of = |mark: Mark, test: &dyn Fn(&str) -> bool| -> Vec<&Line> {
        hunk.iter()
            .filter(|line| line.mark == mark && !line.is_comment() && !inert::is_report(&line.text))
            .filter(|line| test(&line.text))
            .collect()
    };
    let forgets = of(Mark::Added, &is_forgotten);
    if let Some(line) = forgets.first() {
        return Some(("keeps what it takes for ever", short(&line.text, 90)));
    }
    let gave = of(Mark::Removed, &gives);
    let gives_now = of(Mark::Added, &gives);
    if gave.len() > gives_now.len()
        && let Some(line) = gave.first()
    {
        // A release that goes together with what it released is a tidy-up.
        let took = of(Mark::Removed, &takes).len();
        let takes_now = of(Mark::Added, &takes).len();
        if took <= takes_now || took == 0 {
            return Some(("no longer gives back what it takes", short(&line.text, 90)));
        }
    }
    let guarded = of(Mark::Removed, &is_guard);
    let guards_now = of(Mark::Added, &is_guard);
    if guarded.len() > guards_now.len()
        && gives_now.len() <= gave.len()
        && let Some(line) = guarded.first()
        && limited(&line.text)
    {
        return Some((
            "no longer gives back what it takes on every way out",
            short(&line.text, 90),
        ));
    }
    if let Some(line) = leaves_early(hunk) {
        return Some(("leaves before it gives back what it took", line));
    }
    let taken = of(Mark::Added, &|text| takes(text) && limited(text));
    let taken_before = of(Mark::Removed, &|text| takes(text) && limited(text));
    let after: Vec<&Line> = side(hunk, true);
    let given = after
        .iter()
        .any(|line| gives(&line.text) || is_guard(&line.text));
    if taken.len() > taken_before.len()
        && !given
        && let Some(line) = taken.last()
    {
        return Some((
            "takes something limited and does not give it back",
            short(&line.text, 90),
        ));
    }
    None
}

/// An added way out between where something is taken and where it is given back.
fn leaves_early(hunk: &[Line]) -> Option<String> {
    let after = side(hunk, true);
    let give = after
        .iter()
        .rposition(|line| !line.is_comment() && gives(&line.text))?;
    if after
        .iter()
        .any(|line| is_guard(&line.text) && gives(&line.text))
    {
        return None;
    }
    let take = after[..give]
        .iter()
        .position(|line| takes(&line.text))
        .unwrap_or(0);
    let exits: Vec<&&Line> = after[take..give]
        .iter()
        .enumerate()
        .filter(|(at, line)| {
            // A branch that gives back just before it leaves is fine.
            let tidy = after[take..take + at]
                .iter()
                .rev()
                .take(2)
                .any(|line| gives(&line.text));
            leaves(&line.text) && !tidy
        })
        .map(|(_, line)| line)
        .collect();
    let added = |line: &&&&Line| line.mark == Mark::Added;
    let first = exits.iter().find(added)?;
    // Where giving back moved, old ways out may now come before it. A way out that is always taken
    // tells more than one that is taken when a call fails.
    let moved = after[give].mark == Mark::Added;
    exits
        .iter()
        .filter(|line| moved || line.mark == Mark::Added)
        .find(|line| !line.text.contains('?'))
        .or(Some(first))
        .map(|line| short(&line.text, 90))
}

fn leaves(text: &str) -> bool {
    let text = text.trim();
    let starts = [
        "return", "throw ", "raise ", "break", "continue", "bail!", "goto ",
    ];
    starts.iter().any(|start| {
        text.starts_with(start)
            || [" ", ")", "{"]
                .iter()
                .any(|edge| text.contains(&format!("{edge}{start}")))
    }) || text.ends_with("?;")
        || text.contains("?.")
}

fn takes(text: &str) -> bool {
    let found = words(text);
    let has = |wanted: &[&str]| found.iter().any(|word| wanted.contains(&word.as_str()));
    let called = text.contains('(');
    let out_of_pool = text.contains("= pool.") || text.contains(".pool.");
    called
        && (has(TAKES)
            || (out_of_pool && !gives(text) && text.contains('='))
            || (found.iter().any(|word| word == "get") && has(&["conn", "connection", "pool"])))
}

fn gives(text: &str) -> bool {
    if !text.contains('(') && !text.contains("finally") {
        return false;
    }
    let found = words(text);
    let has = |wanted: &[&str]| found.iter().any(|word| wanted.contains(&word.as_str()));
    let put = (has(&["put", "return", "give", "hand", "add", "push"])
        && has(&["back", "pool", "idle", "free"]))
        && has(&[
            "conn",
            "connection",
            "pool",
            "handle",
            "back",
            "idle",
            "slot",
            "permit",
        ]);
    let dropped = (text.contains("drop(") || text.contains("del ")) && limited(text);
    has(GIVES) || put || dropped
}

fn is_guard(text: &str) -> bool {
    let low = text.trim().to_lowercase();
    GUARDS
        .iter()
        .any(|guard| low.starts_with(guard) || low.contains(&format!(" {guard}")))
}

fn is_forgotten(text: &str) -> bool {
    [
        "mem::forget",
        ".forget()",
        "Box::leak",
        ".leak()",
        "into_raw",
        "ManuallyDrop::new",
    ]
    .iter()
    .any(|needle| text.contains(needle))
}

fn limited(text: &str) -> bool {
    words(text)
        .iter()
        .any(|word| LIMITED.contains(&word.as_str()))
}

/// An added line that puts into something long-lived, or a removed one that empties it.
fn grows(patch: &Patch) -> Option<String> {
    const KEEPERS: &[&str] = &[
        "cache",
        "cached",
        "memo",
        "history",
        "registry",
        "seen",
        "recent",
        "static",
        "global",
        "buffer",
        "backlog",
        "sessions",
        "listeners",
        "callbacks",
        "subscribers",
        "journal",
    ];
    let adds = |text: &str| {
        let put = [
            ".insert(", ".push(", ".append(", ".add(", ".put(", "append(", ".set(", "] = ",
        ]
        .iter()
        .any(|needle| text.contains(needle));
        put && words(text)
            .iter()
            .any(|word| KEEPERS.contains(&word.as_str()))
    };
    let empties = |text: &str| {
        words(text).iter().any(|word| {
            [
                "evict", "expire", "prune", "truncate", "clear", "trim", "purge", "cleanup",
            ]
            .contains(&word.as_str())
        }) && text.contains('(')
    };
    let added: Vec<&str> = patch.code(Mark::Added).collect();
    let bounded = added.iter().any(|text| {
        empties(text)
            || words(text)
                .iter()
                .any(|word| ["ttl", "capacity", "lru", "max"].contains(&word.as_str()))
    });
    if bounded {
        return None;
    }
    let no_longer = patch
        .code(Mark::Removed)
        .find(|text| empties(text) && words(text).iter().any(|w| KEEPERS.contains(&w.as_str())));
    no_longer
        .or_else(|| added.iter().copied().find(|text| adds(text)))
        .map(|text| short(text, 90))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(diff: &str) -> bool {
        abilities(&Patch::parse("src/store.rs", diff))
            .iter()
            .any(|ability| matches!(ability, Ability::KeepsResource { .. }))
    }

    #[test]
    fn ways_to_keep_a_connection_are_found() {
        for diff in [
            "@@\n let conn = pool.acquire();\n-conn.release();\n done()\n",
            "@@\n conn := pool.Get()\n-defer conn.Close()\n use(conn)\n",
            "@@\n let conn = pool.acquire()?;\n+if items.is_empty() {\n+    return Ok(vec![]);\n+}\n let rows = conn.query();\n pool.release(conn);\n",
            "@@\n-with pool.connection() as conn:\n-    work(conn)\n+conn = pool.connection()\n+work(conn)\n",
            "@@\n+let conn = pool.acquire().await?;\n+audit(&conn);\n done()\n",
            "@@\n work(&conn);\n+std::mem::forget(conn);\n",
        ] {
            assert!(kept(diff), "{diff}");
        }
    }

    #[test]
    fn a_tidy_change_of_the_same_code_keeps_nothing() {
        for diff in [
            "@@\n-let conn = pool.acquire();\n-work(&conn);\n-conn.release();\n+run(|conn| work(conn));\n",
            "@@\n let conn = pool.acquire();\n+if empty {\n+    pool.release(conn);\n+    return;\n+}\n work(&conn);\n pool.release(conn);\n",
            "@@\n-let name = item.name;\n+let name = item.title;\n",
            "@@\n+conn := pool.Acquire()\n+defer conn.Release()\n+work(conn)\n",
        ] {
            assert!(!kept(diff), "{diff}");
        }
    }

    #[test]
    fn a_store_that_nothing_empties_grows() {
        let patch = Patch::parse("a.py", "@@\n+self.history.append(order)\n");
        assert!(matches!(abilities(&patch)[..], [Ability::Grows { .. }]));
        let bounded = Patch::parse(
            "a.py",
            "@@\n+self.history.append(order)\n+self.history.trim(100)\n",
        );
        assert!(abilities(&bounded).is_empty());
    }
}
