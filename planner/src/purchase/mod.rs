//! From replicas needed hour by hour to what to buy (DESIGN §4, *Purchase*).
//!
//! | file | holds |
//! |---|---|
//! | [`fleet_hours`] | replicas of every hour: headroom, losses, surge, and deferrable work in the valleys |
//! | [`one_type`] | the cheapest purchase of one hardware type, exactly, from the load-duration curve |
//! | [`horizon`] | the same over months that grow: commitments that start when they pay |
//! | [`mix`] | the cheapest mix of several types, as a mixed-integer program |

pub mod fleet_hours;
pub mod horizon;
pub mod mix;
pub mod one_type;

/// A number that no purchase can be made on.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PurchaseError {
    /// A number out of its range.
    #[error("expected {what} to be {expected}, found {value}")]
    Nonsense {
        /// What was given.
        what: &'static str,
        /// What was expected of it.
        expected: &'static str,
        /// Its value.
        value: f64,
    },
    /// Demand that nothing on offer can serve.
    #[error("nothing on offer serves the demand: add a machine, or an API to overflow to")]
    NoOffer,
    /// The solver gave up.
    #[error("failed to solve the purchase: {0}")]
    Solver(String),
}

pub(crate) fn require(
    ok: bool,
    what: &'static str,
    expected: &'static str,
    value: f64,
) -> Result<(), PurchaseError> {
    if ok { Ok(()) } else { Err(PurchaseError::Nonsense { what, expected, value }) }
}

pub(crate) fn price(what: &'static str, value: f64) -> Result<(), PurchaseError> {
    require(value.is_finite() && value >= 0.0, what, "0 or more USD", value)
}
