//! The questions that agents ask, answered from a history.

pub mod changes;
pub mod commit;
pub mod file;
pub mod search;

/// Names that share the most with `asked`, or the first twenty where none shares much.
fn closest<'a>(asked: &str, names: impl IntoIterator<Item = &'a String>) -> Vec<String> {
    let asked = asked.to_lowercase();
    let names: Vec<&String> = names.into_iter().collect();
    let mut ranked: Vec<(usize, &String)> = names
        .iter()
        .map(|name| (shared_pairs(&asked, &name.to_lowercase()), *name))
        .filter(|(shared, _)| *shared * 2 >= asked.chars().count().max(2))
        .collect();
    if ranked.is_empty() {
        return names.into_iter().take(20).cloned().collect();
    }
    ranked.sort_by(|(a, left), (b, right)| b.cmp(a).then(left.cmp(right)));
    ranked
        .into_iter()
        .take(5)
        .map(|(_, name)| name.clone())
        .collect()
}

/// How many pairs of neighbouring letters of `a` are in `b`.
fn shared_pairs(a: &str, b: &str) -> usize {
    let letters: Vec<char> = a.chars().collect();
    letters
        .windows(2)
        .filter(|pair| b.contains(&pair.iter().collect::<String>()))
        .count()
}

#[cfg(test)]
mod tests {
    use super::closest;

    #[test]
    fn a_misspelt_path_finds_its_neighbours() {
        let names = ["src/cart.rs", "src/main.rs", "docs/cart.md"].map(str::to_owned);
        assert_eq!(closest("cart.rs", &names)[0], "src/cart.rs");
        assert_eq!(closest("zzz", &names).len(), 3);
    }
}
