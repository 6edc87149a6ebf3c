//! A fleet of replicas under load, event by event: what queues in closed form cannot say.
//!
//! | file | holds |
//! |---|---|
//! | [`arrivals`] | requests: Poisson, gamma or constant gaps, constant or hour-of-week rate |
//! | [`trace`] | requests of a recorded trace |
//! | [`settings`] | what is simulated: replicas, router, failures, autoscaler |
//! | `replica` | one replica: continuous batching, chunked prefill, KV memory, preemption, prefix cache |
//! | `run` | many identical steps as one event, the reason for the speed |
//! | `prefix_cache` | which shared prefixes a replica still holds |
//! | `router` | which replica takes a request |
//! | `autoscaler` | how many replicas to want |
//! | `fleet` | the events in order |
//! | `clock` | which replica is next |
//! | [`outcome`] | what came of it |
//!
//! Time is simulated seconds from 0. The fleet itself draws nothing at random: the same requests give the same outcome.

pub mod arrivals;
mod autoscaler;
mod clock;
mod fleet;
pub mod outcome;
mod prefix_cache;
mod replica;
mod router;
mod run;
pub mod settings;
pub mod trace;

pub use arrivals::{Arrivals, Gaps, Prefix, RateProfile, Request};
pub use fleet::simulate;
pub use outcome::{Outcome, TimelinePoint};
pub use settings::{Autoscaler, Failure, ReplicaSettings, Router, ScaleOn, Scenario, SimulationError};
