//! Rates and fractions that cannot hold nonsense: checked once, where they enter.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a number was refused.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum QuantityError {
    /// Not between 0 and 1.
    #[error("expected a probability or share from 0 to 1, found {0}")]
    NotAFraction(f64),
    /// Zero, negative, infinite or NaN.
    #[error("expected a rate above 0 requests per second, found {0}")]
    NotARate(f64),
}

/// A share or probability: finite, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "f64", into = "f64")]
pub struct Fraction(f64);

impl Fraction {
    /// Nothing.
    pub const ZERO: Self = Self(0.0);
    /// Everything.
    pub const ONE: Self = Self(1.0);

    /// Checks and wraps a value from 0 to 1.
    pub fn new(value: f64) -> Result<Self, QuantityError> {
        if (0.0..=1.0).contains(&value) { Ok(Self(value)) } else { Err(QuantityError::NotAFraction(value)) }
    }

    /// `part` of `whole`; `None` of nothing. A part larger than its whole counts as all of it.
    pub fn of(part: u64, whole: u64) -> Option<Self> {
        (whole > 0).then(|| Self((part as f64 / whole as f64).min(1.0)))
    }

    /// The value, from 0 to 1.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Fraction {
    type Error = QuantityError;
    fn try_from(value: f64) -> Result<Self, QuantityError> {
        Self::new(value)
    }
}

impl From<Fraction> for f64 {
    fn from(fraction: Fraction) -> Self {
        fraction.0
    }
}

impl fmt::Display for Fraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} %", self.0 * 100.0)
    }
}

/// Requests per second: finite and above zero.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "f64", into = "f64")]
pub struct RequestRate(f64);

impl RequestRate {
    /// Checks and wraps a rate in requests per second.
    pub fn new(per_second: f64) -> Result<Self, QuantityError> {
        if per_second.is_finite() && per_second > 0.0 {
            Ok(Self(per_second))
        } else {
            Err(QuantityError::NotARate(per_second))
        }
    }

    /// Requests per second.
    pub fn per_second(self) -> f64 {
        self.0
    }

    /// This rate times a factor above zero; `None` where the product is no rate.
    pub fn scaled(self, factor: f64) -> Option<Self> {
        Self::new(self.0 * factor).ok()
    }
}

impl TryFrom<f64> for RequestRate {
    type Error = QuantityError;
    fn try_from(value: f64) -> Result<Self, QuantityError> {
        Self::new(value)
    }
}

impl From<RequestRate> for f64 {
    fn from(rate: RequestRate) -> Self {
        rate.0
    }
}

impl fmt::Display for RequestRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.0;
        if rate >= 100.0 {
            write!(f, "{rate:.0} req/s")
        } else if rate >= 10.0 {
            write!(f, "{rate:.1} req/s")
        } else {
            write!(f, "{rate:.2} req/s")
        }
    }
}

/// `Duration` as a plain number of seconds in JSON (`*_seconds` keys).
pub mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de};

    /// Writes seconds as a number.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(duration.as_secs_f64())
    }

    /// Reads a number of seconds, refusing negative and absurd ones.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let value = f64::deserialize(deserializer)?;
        Duration::try_from_secs_f64(value)
            .map_err(|_| de::Error::custom(format!("expected seconds, 0 or more, found {value}")))
    }
}

/// The same for a duration that may be absent.
pub mod optional_seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    /// Writes seconds as a number, or null.
    pub fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        duration.map(|d| d.as_secs_f64()).serialize(serializer)
    }

    /// Reads a number of seconds, or null.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Option::<f64>::deserialize(deserializer)?
            .map(|value| {
                Duration::try_from_secs_f64(value)
                    .map_err(|_| de::Error::custom(format!("expected seconds, 0 or more, found {value}")))
            })
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_refused_with_the_value_and_the_expectation() {
        assert_eq!(
            Fraction::new(1.2).unwrap_err().to_string(),
            "expected a probability or share from 0 to 1, found 1.2"
        );
        assert!(Fraction::new(f64::NAN).is_err());
        assert!(RequestRate::new(0.0).is_err());
        assert!(RequestRate::new(f64::INFINITY).is_err());
        assert_eq!(Fraction::of(1, 0), None);
    }
}
