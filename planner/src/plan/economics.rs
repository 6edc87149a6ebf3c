//! Unit economics of an option, as part of a plan: what one request, one success and one resolved ticket come to.

use breakeven_hardware::Usd;
use serde::{Deserialize, Serialize};

use super::Provenance;

/// One figure of the table. What a product does not give has no row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct UnitFigure {
    /// Which: `usd_per_completed_request`, `retry_rate:answer`…
    pub id: String,
    /// For a reader, with what it is per.
    pub label: String,
    /// The figure, in its unit.
    #[serde(flatten)]
    pub quantity: Quantity,
    /// Where it comes from.
    pub from: Provenance,
}

/// A figure in its unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// Dollars.
    Usd(Usd),
    /// A person's minutes.
    Minutes(f64),
    /// Gigabytes, 10⁹ bytes.
    Gb(f64),
    /// A share of 1.
    Share(f64),
    /// Retries a call.
    RetriesPerCall(f64),
}
