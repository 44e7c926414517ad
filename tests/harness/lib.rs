//! A whole platform in one process: a real database, a clock that stands still until it is told, and a
//! provider that is as strict as the real one.

mod clock;
mod cloud;
mod post;
mod world;

pub use clock::TestClock;
pub use cloud::{Cloud, Fault};
pub use post::Post;
pub use world::{World, WorldBuilder};
