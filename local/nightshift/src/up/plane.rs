//! The control plane, in one of its two forms: in this process, or as functions over queues.

use anyhow::Result;
use nightshift_engine::Platform;

use super::{
    control::Control,
    database::Database,
    lambda::{Functions, Lambda},
    plan::Choices,
    ports::Ports,
    secrets::StackSecrets,
};
use crate::checkout::Checkout;

/// What a control plane is told of its stack.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts<'a> {
    pub(super) checkout: &'a Checkout,
    pub(super) ports: &'a Ports,
    pub(super) secrets: &'a StackSecrets,
    pub(super) choices: &'a Choices,
    pub(super) database: &'a Database,
}

/// A control plane.
#[derive(Debug)]
pub(super) enum Plane {
    /// In this process.
    InProcess(Control),
    /// As functions.
    Lambda(Lambda),
}

impl Plane {
    /// Serves session, which sandboxes and servers ask, and the API. Nothing is taken in yet. As
    /// functions where it is said how.
    pub(super) async fn open(
        parts: Parts<'_>,
        platform: Platform,
        functions: Option<&Functions>,
    ) -> Result<Self> {
        Ok(match functions {
            None => Self::InProcess(Control::open(parts, platform).await?),
            Some(how) => Self::Lambda(Lambda::open(parts, platform, how).await?),
        })
    }

    /// Begins to work; alerts are taken from here on.
    pub(super) async fn begin(&mut self, ports: &Ports, secrets: &StackSecrets) -> Result<()> {
        match self {
            Self::InProcess(control) => control.begin(ports, secrets).await,
            Self::Lambda(lambda) => lambda.begin(ports).await,
        }
    }

    /// What the use cases run on.
    pub(super) const fn platform(&self) -> &Platform {
        match self {
            Self::InProcess(control) => &control.platform,
            Self::Lambda(lambda) => &lambda.platform,
        }
    }

    /// Takes no more alerts. What was accepted stays accepted.
    pub(super) fn refuse_alerts(&self) {
        match self {
            Self::InProcess(control) => control.refuse_alerts(),
            Self::Lambda(lambda) => lambda.refuse_alerts(),
        }
    }

    /// Carries out no more steps; those under way may finish.
    pub(super) async fn stop_engine(&mut self) {
        match self {
            Self::InProcess(control) => control.stop_engine().await,
            Self::Lambda(lambda) => lambda.stop_engine().await,
        }
    }

    /// Ends what is left.
    pub(super) async fn close(self) {
        match self {
            Self::InProcess(control) => control.close().await,
            Self::Lambda(lambda) => lambda.close().await,
        }
    }
}
