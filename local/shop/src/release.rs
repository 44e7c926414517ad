//! Which of the compiled-in sources of a file this process runs: the part that makes a deploy real.
//!
//! A file that changes in a recorded story is compiled in once for each of its texts. The recorder's commits change the very same
//! texts, and a process is started with the names of those that its commit holds.

use std::{collections::BTreeMap, sync::OnceLock};

static SOURCES: OnceLock<BTreeMap<String, String>> = OnceLock::new();

/// Fixes the sources of this process, each as `FILE=NAME`. Only the first call counts.
pub fn deploy(sources: &[String]) {
    let sources = sources
        .iter()
        .filter_map(|source| source.split_once('='))
        .map(|(file, name)| (file.to_owned(), name.to_owned()))
        .collect();
    let _already = SOURCES.set(sources);
}

/// Whether this process runs the source `name` of `file`.
#[must_use]
pub fn runs(file: &str, name: &str) -> bool {
    SOURCES
        .get()
        .and_then(|sources| sources.get(file))
        .is_some_and(|source| source == name)
}
