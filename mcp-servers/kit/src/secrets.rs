//! Takes secrets out of what tools answer, and counts what it took.
//!
//! Logs, diffs and alerts hold credentials of their owners: a model that never sees one cannot repeat it.
//! What is looked for has a shape of its own, or a name beside it that says what it is; nothing is
//! judged by its randomness alone, because trace ids, digests and commits look random too.
//!
//! Control: `output-secrets`.

mod assigned;
mod key_block;
mod shapes;

use std::{borrow::Cow, collections::BTreeMap};

use nightshift_controls::{Control, holds};
use serde_json::Value;

use self::key_block::KeyBlock;
use crate::clean;

/// How many secrets were taken out, by what each was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Redactions(BTreeMap<&'static str, u32>);

impl Redactions {
    /// How many in all.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.0
            .values()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Each sort that was found, and how often.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u32)> {
        self.0.iter().map(|(name, count)| (*name, *count))
    }

    /// Writes one log line for each sort: the counters that alarms and charts are made of.
    pub fn log(&self, tool: &str) {
        for (detector, redactions) in self.iter() {
            tracing::info!(
                metric = "redactions",
                detector,
                redactions,
                tool,
                "Took secrets out of an answer"
            );
        }
    }

    fn count(&mut self, detector: &'static str) {
        let count = self.0.entry(detector).or_default();
        *count = count.saturating_add(1);
    }
}

/// Takes secrets out of texts, one after another: a private key may be spread over several log lines.
#[derive(Debug, Default)]
pub struct Redactor {
    found: Redactions,
    block: KeyBlock,
}

impl Redactor {
    /// The text with a note in the place of each secret.
    pub fn text<'a>(&mut self, text: &'a str) -> Cow<'a, str> {
        if !holds(Control::OutputSecrets) {
            return Cow::Borrowed(text);
        }
        let mut kept = self.block.take(text, &mut self.found);
        for detector in shapes::suspected(&kept) {
            if let Cow::Owned(replaced) = detector.replace(&kept, &mut self.found) {
                kept = Cow::Owned(replaced);
            }
        }
        if let Cow::Owned(replaced) = assigned::replace(&kept, &mut self.found) {
            kept = Cow::Owned(replaced);
        }
        kept
    }

    /// The value with every string in it, keys included, without secrets.
    pub fn value(&mut self, value: Value) -> Value {
        match value {
            Value::String(text) => match self.text(&text) {
                Cow::Borrowed(_) => Value::String(text),
                Cow::Owned(redacted) => Value::String(redacted),
            },
            Value::Array(items) => {
                Value::Array(items.into_iter().map(|item| self.value(item)).collect())
            }
            Value::Object(fields) => Value::Object(
                fields
                    .into_iter()
                    .map(|(key, field)| self.field(&key, field))
                    .collect(),
            ),
            Value::Null | Value::Bool(_) | Value::Number(_) => value,
        }
    }

    /// What was taken out so far.
    #[must_use]
    pub fn finish(self) -> Redactions {
        self.found
    }

    /// A field whose name says that its text is a secret gives away nothing of it.
    fn field(&mut self, key: &str, field: Value) -> (String, Value) {
        let shown = self.text(key).into_owned();
        let secret = field
            .as_str()
            .is_some_and(|text| assigned::names_a_secret(key, text))
            && holds(Control::OutputSecrets);
        let field = if secret {
            self.found.count(assigned::NAME);
            Value::String(note(assigned::NAME))
        } else {
            self.value(field)
        };
        (shown, field)
    }
}

/// A text that others wrote as an agent or a person may read it: cleaned, then without secrets. In this
/// order, because a character that nobody sees could split a secret in two.
#[must_use]
pub fn scrub(value: Value) -> (Value, Redactions) {
    let mut redactor = Redactor::default();
    let value = redactor.value(clean::value(value));
    (value, redactor.finish())
}

/// Makes the detectors now rather than for the first answer that somebody waits for.
pub fn prepare() {
    // Longer than what is too short to hold a secret, and naming one.
    let _ = scrub_text("detectors made: password");
}

/// As [`scrub`], for one text.
#[must_use]
pub fn scrub_text(text: &str) -> (String, Redactions) {
    let mut redactor = Redactor::default();
    let text = redactor.text(&clean::text(text)).into_owned();
    (text, redactor.finish())
}

/// What stands in the place of a secret. No detector takes it for one.
fn note(detector: &str) -> String {
    format!("[redacted:{detector}]")
}

#[cfg(test)]
mod tests;
