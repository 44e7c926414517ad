//! Network policies: which ports an app's machines may use. Ports only; hosts cannot be named.

use serde::{Deserialize, Serialize};

use crate::{Client, MachinesError, transport::Call};

/// A policy to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewNetworkPolicy {
    /// Its name.
    pub name: String,
    /// The machines it is for.
    pub selector: PolicySelector,
    /// What is allowed. The first rule of a direction forbids all else in that direction.
    pub rules: Vec<PolicyRule>,
}

/// A policy that exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkPolicy {
    /// The provider's id.
    pub id: String,
    /// What it says.
    #[serde(flatten)]
    pub policy: NewNetworkPolicy,
}

/// The machines a policy is for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicySelector {
    /// Every machine of the app.
    #[serde(default)]
    pub all: bool,
}

/// One thing that is allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRule {
    /// The provider knows only one action.
    pub action: PolicyAction,
    /// Which way.
    pub direction: Direction,
    /// Through which ports.
    pub ports: Vec<PolicyPort>,
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PolicyAction {
    /// Lets it pass.
    Allow,
}

/// Which way traffic goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Into the machine.
    Ingress,
    /// Out of the machine.
    Egress,
}

/// A port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyPort {
    /// Over what.
    pub protocol: Protocol,
    /// Its number.
    pub port: u16,
}

/// What a port speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl NewNetworkPolicy {
    /// Lets every machine of the app out through the given ports, and nothing in.
    ///
    /// A direction without a rule stays open, so the way in gets one rule, for a port that nothing
    /// listens on (discard).
    #[must_use]
    pub fn egress_only(name: impl Into<String>, ports: &[PolicyPort]) -> Self {
        let rule = |direction, ports| PolicyRule {
            action: PolicyAction::Allow,
            direction,
            ports,
        };
        let discard = PolicyPort {
            protocol: Protocol::Tcp,
            port: 9,
        };
        Self {
            name: name.into(),
            selector: PolicySelector { all: true },
            rules: vec![
                rule(Direction::Egress, ports.to_vec()),
                rule(Direction::Ingress, vec![discard]),
            ],
        }
    }
}

impl Client {
    /// Gives an app a policy. It takes effect at the next start of each machine.
    pub async fn create_network_policy(
        &self,
        app: &str,
        policy: &NewNetworkPolicy,
    ) -> Result<NetworkPolicy, MachinesError> {
        self.send(Call::post(["apps", app, "network_policies"]).json(policy)?)
            .await
    }

    /// Lists an app's policies.
    pub async fn network_policies(&self, app: &str) -> Result<Vec<NetworkPolicy>, MachinesError> {
        self.send(Call::read(["apps", app, "network_policies"]))
            .await
    }

    /// Takes a policy away.
    pub async fn delete_network_policy(&self, app: &str, id: &str) -> Result<(), MachinesError> {
        self.answer(Call::delete(["apps", app, "network_policies", id]))
            .await
            .map(drop)
    }
}
