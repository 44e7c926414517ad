//! What `deny.toml` says of our crates, read without a tool.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// For each crate that `deny.toml` denies but for some wrappers: those wrappers.
pub(super) fn wrappers() -> BTreeMap<String, BTreeSet<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = fs::read_to_string(root.join("deny.toml")).unwrap();
    let entries = text.split("{ crate = ").skip(1);
    let named = |entry: &str| -> Option<(String, BTreeSet<String>)> {
        let entry = entry.split('}').next()?;
        let (name, list) = entry.split_once("wrappers = [")?;
        Some((quoted(name).next()?, quoted(list).collect()))
    };
    entries.filter_map(named).collect()
}

fn quoted(text: &str) -> impl Iterator<Item = String> {
    text.split('"').skip(1).step_by(2).map(str::to_owned)
}
