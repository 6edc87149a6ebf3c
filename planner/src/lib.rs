//! Workload to capacity to cost to decision: pure functions, no clock, no I/O, no randomness but a seed.

pub mod plan;
pub mod product;

pub use plan::Plan;
pub use product::Product;
