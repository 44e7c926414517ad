//! How far a sweep has looked.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// What is overdue at one time, looked at from the oldest on, each row once. A row that cannot be moved stays
/// behind: it holds up neither the sweep nor those after it, and the next sweep looks at it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overdue {
    pub(crate) at: DateTime<Utc>,
    pub(crate) seen: (DateTime<Utc>, Uuid),
}

impl Overdue {
    /// What is overdue at `now`, from the oldest on.
    #[must_use]
    pub const fn at(now: DateTime<Utc>) -> Self {
        Self {
            at: now,
            seen: (DateTime::UNIX_EPOCH, Uuid::nil()),
        }
    }

    /// From here on only what comes after the row `id` with this deadline is looked at.
    pub(crate) fn pass(&mut self, deadline_at: Option<DateTime<Utc>>, id: Uuid) {
        self.seen = (deadline_at.unwrap_or(self.at), id);
    }
}
