//! What an organisation has in all its apps, and the pages that long lists come in.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{App, Client, Guest, MachineState, MachinesError, transport::Call};

/// Entries asked for at once; the most the provider gives.
const PAGE: u32 = 1000;

/// A machine as the organisation's list shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrgMachine {
    /// The provider's id.
    pub id: String,
    /// Its app.
    pub app_name: String,
    /// Our name for it.
    pub name: String,
    /// Where it runs.
    #[serde(default)]
    pub region: String,
    /// Where it is in its life.
    pub state: MachineState,
    /// The version of its configuration.
    #[serde(default)]
    pub version: String,
    /// Some of its configuration.
    #[serde(default)]
    pub config: OrgMachineConfig,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

/// The part of a configuration that the organisation's list shows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrgMachineConfig {
    /// Its image.
    #[serde(default)]
    pub image: String,
    /// Processors and memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest: Option<Guest>,
    /// Words of ours to find it by.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

/// One page of the organisation's machines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrgMachinesPage {
    /// The machines.
    #[serde(default)]
    pub machines: Vec<OrgMachine>,
    /// Regions that did not answer, whose machines are missing here.
    #[serde(default)]
    pub error_regions: Vec<String>,
    /// Where the next page begins; absent or empty at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// The organisation's machines, as far as the provider could tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrgMachines {
    /// The machines of the regions that answered.
    pub machines: Vec<OrgMachine>,
    /// Regions that did not answer. While there are any, absence means nothing.
    pub error_regions: Vec<String>,
}

/// One page of the organisation's apps.
#[derive(Deserialize)]
struct AppsPage {
    #[serde(default)]
    apps: Vec<App>,
    #[serde(default)]
    next_cursor: Option<String>,
}

impl Client {
    /// Lists the organisation's apps, in all pages.
    pub async fn org_apps(&self, org: &str) -> Result<Vec<App>, MachinesError> {
        let mut all = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut call = Call::read(["apps"])
                .query("org_slug", org)
                .query("limit", &PAGE);
            if let Some(cursor) = &cursor {
                call = call.query("cursor", cursor);
            }
            let page: AppsPage = self.send(call).await?;
            all.extend(page.apps);
            let next = page.next_cursor.filter(|next| !next.is_empty());
            if next.is_none() || next == cursor {
                return Ok(all);
            }
            cursor = next;
        }
    }

    /// Lists the organisation's machines that are not destroyed, in all pages.
    pub async fn org_machines(&self, org: &str) -> Result<OrgMachines, MachinesError> {
        let mut all = OrgMachines::default();
        let mut cursor: Option<String> = None;
        loop {
            let mut call = Call::read(["orgs", org, "machines"]).query("limit", &PAGE);
            if let Some(cursor) = &cursor {
                call = call.query("cursor", cursor);
            }
            let page: OrgMachinesPage = self.send(call).await?;
            all.machines.extend(page.machines);
            for region in page.error_regions {
                if !all.error_regions.contains(&region) {
                    all.error_regions.push(region);
                }
            }
            let next = page.next_cursor.filter(|next| !next.is_empty());
            if next.is_none() || next == cursor {
                return Ok(all);
            }
            cursor = next;
        }
    }

    /// Reads a list that comes in pages; a page may be short or empty and still not be the last.
    pub(crate) async fn paged<T: DeserializeOwned>(
        &self,
        call: impl Fn() -> Call,
    ) -> Result<Vec<T>, MachinesError> {
        let mut all = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut page = call().query("limit", &PAGE);
            if let Some(cursor) = &cursor {
                page = page.query("cursor", cursor);
            }
            let answer = self.answer(page).await?;
            all.extend(answer.parse::<Vec<T>>()?);
            let next = answer
                .headers
                .get("fly-next-cursor")
                .and_then(|next| next.to_str().ok());
            let next = next.filter(|next| !next.is_empty()).map(str::to_owned);
            if next.is_none() || next == cursor {
                return Ok(all);
            }
            cursor = next;
        }
    }
}
