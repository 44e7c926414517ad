//! Where in a trace we are, carried between processes as W3C `traceparent`.

use rand::Rng;

/// One span's place in its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    /// The trace, the same in every process that a request visits.
    pub trace_id: u128,
    /// This span.
    pub span_id: u64,
    /// The span that caused this one.
    pub parent_id: Option<u64>,
    /// Whether spans and info lines of this trace are kept; decided once, at the root.
    pub sampled: bool,
}

impl Trace {
    /// A new trace, kept with probability `sample`.
    #[must_use]
    pub fn root(sample: f64) -> Self {
        let mut rng = rand::rng();
        Self {
            trace_id: rng.random(),
            span_id: rng.random(),
            parent_id: None,
            sampled: rng.random_bool(sample.clamp(0.0, 1.0)),
        }
    }

    /// A span below this one.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            span_id: rand::rng().random(),
            parent_id: Some(self.span_id),
            ..*self
        }
    }

    /// The server's side of a call that carried this header; `None` if it does not parse.
    #[must_use]
    pub fn continued(header: &str) -> Option<Self> {
        let mut parts = header.split('-');
        if parts.next()? != "00" {
            return None;
        }
        let trace_id = u128::from_str_radix(parts.next()?, 16).ok()?;
        let caller = u64::from_str_radix(parts.next()?, 16).ok()?;
        let flags = u8::from_str_radix(parts.next()?, 16).ok()?;
        Some(Self {
            trace_id,
            span_id: rand::rng().random(),
            parent_id: Some(caller),
            sampled: flags & 1 == 1,
        })
    }

    /// The header for a call made in this span.
    #[must_use]
    pub fn header(&self) -> String {
        format!(
            "00-{:032x}-{:016x}-{:02x}",
            self.trace_id,
            self.span_id,
            u8::from(self.sampled)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::Trace;

    #[test]
    fn the_callee_continues_the_callers_trace_below_its_span() {
        let caller = Trace::root(1.0);
        let below = Trace::continued(&caller.header()).expect("our own header parses");

        assert_eq!(below.trace_id, caller.trace_id);
        assert_eq!(below.parent_id, Some(caller.span_id));
        assert_ne!(below.span_id, caller.span_id);
        assert!(below.sampled);
    }

    #[test]
    fn the_decision_not_to_keep_a_trace_travels() {
        let callee = Trace::continued(&Trace::root(0.0).header()).expect("our own header parses");
        assert!(!callee.sampled);
    }

    #[test]
    fn a_header_that_is_not_ours_starts_nothing() {
        assert_eq!(Trace::continued("01-12-34"), None);
        assert_eq!(Trace::continued("hello"), None);
    }
}
