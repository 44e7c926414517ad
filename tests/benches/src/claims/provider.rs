//! A provider and a courier that are never asked: grants need none.

use std::time::Duration;

use futures_util::future::BoxFuture;
use nightshift_engine::courier::{Courier, CourierError, Parcel, Receipt};
use nightshift_engine::provider::{
    Answer, Inventory, MachinePlan, Made, Presence, Provider, Remains,
};
use nightshift_machines::{Failure, MachinesError, Refusal};

/// Refuses everything.
#[derive(Debug)]
pub(crate) struct Nowhere;

fn refused<T>() -> Answer<'static, T> {
    let refusal = Refusal::read(503, b"{}");
    Box::pin(async move { Err(MachinesError::Ambiguous(Failure::Answer(refusal))) })
}

impl Provider for Nowhere {
    fn make_app<'a>(&'a self, _: &'a str) -> Answer<'a, ()> {
        refused()
    }

    fn make_volume<'a>(&'a self, _: &'a str, _: &'a str, _: u64) -> Answer<'a, String> {
        refused()
    }

    fn make_machine<'a>(&'a self, _: &'a str, _: &'a MachinePlan) -> Answer<'a, Made> {
        refused()
    }

    fn wait_stopped<'a>(&'a self, _: &'a str, _: &'a str, _: Duration) -> Answer<'a, Option<i32>> {
        refused()
    }

    fn start<'a>(&'a self, _: &'a str, _: &'a str) -> Answer<'a, ()> {
        refused()
    }

    fn stop<'a>(&'a self, _: &'a str, _: &'a str) -> Answer<'a, ()> {
        refused()
    }

    fn remove<'a>(&'a self, _: &'a str, _: &'a Remains) -> Answer<'a, ()> {
        refused()
    }

    fn inventory(&self) -> Answer<'_, Inventory> {
        refused()
    }

    fn presence<'a>(&'a self, _: &'a str, _: &'a str) -> Answer<'a, Presence> {
        refused()
    }
}

impl Courier for Nowhere {
    fn deliver<'a>(&'a self, _: &'a Parcel) -> BoxFuture<'a, Result<Receipt, CourierError>> {
        Box::pin(async { Err(CourierError::Address("nothing is delivered in a benchmark")) })
    }
}
