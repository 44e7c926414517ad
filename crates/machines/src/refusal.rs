//! What the provider said when it did not do what was asked, and which resources it lacked.

use std::{fmt, time::Duration};

use serde::Deserialize;

/// An answer outside 2xx.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub http_status: u16,
    /// The provider's own `status` word, for example `insufficient_capacity`; absent on most.
    pub code: Option<String>,
    /// The provider's sentence (`error`, or `message` on older paths), or the raw body.
    pub text: String,
    /// The provider's `fly-request-id`, for its support.
    pub request_id: Option<String>,
    /// How long it asked us to wait (`retry-after`, whole seconds); rarely said.
    pub retry_after: Option<Duration>,
}

/// Which resources ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CapacityScope {
    /// The refusal is about something else.
    None,
    /// The host the machine already lives on is full; another machine may fit elsewhere.
    Host,
    /// The host that holds the machine's volume is full; the region may have room.
    VolumePlacement,
    /// No host of the region can take it.
    Region,
}

/// Both shapes in use: `{"error", "status"}` and, on older paths, `{"status": "error", "message"}`.
#[derive(Deserialize)]
struct ErrorBody {
    error: Option<String>,
    message: Option<String>,
    status: Option<String>,
}

/// A host that refuses a reservation says which resource it lacks, in one of these sentences.
const HOST_LACKS: [&str; 4] = ["memory", "CPUs", "IPs", "resources"];

impl Refusal {
    /// Reads the body of an answer that is not a success, whatever it holds.
    #[must_use]
    pub fn read(http_status: u16, body: &[u8]) -> Self {
        let raw = String::from_utf8_lossy(body).trim().to_owned();
        let parsed: Option<ErrorBody> = serde_json::from_slice(body).ok();
        let (text, code) = match parsed {
            Some(body) => {
                let code = body
                    .status
                    .filter(|code| !code.is_empty() && code != "error");
                (body.message.or(body.error).unwrap_or(raw), code)
            }
            None => (raw, None),
        };
        Self {
            http_status,
            code,
            text,
            request_id: None,
            retry_after: None,
        }
    }

    /// Which resources ran out, if that is what the refusal is about.
    ///
    /// The provider's own code, when there is one, is the whole truth; its sentences are read only
    /// on 409, and never on a 5xx, whose text may quote anything.
    #[must_use]
    pub fn capacity_scope(&self) -> CapacityScope {
        match self.code.as_deref() {
            Some("insufficient_capacity") => return CapacityScope::Region,
            Some("volume_placement_capacity") => return CapacityScope::VolumePlacement,
            Some(_) => return CapacityScope::None,
            None => {}
        }
        if self.http_status != 409 {
            return CapacityScope::None;
        }
        let host_lacks = |what: &&str| {
            self.text
                .contains(&format!("insufficient {what} available to fulfill request"))
        };
        if HOST_LACKS.iter().any(host_lacks) {
            CapacityScope::Host
        } else if self.text.trim_end().ends_with("no capacity") {
            CapacityScope::Region
        } else {
            CapacityScope::None
        }
    }

    /// The word that follows `marker` in the provider's sentence.
    ///
    /// The provider sometimes writes NUL bytes where an id should be; that is no id.
    pub(crate) fn word_after(&self, marker: &str) -> Option<String> {
        let (_, rest) = self.text.split_once(marker)?;
        let word = rest.split_whitespace().next()?;
        let plain = word
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        plain.then(|| word.to_owned())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.http_status, self.text)?;
        if let Some(code) = &self.code {
            write!(f, " [{code}]")?;
        }
        match &self.request_id {
            Some(id) => write!(f, " (request {id})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(http_status: u16, body: &str) -> CapacityScope {
        Refusal::read(http_status, body.as_bytes()).capacity_scope()
    }

    #[test]
    fn a_full_host_is_told_from_a_full_region_by_the_sentence_on_409_only() {
        let host = r#"{"error":"aborted: could not reserve resource for machine: insufficient memory available to fulfill request on the current host"}"#;
        assert_eq!(scope(409, host), CapacityScope::Host);
        assert_eq!(
            scope(409, r#"{"error":"aborted: no capacity"}"#),
            CapacityScope::Region
        );
        assert_eq!(
            scope(409, "no capacity\n"),
            CapacityScope::Region,
            "a body that is no JSON"
        );
        assert_eq!(scope(412, host), CapacityScope::None);
        assert_eq!(
            scope(503, host),
            CapacityScope::None,
            "the text of a 5xx is never consulted"
        );
        assert_eq!(
            scope(409, r#"{"error":"no capacity for that name"}"#),
            CapacityScope::None
        );
    }

    #[test]
    fn a_present_code_wins_over_the_sentence() {
        let sentence = "insufficient CPUs available to fulfill request";
        let with = |code: &str| format!(r#"{{"error":"{sentence}","status":"{code}"}}"#);
        assert_eq!(
            scope(422, &with("insufficient_capacity")),
            CapacityScope::Region
        );
        assert_eq!(
            scope(409, &with("insufficient_capacity")),
            CapacityScope::Region
        );
        assert_eq!(
            scope(412, &with("volume_placement_capacity")),
            CapacityScope::VolumePlacement
        );
        assert_eq!(scope(409, &with("unknown")), CapacityScope::None);
        assert_eq!(
            scope(409, &with("")),
            CapacityScope::Host,
            "an empty code is no code"
        );
    }

    #[test]
    fn the_older_error_shape_is_read_too() {
        let refusal = Refusal::read(
            409,
            br#"{"status":"error","message":"lease currently held"}"#,
        );
        assert_eq!(
            (refusal.text.as_str(), refusal.code),
            ("lease currently held", None)
        );
    }
}
