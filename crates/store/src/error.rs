//! What can go wrong between us and PostgreSQL.

/// A failed store operation.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Someone else changed the row after we read it. Read it again and decide again.
    #[error("{0} changed since it was read")]
    Stale(String),

    /// The database refused or could not be reached.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),

    /// A row breaks a rule the schema should have enforced.
    #[error(transparent)]
    Corrupt(#[from] CorruptRow),
}

impl StoreError {
    /// Whether the database could not be reached, as opposed to having refused.
    #[must_use]
    pub const fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::Database(
                sqlx::Error::Io(_)
                    | sqlx::Error::PoolTimedOut
                    | sqlx::Error::PoolClosed
                    | sqlx::Error::Tls(_)
            )
        )
    }
}

/// A row that does not describe a possible entity.
#[derive(Debug, thiserror::Error)]
#[error("{table}.{column} of {row} holds an impossible value")]
pub struct CorruptRow {
    pub(crate) table: &'static str,
    pub(crate) column: &'static str,
    pub(crate) row: String,
}
