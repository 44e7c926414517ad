//! What machined promises, tried over HTTP with real sandboxes.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod awkward;
mod bounds;
mod durability;
mod ends;
mod faults;
mod gateway;
mod identity;
mod images;
mod isolation;
mod lists;
mod oci;
mod ordinary_user;
mod refusals;
mod states;
mod suspend;
mod virtual_machine;
mod vm_image;
mod world;
