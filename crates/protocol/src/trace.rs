//! The trace of an investigation: one identity in the logs of everything that is done for it.

use std::{fmt, str::FromStr};

use nightshift_domain::InvestigationId;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A W3C `traceparent` (version 00), as it travels with steps.
///
/// The trace of an investigation is made of its identity, so whoever holds one finds the other and
/// no column has to keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Trace {
    id: u128,
    parent: u64,
}

/// The text is not a `traceparent` that we understand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseTraceError;

impl Trace {
    /// The trace of an investigation.
    #[must_use]
    pub fn of(investigation: InvestigationId) -> Self {
        let (_, low) = investigation.as_uuid().as_u64_pair();
        // The low half of a UUID begins with its variant, so it is never the forbidden zero.
        Self {
            id: investigation.as_uuid().as_u128(),
            parent: low,
        }
    }

    /// The trace's identity: 32 hexadecimal digits, `trace.id` in logs.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{:032x}", self.id)
    }

    /// Reads a field that may hold a trace. What cannot be read is no trace: it must not keep a step
    /// from being carried out.
    pub(crate) fn lenient<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Self>, D::Error> {
        let found = Option::<serde_json::Value>::deserialize(from)?;
        Ok(found.and_then(|value| value.as_str()?.parse().ok()))
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-01", self.id, self.parent)
    }
}

impl FromStr for Trace {
    type Err = ParseTraceError;

    fn from_str(text: &str) -> Result<Self, ParseTraceError> {
        let mut parts = text.split('-');
        let mut hex = |digits: usize| {
            let part = parts.next().filter(|part| part.len() == digits);
            part.filter(|part| part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
                .ok_or(ParseTraceError)
        };
        let (version, id, parent, _flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
        let id = u128::from_str_radix(id, 16).map_err(|_| ParseTraceError)?;
        let parent = u64::from_str_radix(parent, 16).map_err(|_| ParseTraceError)?;
        if version != "00" || id == 0 || parent == 0 || parts.next().is_some() {
            return Err(ParseTraceError);
        }
        Ok(Self { id, parent })
    }
}

impl fmt::Display for ParseTraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a W3C traceparent of version 00")
    }
}

impl std::error::Error for ParseTraceError {}

impl Serialize for Trace {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_round_trips_and_names_its_investigation() {
        let id: InvestigationId = "inv_0192f0c1000070008000000000000001".parse().unwrap();
        let trace = Trace::of(id);
        assert_eq!(
            trace.to_string(),
            "00-0192f0c1000070008000000000000001-8000000000000001-01"
        );
        assert_eq!(trace.to_string().parse(), Ok(trace));
        assert_eq!(format!("inv_{}", trace.id()).parse(), Ok(id));
    }

    #[test]
    fn what_the_standard_forbids_is_no_trace() {
        for text in [
            "",
            "00-0192f0c1000070008000000000000001-8000000000000001",
            "00-0192f0c1000070008000000000000001-8000000000000001-01-more",
            "00-00000000000000000000000000000000-8000000000000001-01",
            "00-0192f0c1000070008000000000000001-0000000000000000-01",
            "00-0192F0C1000070008000000000000001-8000000000000001-01",
            "00-+192f0c1000070008000000000000001-8000000000000001-01",
            "ff-0192f0c1000070008000000000000001-8000000000000001-01",
        ] {
            assert_eq!(text.parse::<Trace>(), Err(ParseTraceError), "{text}");
        }
    }
}
