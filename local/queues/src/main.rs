//! `queues`: SQS on one machine.

fn main() {}
