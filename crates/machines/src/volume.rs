//! Volumes: a disk on one host, for one machine of one app.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{Client, Guest, MachinesError, transport::Call};

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// The provider's id, `vol_…`.
    pub id: String,
    /// Its name; many volumes may share one.
    #[serde(default)]
    pub name: String,
    /// Where it is in its life.
    pub state: VolumeState,
    /// Where it lies.
    #[serde(default)]
    pub region: String,
    /// Its size in GB.
    #[serde(default)]
    pub size_gb: u64,
    /// The machine that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attached_machine_id: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// Where a volume is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VolumeState {
    /// Being made.
    Creating,
    /// There.
    Created,
    /// Growing.
    Extending,
    /// Being filled from a snapshot.
    Restoring,
    /// Being prepared for a fork on another host.
    EnablingRemoteExport,
    /// Usable while its data still arrives.
    Hydrating,
    /// Being brought back after a failure of its host.
    Recovering,
    /// About to be deleted.
    SchedulingDestroy,
    /// Deleted; listed for a day, not billed.
    PendingDestroy,
    /// Losing its machine.
    WaitingForDetach,
    /// Being cleaned up after a fork.
    ForkCleanup,
    /// Being deleted for good.
    Destroying,
    /// A word this version does not know.
    #[serde(other)]
    Unknown,
}

impl VolumeState {
    /// Whether it is on its way out, whatever lists still show.
    #[must_use]
    pub const fn is_leaving(self) -> bool {
        match self {
            Self::SchedulingDestroy
            | Self::PendingDestroy
            | Self::WaitingForDetach
            | Self::Destroying => true,
            Self::Creating
            | Self::Created
            | Self::Extending
            | Self::Restoring
            | Self::EnablingRemoteExport
            | Self::Hydrating
            | Self::Recovering
            | Self::ForkCleanup
            | Self::Unknown => false,
        }
    }
}

/// A volume to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewVolume {
    /// Its name: lowercase letters, digits and underscores, at most 30 characters.
    pub name: String,
    /// One concrete region.
    pub region: String,
    /// Its size in GB, 1 to 500.
    pub size_gb: u64,
    /// What the machine will need, so that its host has room for it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub compute: Option<Guest>,
    /// Whether its data lies encrypted.
    #[serde(default = "yes")]
    pub encrypted: bool,
    /// Whether the provider snapshots it each day.
    #[serde(default = "yes")]
    pub auto_backup_enabled: bool,
    /// Whether it must lie on other hardware than the volumes of the same name.
    #[serde(default = "yes")]
    pub require_unique_zone: bool,
}

const fn yes() -> bool {
    true
}

impl NewVolume {
    /// A volume for one sandbox: encrypted, never backed up, placed wherever there is room.
    #[must_use]
    pub fn for_sandbox(name: impl Into<String>, region: impl Into<String>, size_gb: u64) -> Self {
        Self {
            name: name.into(),
            region: region.into(),
            size_gb,
            compute: None,
            encrypted: true,
            auto_backup_enabled: false,
            require_unique_zone: false,
        }
    }
}

impl Client {
    /// Creates a volume. Names are not unique, so a repeat makes a second one: after
    /// [`MachinesError::Ambiguous`] use [`Client::find_volume`] first.
    pub async fn create_volume(
        &self,
        app: &str,
        volume: &NewVolume,
    ) -> Result<Volume, MachinesError> {
        self.send(Call::post(["apps", app, "volumes"]).json(volume)?)
            .await
    }

    /// Reads a volume. A deleted one is still shown for a day, as leaving.
    pub async fn volume(&self, app: &str, id: &str) -> Result<Volume, MachinesError> {
        self.send(Call::read(["apps", app, "volumes", id])).await
    }

    /// Lists an app's volumes, the deleted ones of the last day among them.
    pub async fn volumes(&self, app: &str) -> Result<Vec<Volume>, MachinesError> {
        self.paged(|| Call::read(["apps", app, "volumes"])).await
    }

    /// The app's volume of that name that is not leaving, if there is one.
    pub async fn find_volume(
        &self,
        app: &str,
        name: &str,
    ) -> Result<Option<Volume>, MachinesError> {
        let volumes = self.volumes(app).await?;
        Ok(volumes
            .into_iter()
            .find(|volume| volume.name == name && !volume.state.is_leaving()))
    }

    /// Deletes a volume. [`MachinesError::VolumeClaimed`] while a machine, even a dying one, still
    /// has it: try again for some minutes.
    pub async fn delete_volume(&self, app: &str, id: &str) -> Result<(), MachinesError> {
        self.answer(Call::delete(["apps", app, "volumes", id]))
            .await
            .map(drop)
    }
}
