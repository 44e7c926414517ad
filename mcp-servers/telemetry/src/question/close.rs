//! Names that come closest to one that does not exist.

/// How many names are offered where some are close.
const OFFERED: usize = 5;

/// How many are listed where none is close.
const LISTED: usize = 20;

/// The names that come closest to `asked`: those that contain it or that it contains, then those a
/// few letters away. Where none is close: the first twenty.
#[must_use]
pub fn closest<'a>(asked: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let asked = asked.to_lowercase();
    let mut names: Vec<&str> = names.into_iter().collect();
    names.sort_unstable();
    names.dedup();
    let mut ranked: Vec<(usize, &str)> = names
        .iter()
        .filter_map(|name| {
            let lower = name.to_lowercase();
            let contains = !asked.is_empty() && (lower.contains(&asked) || asked.contains(&lower));
            let distance = if contains {
                0
            } else {
                distance(&asked, &lower)
            };
            (distance <= 2.max(asked.len() / 3)).then_some((distance, *name))
        })
        .collect();
    if ranked.is_empty() {
        return names.into_iter().take(LISTED).map(str::to_owned).collect();
    }
    ranked.sort_unstable();
    ranked
        .into_iter()
        .take(OFFERED)
        .map(|(_, name)| name.to_owned())
        .collect()
}

/// How many letters must be put in, taken out or changed to get from one to the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let changed = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::{closest, distance};

    const NAMES: [&str; 4] = ["checkout", "frontend", "inventory", "payment"];

    #[test]
    fn a_misspelt_name_finds_its_neighbour() {
        assert_eq!(closest("chekout", NAMES), ["checkout"]);
        assert_eq!(closest("payment-service", NAMES), ["payment"]);
        assert_eq!(closest("Front", NAMES), ["frontend"]);
    }

    #[test]
    fn where_nothing_is_close_everything_is_listed() {
        assert_eq!(closest("zzz", NAMES), NAMES);
    }

    #[test]
    fn distance_counts_letters() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
