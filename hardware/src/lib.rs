//! What a machine is (detection, telemetry, roofline) and what it costs (price sheets).

pub mod detect;
pub mod machine;
pub mod money;
pub mod units;

pub use detect::detect;
pub use machine::Machine;
pub use money::{Usd, UsdPerHour, UsdPerMillionTokens};
pub use units::Bytes;
