//! Values as people type them, parsed once into types that cannot hold nonsense.

use std::{fmt, str::FromStr, time::Duration};

use breakeven_hardware::Usd;
use serde::{Deserialize, Deserializer, de};

/// A duration with its unit: `"1500 ms"`, `"2 s"`, `"5 min"`, `"1 h"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextDuration(pub Duration);

const DURATION: &str =
    "a duration with its unit in quotes, such as \"1500 ms\", \"2 s\", \"5 min\" or \"1 h\"";

impl schemars::JsonSchema for TextDuration {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": DURATION,
            "type": "string",
            "pattern": r"^\s*[0-9.]+\s*(us|ms|s|min|h)\s*$"
        })
    }
}

impl<'de> Deserialize<'de> for TextDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = TextDuration;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(DURATION)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<TextDuration, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<TextDuration, E> {
                Err(E::custom(format!("expected {DURATION}, found {number} without a unit")))
            }
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<TextDuration, E> {
                Err(E::custom(format!("expected {DURATION}, found {number} without a unit")))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl FromStr for TextDuration {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        parse_duration(text).map(Self).ok_or_else(|| format!("expected {DURATION}, found \"{text}\""))
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let split = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at_checked(split)?;
    let number: f64 = number.trim().parse().ok()?;
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "min" => 60.0,
        "h" => 3_600.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number * seconds).ok().filter(|d| !d.is_zero())
}

/// A finite number above zero.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "f64")]
pub struct Positive(f64);

impl Positive {
    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Positive {
    type Error = String;
    fn try_from(value: f64) -> Result<Self, String> {
        if value.is_finite() && value > 0.0 {
            Ok(Self(value))
        } else {
            Err(format!("expected a number above 0, found {value}"))
        }
    }
}

/// A finite number, zero or more.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "f64")]
pub struct NonNegative(f64);

impl NonNegative {
    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for NonNegative {
    type Error = String;
    fn try_from(value: f64) -> Result<Self, String> {
        if value.is_finite() && value >= 0.0 {
            Ok(Self(value))
        } else {
            Err(format!("expected a number from 0 up, found {value}"))
        }
    }
}

/// An amount of US dollars, zero or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "f64")]
pub struct Price(pub Usd);

impl TryFrom<f64> for Price {
    type Error = String;
    fn try_from(value: f64) -> Result<Self, String> {
        Usd::from_f64(value)
            .filter(|_| value >= 0.0)
            .map(Self)
            .ok_or_else(|| format!("expected a price in US dollars from 0 up, found {value}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_their_unit() {
        assert_eq!(parse_duration("1500 ms"), Some(Duration::from_millis(1_500)));
        assert_eq!(parse_duration("2s"), Some(Duration::from_secs(2)));
        assert_eq!(parse_duration("1.5 h"), Some(Duration::from_secs(5_400)));
        for nonsense in ["", "5", "ms", "5 parsecs", "-1 s", "0 s", "1e400 s", "NaN s"] {
            assert_eq!(parse_duration(nonsense), None, "{nonsense}");
        }
    }
}
