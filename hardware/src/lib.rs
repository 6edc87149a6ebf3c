//! What a machine is (detection, telemetry, roofline) and what it costs (price sheets).

pub mod api_cost;
pub mod api_limits;
pub mod band;
pub mod detect;
pub mod device;
pub mod finance;
pub mod fit;
pub mod import;
pub mod machine;
pub mod money;
pub mod owned;
pub mod roofline;
pub mod sheet;
pub mod telemetry;
pub mod units;

pub use api_cost::{ApiCost, ApiCostLine, ApiCostNote, Dimension, Usage, api_cost};
pub use detect::detect;
pub use machine::Machine;
pub use money::{Usd, UsdPerHour, UsdPerMillionTokens};
pub use sheet::{
    ApiPrice, AsOf, ComputePrice, ComputeQuery, Freshness, Origin, PriceBook, Service, SheetError, Term,
};
pub use units::Bytes;
