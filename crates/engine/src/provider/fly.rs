//! The provider over the Machines API: Fly's, or `machined`'s on one machine.

use std::time::Duration;

use nightshift_machines::{
    Client, Guest, MachineConfig, MachineState, MachinesError, Mount, NewMachine, NewNetworkPolicy,
    NewVolume, PolicyPort, Restart, RestartPolicy, WaitFor,
};

use super::{Answer, Inventory, Listed, MachinePlan, Made, Presence, Provider, Remains};

/// Every app has one volume and one machine of these names.
const NAME: &str = "sandbox";
const MOUNT: &str = "/data";
const POLICY: &str = "servers-only";
const DESTROY_PATIENCE: Duration = Duration::from_secs(30);

/// The Machines API as a [`Provider`].
#[derive(Debug, Clone)]
pub struct Fly {
    client: Client,
    organisation: String,
    egress: Vec<PolicyPort>,
    guest: Guest,
}

impl Fly {
    /// Machines of `organisation`, which may reach others only on the ports of `egress`.
    #[must_use]
    pub const fn new(
        client: Client,
        organisation: String,
        egress: Vec<PolicyPort>,
        guest: Guest,
    ) -> Self {
        Self {
            client,
            organisation,
            egress,
            guest,
        }
    }

    async fn fence(&self, app: &str) -> Result<(), MachinesError> {
        let policies = self.client.network_policies(app).await?;
        if policies.iter().any(|found| found.policy.name == POLICY) {
            return Ok(());
        }
        let policy = NewNetworkPolicy::egress_only(POLICY, &self.egress);
        self.client
            .create_network_policy(app, &policy)
            .await
            .map(drop)
    }

    async fn found_volume(&self, app: &str) -> Result<Option<String>, MachinesError> {
        let volumes = self.client.volumes(app).await?;
        let usable = volumes
            .into_iter()
            .find(|volume| !volume.state.is_leaving());
        Ok(usable.map(|volume| volume.id))
    }

    async fn adopt(
        &self,
        app: &str,
        machine: Option<String>,
    ) -> Result<Option<Made>, MachinesError> {
        let found = match machine {
            Some(id) => Some(self.client.machine(app, &id).await?),
            None => self.client.find_machine(app, NAME).await?,
        };
        Ok(found.map(|machine| Made {
            machine: machine.id,
            version: machine.instance_id,
        }))
    }
}

impl Provider for Fly {
    fn make_app<'a>(&'a self, app: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            match self.client.create_app(app, &self.organisation, app).await {
                // A taken name holds an id that nobody else can have: it is ours, from a lost answer.
                Ok(_) | Err(MachinesError::AppNameTaken(_)) => {}
                Err(error) => return Err(error),
            }
            self.fence(app).await
        })
    }

    fn make_volume<'a>(
        &'a self,
        app: &'a str,
        region: &'a str,
        size_gb: u64,
    ) -> Answer<'a, String> {
        Box::pin(async move {
            if let Some(id) = self.found_volume(app).await? {
                return Ok(id);
            }
            let mut volume = NewVolume::for_sandbox(NAME, region, size_gb);
            volume.compute = Some(self.guest.clone());
            Ok(self.client.create_volume(app, &volume).await?.id)
        })
    }

    fn make_machine<'a>(&'a self, app: &'a str, plan: &'a MachinePlan) -> Answer<'a, Made> {
        Box::pin(async move {
            let machine = NewMachine {
                name: NAME.to_owned(),
                region: plan.region.clone(),
                config: MachineConfig {
                    image: plan.image.clone(),
                    env: plan.env.clone(),
                    guest: Some(self.guest.clone()),
                    mounts: vec![Mount {
                        volume: plan.volume.clone(),
                        path: MOUNT.to_owned(),
                    }],
                    restart: Some(Restart {
                        policy: RestartPolicy::No,
                        max_retries: None,
                    }),
                    metadata: plan.metadata.clone(),
                    ..MachineConfig::default()
                },
                skip_launch: true,
            };
            match self.client.create_machine(app, &machine).await {
                Ok(made) => Ok(Made {
                    machine: made.id,
                    version: made.instance_id,
                }),
                Err(MachinesError::NameTaken { machine, refusal }) => {
                    let found = self.adopt(app, machine.clone()).await?;
                    found.ok_or(MachinesError::NameTaken { machine, refusal })
                }
                Err(error) => Err(error),
            }
        })
    }

    fn wait_stopped<'a>(
        &'a self,
        app: &'a str,
        machine: &'a str,
        patience: Duration,
    ) -> Answer<'a, Option<i32>> {
        Box::pin(async move {
            let at_rest = [WaitFor::Stopped, WaitFor::Failed];
            let waited = self
                .client
                .wait_any(app, machine, &at_rest, patience)
                .await?;
            if waited.state == WaitFor::Failed.name() {
                // Nothing of it runs, and an exit that is known is that of an earlier start.
                return Ok(None);
            }
            let seen = self.client.machine(app, machine).await?;
            Ok(seen.last_exit().map(|exit| exit.exit_code))
        })
    }

    fn start<'a>(&'a self, app: &'a str, machine: &'a str) -> Answer<'a, ()> {
        Box::pin(async move { self.client.start(app, machine).await.map(drop) })
    }

    fn stop<'a>(&'a self, app: &'a str, machine: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            match self.client.stop(app, machine).await {
                Ok(()) => Ok(()),
                Err(error) if error.is_gone() => Ok(()),
                Err(error) => Err(error),
            }
        })
    }

    fn remove<'a>(&'a self, app: &'a str, remains: &'a Remains) -> Answer<'a, ()> {
        Box::pin(async move {
            if let Some(machine) = &remains.machine {
                gone_is_fine(self.client.force_delete_machine(app, machine).await)?;
                let destroyed = self
                    .client
                    .wait(app, machine, WaitFor::Destroyed, DESTROY_PATIENCE)
                    .await;
                gone_is_fine(destroyed.map(drop))?;
            }
            if let Some(volume) = &remains.volume {
                match self.client.delete_volume(app, volume).await {
                    Err(MachinesError::VolumeGone(_)) => {}
                    deleted => gone_is_fine(deleted.map(drop))?,
                }
            }
            // Takes along whatever an interrupted provisioning made and never told us of.
            gone_is_fine(self.client.delete_app(app).await)
        })
    }

    fn inventory(&self) -> Answer<'_, Inventory> {
        Box::pin(async move {
            let mut found = Inventory::default();
            for app in self.client.org_apps(&self.organisation).await? {
                found.apps.entry(app.name).or_default();
            }
            let machines = self.client.org_machines(&self.organisation).await?;
            found.silent_regions = machines.error_regions;
            for machine in machines.machines {
                if is_leaving(machine.state) {
                    continue;
                }
                let listed = Listed {
                    machine: machine.id,
                    version: machine.version,
                    metadata: machine.config.metadata,
                };
                found.apps.entry(machine.app_name).or_default().push(listed);
            }
            Ok(found)
        })
    }

    fn presence<'a>(&'a self, app: &'a str, machine: &'a str) -> Answer<'a, Presence> {
        Box::pin(async move {
            match self.client.machine(app, machine).await {
                Ok(found) if is_leaving(found.state) => Ok(Presence::Gone),
                Ok(_) => Ok(Presence::There),
                Err(error) if error.is_gone() => Ok(Presence::Gone),
                Err(error) => Err(error),
            }
        })
    }
}

const fn is_leaving(state: MachineState) -> bool {
    matches!(
        state,
        MachineState::Destroying | MachineState::Destroyed | MachineState::Replaced
    )
}

fn gone_is_fine(result: Result<(), MachinesError>) -> Result<(), MachinesError> {
    match result {
        Err(error) if error.is_gone() => Ok(()),
        other => other,
    }
}
