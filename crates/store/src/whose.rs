//! Whose rows a transaction may see: the database's row-level security asks it.
//!
//! It is said in the statement that begins the transaction and ends with it, so a connection that goes back
//! to a pool, ours or a pooler's, carries nothing over. A transaction that says nothing sees no tenant's rows.

use std::fmt::Write;

use nightshift_domain::{InvestigationId, TenantId};
use sqlx::{AssertSqlSafe, Postgres, Transaction};

use crate::{Store, StoreError, Tx};

/// Whose rows a transaction may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose<'a> {
    /// One tenant's.
    Tenant(TenantId),
    /// Those of the tenant that an investigation belongs to; nobody's if there is no such investigation.
    RunOf(InvestigationId),
    /// The webhook endpoint of this address and nothing else.
    Address(&'a str),
    /// Every tenant's, where the role may: operators look, the engine works.
    Everybody,
}

impl Whose<'_> {
    /// One tenant's, or without one everybody's.
    #[must_use]
    pub fn of(tenant: Option<TenantId>) -> Self {
        tenant.map_or(Self::Everybody, Self::Tenant)
    }

    /// The statements that say it. They hold nothing but identifiers that we spelled ourselves.
    fn said(self) -> String {
        match self {
            Self::Tenant(tenant) => format!("set local nightshift.tenant = '{}'", tenant.as_uuid()),
            Self::RunOf(investigation) => {
                let id = investigation.as_uuid();
                format!(
                    "set local nightshift.investigation = '{id}';
                     select set_config('nightshift.tenant', tenant_id::text, true)
                       from investigations where id = '{id}'"
                )
            }
            // An address is a stranger's text: each of its bytes is spelled in digits.
            Self::Address(address) => {
                let digits = address.bytes().fold(String::new(), |mut digits, byte| {
                    let _ = write!(digits, "\\x{byte:02x}");
                    digits
                });
                format!("set local nightshift.address = E'{digits}'")
            }
            Self::Everybody => "set local nightshift.everybody = 'on'".to_owned(),
        }
    }
}

impl Store {
    /// Opens a transaction that sees the rows of `whose`.
    pub async fn begin_for(&self, whose: Whose<'_>) -> Result<Tx, StoreError> {
        self.watched.at("tx.begin").await?;
        Ok(Tx {
            conn: self.open("begin", whose).await?,
            trace: self.trace,
            open: self.watched.open(),
        })
    }

    /// Opens a transaction for one look at the rows of `whose`.
    pub(crate) async fn reading(
        &self,
        whose: Whose<'_>,
    ) -> Result<Transaction<'static, Postgres>, StoreError> {
        self.open("begin read only", whose).await
    }

    async fn open(
        &self,
        begin: &str,
        whose: Whose<'_>,
    ) -> Result<Transaction<'static, Postgres>, StoreError> {
        // One round trip for all of it.
        let statement = format!("{begin}; {}", whose.said());
        Ok(self.pool.begin_with(AssertSqlSafe(statement)).await?)
    }
}

impl Tx {
    /// Sees from here on what belongs to the tenant of an investigation.
    pub async fn enter(&mut self, investigation: InvestigationId) -> Result<(), StoreError> {
        sqlx::raw_sql(AssertSqlSafe(Whose::RunOf(investigation).said()))
            .execute(&mut *self.conn)
            .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_character_of_an_address_can_end_the_text_it_is_in() {
        for address in ["a'; drop table tenants; --", "\\'", "'", "é"] {
            let said = Whose::Address(address).said();
            let text = said
                .strip_prefix("set local nightshift.address = E'")
                .unwrap();
            let text = text.strip_suffix('\'').unwrap();
            let spelled = text
                .bytes()
                .all(|byte| matches!(byte, b'\\' | b'x') || byte.is_ascii_hexdigit());
            assert!(spelled, "{said}");
            assert_eq!(text.len(), 4 * address.len());
        }
    }
}
