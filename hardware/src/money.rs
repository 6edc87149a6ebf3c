//! Money: exact decimals, so that a bill's printed lines add up to its printed total.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub};

use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};

/// An amount of US dollars, exact; serialised as a string, rounded only by `Display`.
///
/// Arithmetic saturates at the largest decimal instead of panicking: amounts come from users' files.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct Usd(pub Decimal);

impl Usd {
    /// No money.
    pub const ZERO: Self = Self(Decimal::ZERO);

    /// The one conversion from binary floating point: `None` for NaN, infinities and amounts beyond 7.9e28.
    ///
    /// Keeps 15 significant digits, the most an `f64` always carries; the noise behind them is dropped.
    pub fn from_f64(amount: f64) -> Option<Self> {
        decimal_from_f64(amount).map(Self)
    }

    /// The nearest `f64`, for statistics and plots; never for sums that are printed.
    pub fn to_f64(self) -> f64 {
        decimal_to_f64(self.0)
    }

    /// This amount a number of times (hours, requests, shares).
    #[must_use]
    pub fn times(self, factor: Decimal) -> Self {
        Self(self.0.saturating_mul(factor))
    }

    /// This amount shared out; `None` where `parts` is zero.
    pub fn per(self, parts: Decimal) -> Option<Self> {
        self.0.checked_div(parts).map(Self)
    }

    /// Rounded to a number of decimals, half away from zero, as bills are.
    #[must_use]
    pub fn rounded(self, decimals: u32) -> Self {
        Self(self.0.round_dp_with_strategy(decimals, RoundingStrategy::MidpointAwayFromZero))
    }
}

/// A decimal from binary floating point at 15 significant digits; `None` for NaN, infinities and overflow.
pub(crate) fn decimal_from_f64(value: f64) -> Option<Decimal> {
    use rust_decimal::prelude::FromPrimitive;
    Decimal::from_f64(value)
}

/// The nearest `f64` to a decimal.
pub(crate) fn decimal_to_f64(value: Decimal) -> f64 {
    use rust_decimal::prelude::ToPrimitive;
    value.to_f64().unwrap_or(0.0)
}

impl Add for Usd {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Usd {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Usd {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Sum for Usd {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Usd {
    /// Cents from one dollar up; below that four significant digits, so that a price a token is not `$0.00`.
    ///
    /// A precision (`{:.3}`) asks for that many decimals instead.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = match f.precision() {
            Some(precision) => u32::try_from(precision).unwrap_or(Decimal::MAX_SCALE).min(Decimal::MAX_SCALE),
            None => display_decimals(self.0),
        };
        let rounded = self.rounded(decimals).0;
        let sign = if rounded.is_sign_negative() && !rounded.is_zero() { "-" } else { "" };
        write!(f, "{sign}${:.*}", usize::try_from(decimals).unwrap_or(2), rounded.abs())
    }
}

/// Decimals that show four significant digits below a dollar, two from there on.
fn display_decimals(amount: Decimal) -> u32 {
    let mut probe = amount.abs();
    if probe.is_zero() || probe >= Decimal::ONE {
        return 2;
    }
    let mut leading_zeros = 0;
    while probe < Decimal::new(1, 1) && leading_zeros < 20 {
        probe = probe.saturating_mul(Decimal::TEN);
        leading_zeros += 1;
    }
    leading_zeros + 4
}

/// Dollars an hour.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct UsdPerHour(pub Usd);

impl UsdPerHour {
    /// What a number of hours costs.
    #[must_use]
    pub fn for_hours(self, hours: Decimal) -> Usd {
        self.0.times(hours)
    }
}

impl fmt::Display for UsdPerHour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)?;
        f.write_str("/h")
    }
}

/// Dollars a million tokens, the unit API price lists are printed in.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct UsdPerMillionTokens(pub Usd);

impl UsdPerMillionTokens {
    /// What a number of tokens costs.
    #[must_use]
    pub fn for_tokens(self, tokens: u64) -> Usd {
        // Dividing by a power of ten first is exact (six decimals on at most 20 digits).
        self.0.times(Decimal::from_i128_with_scale(i128::from(tokens), 6))
    }
}

impl fmt::Display for UsdPerMillionTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)?;
        f.write_str("/M tokens")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn usd(text: &str) -> Usd {
        Usd(text.parse().unwrap())
    }

    #[test]
    fn prints_cents_and_keeps_small_prices_readable() {
        assert_eq!(usd("1234.565").to_string(), "$1234.57");
        assert_eq!(usd("0").to_string(), "$0.00");
        assert_eq!(usd("-3.1").to_string(), "-$3.10");
        assert_eq!(usd("0.000123456").to_string(), "$0.0001235");
        assert_eq!(usd("0.1").to_string(), "$0.1000");
        assert_eq!(format!("{:.3}", usd("2")), "$2.000");
        assert_eq!(format!("{:.2}", usd("-0.001")), "$0.00");
        assert_eq!(UsdPerHour(usd("2.5")).to_string(), "$2.50/h");
    }

    #[test]
    fn serialises_as_a_string() {
        assert_eq!(serde_json::to_string(&usd("0.10")).unwrap(), "\"0.10\"");
        assert_eq!(serde_json::from_str::<Usd>("\"0.10\"").unwrap(), usd("0.1"));
    }

    #[test]
    fn floats_convert_in_one_place_without_their_noise() {
        assert_eq!(Usd::from_f64(0.1 + 0.2), Some(usd("0.3")));
        assert_eq!(Usd::from_f64(f64::NAN), None);
        assert_eq!(Usd::from_f64(f64::INFINITY), None);
        assert_eq!(Usd::from_f64(1e40), None);
    }

    #[test]
    fn a_price_a_million_tokens_is_exact_for_one_token() {
        assert_eq!(UsdPerMillionTokens(usd("0.15")).for_tokens(1), usd("0.00000015"));
    }

    #[test]
    fn arithmetic_saturates() {
        let largest = Usd(Decimal::MAX);
        assert_eq!(largest + largest, largest);
        assert_eq!(largest.times(Decimal::TEN), largest);
        assert_eq!(usd("1").per(Decimal::ZERO), None);
    }

    proptest! {
        #[test]
        fn sums_do_not_depend_on_order(mut cents in proptest::collection::vec(-1_000_000_i64..1_000_000, 0..40)) {
            let forward: Usd = cents.iter().map(|c| Usd(Decimal::new(*c, 7))).sum();
            cents.reverse();
            let backward: Usd = cents.iter().map(|c| Usd(Decimal::new(*c, 7))).sum();
            prop_assert_eq!(forward, backward);
        }
    }
}
