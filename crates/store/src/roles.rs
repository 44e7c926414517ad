//! The database roles, one for each kind of process. `migrations/0011_roles.sql` says what each may do, and
//! `migrations/0012_row_security.sql` which rows it sees.

use sqlx::{
    AssertSqlSafe, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::{Store, StoreError};

/// A kind of process, as the database knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Takes alerts in.
    Intake,
    /// Carries out steps, for every tenant.
    Engine,
    /// Admits sandboxes.
    Session,
    /// Answers agents.
    Casebook,
    /// Answers operators.
    Api,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [
        Self::Intake,
        Self::Engine,
        Self::Session,
        Self::Casebook,
        Self::Api,
    ];

    /// What the database calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Intake => "nightshift_intake",
            Self::Engine => "nightshift_engine",
            Self::Session => "nightshift_session",
            Self::Casebook => "nightshift_casebook",
            Self::Api => "nightshift_api",
        }
    }

    /// Connections of a superuser that act as this role from their first statement on. For tests: a server
    /// logs in as its role, so that there is nothing it could go back to.
    pub async fn acting(
        self,
        superuser: &PgConnectOptions,
        connections: u32,
    ) -> Result<PgPool, StoreError> {
        let options = superuser.clone().options([("role", self.name())]);
        Ok(PgPoolOptions::new()
            .max_connections(connections)
            .connect_with(options)
            .await?)
    }
}

/// A password is not of letters and digits alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a role's password has at least 16 letters and digits and nothing else")]
pub struct BadPassword;

/// A role could not be let in.
#[derive(Debug, thiserror::Error)]
pub enum LetInError {
    /// The password could be guessed, or would not pass through a URL unchanged.
    #[error(transparent)]
    Password(#[from] BadPassword),
    /// The database refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Lets a role log in with this password and no other from here on. Only whoever may change roles can.
    pub async fn let_in(&self, role: Role, password: &str) -> Result<(), LetInError> {
        if password.len() < 16 || !password.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(BadPassword.into());
        }
        // A utility statement takes no parameters. Not logged, whatever the server is set to log.
        let statement = format!(
            "begin; set local log_statement = 'none'; set local log_min_error_statement = 'panic';
             alter role {} login password '{password}'; commit",
            role.name()
        );
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&self.pool)
            .await
            .map_err(StoreError::Database)?;
        Ok(())
    }
}
