//! All checks, by what they are about.

mod batches;
mod dead_letters;
mod fifo;
mod fifo_order;
mod limits;
mod protocol;
mod queues;
mod receiving;
mod sending;
mod visibility;

use crate::check::Check;

pub(crate) fn all() -> Vec<Check> {
    [
        queues::CHECKS,
        limits::CHECKS,
        sending::CHECKS,
        batches::CHECKS,
        receiving::CHECKS,
        visibility::CHECKS,
        dead_letters::CHECKS,
        fifo::CHECKS,
        fifo_order::CHECKS,
        protocol::CHECKS,
    ]
    .concat()
}
