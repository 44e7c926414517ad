//! The tree that finds a line's template: by number of words, then the first words, then likeness.

use std::collections::HashMap;

use super::mask::{WILDCARD, mask};

/// Words that lead down the tree before likeness decides. With the number of words above them and
/// the group below, the tree is four deep.
const LEADING_WORDS: usize = 2;

/// How many of the words must agree for a line to join a template.
const LIKENESS: f64 = 0.4;

/// Branches below one node; further leading words share the wildcard's branch.
const MAX_BRANCHES: usize = 100;

/// Words of a line that are looked at; the rest of a very long line tells nothing new.
const MAX_WORDS: usize = 120;

/// Which template a line belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TemplateId(usize);

/// Learns templates from lines; the same lines in the same order give the same templates.
#[derive(Debug, Default)]
pub struct Miner {
    templates: Vec<Vec<String>>,
    /// Templates by number of words and leading words.
    groups: HashMap<(usize, Vec<String>), Vec<usize>>,
    /// Different leading words seen below a number of words.
    branches: HashMap<usize, usize>,
    /// Lines seen before, letter by letter: most services repeat themselves.
    seen: HashMap<Box<str>, usize>,
}

impl Miner {
    /// Finds or makes the template of a line.
    pub fn learn(&mut self, line: &str) -> TemplateId {
        if let Some(&known) = self.seen.get(line) {
            return TemplateId(known);
        }
        let masked = mask(line);
        let template = if let Some(&known) = self.seen.get(masked.as_str()) {
            known
        } else {
            let template = self.place(&masked);
            self.seen.insert(masked.into(), template);
            template
        };
        self.seen.insert(line.into(), template);
        TemplateId(template)
    }

    /// The text of a template, with a wildcard for what varies.
    #[must_use]
    pub fn text(&self, id: TemplateId) -> String {
        self.templates[id.0].join(" ")
    }

    fn place(&mut self, masked: &str) -> usize {
        let words: Vec<&str> = masked.split_whitespace().take(MAX_WORDS).collect();
        let group = self.group(&words);
        let known = self.groups.entry(group).or_default();
        let likest = known
            .iter()
            .map(|&template| (likeness(&self.templates[template], &words), template))
            // The first of equals, so that the order of templates decides nothing else.
            .fold(None, |best: Option<(f64, usize)>, next| match best {
                Some(best) if best.0 >= next.0 => Some(best),
                Some(_) | None => Some(next),
            });
        if let Some((likeness, template)) = likest
            && likeness >= LIKENESS
        {
            for (kept, word) in self.templates[template].iter_mut().zip(&words) {
                if kept != word {
                    *kept = common(kept, word);
                }
            }
            return template;
        }
        known.push(self.templates.len());
        self.templates
            .push(words.iter().map(|&word| word.to_owned()).collect());
        self.templates.len() - 1
    }

    fn group(&mut self, words: &[&str]) -> (usize, Vec<String>) {
        let leading = words.iter().take(LEADING_WORDS).map(|word| {
            if let Some(parent) = parent(word) {
                return common_below(parent);
            }
            // A leading word with a digit in it is most likely a name that varies.
            let varies = word.contains(WILDCARD) || word.bytes().any(|b| b.is_ascii_digit());
            if varies {
                WILDCARD.to_owned()
            } else {
                (*word).to_owned()
            }
        });
        let group = (words.len(), leading.collect::<Vec<_>>());
        if self.groups.contains_key(&group) {
            return group;
        }
        let branches = self.branches.entry(words.len()).or_default();
        if *branches >= MAX_BRANCHES {
            let leading = words.len().min(LEADING_WORDS);
            return (words.len(), vec![WILDCARD.to_owned(); leading]);
        }
        *branches += 1;
        group
    }
}

fn likeness(template: &[String], words: &[&str]) -> f64 {
    if words.is_empty() {
        return 1.0;
    }
    let alike = |kept: &str, word: &str| {
        kept == word || parent(kept).is_some_and(|above| Some(above) == parent(word))
    };
    let same = template
        .iter()
        .zip(words)
        .filter(|(kept, word)| alike(kept, word))
        .count();
    crate::stats::share(same, words.len())
}

/// What two different words have in common: the path above them, or nothing.
fn common(kept: &str, word: &str) -> String {
    match (parent(kept), parent(word)) {
        (Some(one), Some(other)) if one == other => common_below(one),
        _ => WILDCARD.to_owned(),
    }
}

/// The path above a path's last part; `None` for what is no path, or has one part only.
fn parent(word: &str) -> Option<&str> {
    let (above, last) = word.rsplit_once('/')?;
    (word.starts_with('/') && !above.is_empty() && !last.is_empty()).then_some(above)
}

fn common_below(parent: &str) -> String {
    format!("{parent}/{WILDCARD}")
}

#[cfg(test)]
mod tests {
    use super::Miner;

    #[test]
    fn lines_that_differ_in_names_share_a_template() {
        let mut miner = Miner::default();
        let first = miner.learn("payment declined for customer alice by provider acme");
        let second = miner.learn("payment declined for customer bob by provider acme");

        assert_eq!(first, second);
        assert_eq!(
            miner.text(first),
            "payment declined for customer <*> by provider acme"
        );
    }

    #[test]
    fn lines_that_say_different_things_stay_apart() {
        let mut miner = Miner::default();
        let started = miner.learn("order 17 started");
        let failed = miner.learn("order 17 timed out");
        let other = miner.learn("cache lookup missed");

        assert_ne!(started, failed);
        assert_ne!(started, other);
        assert_eq!(miner.text(started), "order <*> started");
    }

    #[test]
    fn paths_keep_what_they_have_in_common() {
        let mut miner = Miner::default();
        let office = miner.learn("GET /browse/office answered 503 in 2003 ms");
        let kitchen = miner.learn("GET /browse/kitchen answered 200 in 7 ms");
        let product = miner.learn("GET /products/1042 answered 503 in 2001 ms");
        let list = miner.learn("GET /products answered 503 in 2001 ms");

        assert_eq!(office, kitchen);
        assert_eq!(miner.text(office), "GET /browse/<*> answered <*> in <*> ms");
        assert_eq!(
            miner.text(product),
            "GET /products/<*> answered <*> in <*> ms"
        );
        assert_eq!(miner.text(list), "GET /products answered <*> in <*> ms");
    }

    #[test]
    fn a_flood_of_different_first_words_does_not_make_a_template_each() {
        let mut miner = Miner::default();
        let ids: std::collections::BTreeSet<_> = (0..1000_u32)
            .map(|n| {
                let name: String = n.to_string().bytes().map(|b| char::from(b + 49)).collect();
                miner.learn(&format!("{name} has left the building"))
            })
            .collect();
        assert!(ids.len() <= 101, "{} templates", ids.len());
    }

    #[test]
    fn an_empty_line_is_a_template_of_its_own() {
        let mut miner = Miner::default();
        let empty = miner.learn("");
        assert_eq!(miner.text(empty), "");
        assert_eq!(miner.learn("   "), empty);
    }
}
