//! From raw samples to what people look at: rates of counters, quantiles of histograms, evenly spaced.

mod counter;
mod derive;
mod grid;
mod histogram;

pub use derive::{Derived, Quantity, derive};
pub use grid::Grid;
