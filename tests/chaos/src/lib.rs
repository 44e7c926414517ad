//! Black-box chaos: a stack of functions and queues under load, whose processes are killed, whose database
//! is cut off and whose machines go away; afterwards every alert must have come to its end all the same.
//!
//! The seed decides what is done to it and when. What comes of that depends on the machine, so a run that
//! fails need not fail again with its seed; the crash explorer is what replays.
//!
//! Or, gentler, a rotation of keys under live runs of which none may notice anything.

mod audit;
mod faults;
mod load;
mod outcome;
mod plan;
mod receiver;
mod rotation;
mod run;

pub use faults::Done;
pub use outcome::Outcome;
pub use plan::Fault;
pub use rotation::{HeldModel, Plant, Rotation, RotationOutcome, Struck};
pub use run::Chaos;
