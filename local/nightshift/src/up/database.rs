//! The database as each kind of process reaches it: logged in as a role of its own, which may do what its
//! statements need and sees the rows it is told to.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use nightshift_store::{Role, Store};

use super::secrets::StackSecrets;

/// Connections of the deploy.
const CONNECTIONS: u32 = 2;

/// The private database.
pub(super) struct Database {
    owner: String,
    roles: BTreeMap<&'static str, String>,
}

impl Database {
    /// Brings the schema of the database at `owner` up to date, and lets each role in with its own password.
    /// Also gives the connections with which that was done.
    pub(super) async fn deploy(owner: String, secrets: &StackSecrets) -> Result<(Self, Store)> {
        let store = Store::connect(&owner, CONNECTIONS)
            .await
            .context("the private PostgreSQL does not answer; its log is in .local/pg")?;
        store
            .migrate()
            .await
            .context("the schema could not be brought up to date")?;
        let mut roles = BTreeMap::new();
        for role in Role::ALL {
            let password = secrets.of(reference(role))?;
            store.let_in(role, password).await?;
            roles.insert(role.name(), url(&owner, role.name(), password)?);
        }
        Ok((Self { owner, roles }, store))
    }

    /// Where its owner reaches it, with the password.
    pub(super) fn owner(&self) -> &str {
        &self.owner
    }

    /// Where a role reaches it, with the password.
    pub(super) fn url(&self, role: Role) -> Result<&str> {
        let found = self.roles.get(role.name()).map(String::as_str);
        found.with_context(|| format!("{} was not let in", role.name()))
    }

    /// The database as a role sees it.
    pub(super) async fn store(&self, role: Role, connections: u32) -> Result<Store> {
        let store = Store::connect(self.url(role)?, connections).await;
        store.with_context(|| format!("{} cannot log in", role.name()))
    }
}

/// Where a role's password is kept.
const fn reference(role: Role) -> &'static str {
    match role {
        Role::Intake => "database/intake",
        Role::Engine => "database/engine",
        Role::Session => "database/session",
        Role::Casebook => "database/casebook",
        Role::Api => "database/api",
    }
}

/// The same place for somebody else.
fn url(owner: &str, name: &str, password: &str) -> Result<String> {
    let (_, place) = owner
        .rsplit_once('@')
        .context("the private PostgreSQL's address names no user")?;
    Ok(format!("postgres://{name}:{password}@{place}"))
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_reaches_the_same_place_with_its_own_password_alone() {
        let owner = "postgres://nightshift:0wners@127.0.0.1:4/nightshift";
        let url = url(owner, Role::Casebook.name(), "c4sebook").unwrap();
        assert_eq!(
            url,
            "postgres://nightshift_casebook:c4sebook@127.0.0.1:4/nightshift"
        );
    }
}
