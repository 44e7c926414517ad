//! Apps: a name and, for life, a network of its own.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{Client, MachinesError, transport::Call};

/// An app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    /// The provider's id.
    pub id: String,
    /// Its name: under 63 characters of digits, lowercase letters and dashes.
    pub name: String,
    /// For example `pending`, `deployed` or `suspended`.
    #[serde(default)]
    pub status: String,
    /// Whose it is.
    #[serde(default)]
    pub organization: AppOrganization,
    /// The private network its machines are in. Never changes.
    #[serde(default)]
    pub network: String,
    /// Machines it has.
    #[serde(default)]
    pub machine_count: u64,
    /// Volumes it has.
    #[serde(default)]
    pub volume_count: u64,
}

/// The organisation of an app.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppOrganization {
    /// Its name for people.
    #[serde(default)]
    pub name: String,
    /// Its name in URLs and claims.
    #[serde(default)]
    pub slug: String,
}

/// The answer to creating an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedApp {
    /// The provider's id.
    #[serde(default)]
    pub id: String,
    /// When, in milliseconds since 1970.
    #[serde(default)]
    pub created_at: i64,
}

impl Client {
    /// Creates an app in a network of its own; the network is made with it.
    ///
    /// The app's name is also the idempotency key, so a repeat gives the first app.
    /// [`MachinesError::AppNameTaken`] means that another call made it: compare with
    /// [`Client::app`].
    pub async fn create_app(
        &self,
        name: &str,
        org: &str,
        network: &str,
    ) -> Result<CreatedApp, MachinesError> {
        let body = json!({
            "name": name,
            "org_slug": org,
            "network": network,
            "idempotency_key": name,
        });
        self.send(Call::post(["apps"]).json(&body)?).await
    }

    /// Reads an app.
    pub async fn app(&self, name: &str) -> Result<App, MachinesError> {
        self.send(Call::read(["apps", name])).await
    }

    /// Deletes an app with what is left in it. The provider does so later; this only asks.
    pub async fn delete_app(&self, name: &str) -> Result<(), MachinesError> {
        self.answer(Call::delete(["apps", name]).query("force", &true))
            .await?;
        self.inner.affinity.forget(name);
        Ok(())
    }
}
