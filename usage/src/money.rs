//! Costs of single calls, exact: whole 10⁻¹⁸ dollars, so that ten million of them add up in any order to the same cent.

use breakeven_hardware::Usd;
use rust_decimal::Decimal;

/// Decimals kept. A price of a token has at most twelve; a log's binary fractions print seventeen digits.
const SCALE: u32 = 18;

/// A count of 10⁻¹⁸ US dollars; never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct AttoUsd(i128);

impl AttoUsd {
    /// No money.
    pub const ZERO: Self = Self(0);
    /// A million dollars: no single call costs more, so a larger figure is a mistake.
    pub const LARGEST: Self = Self(1_000_000 * 10_i128.pow(SCALE));

    /// A decimal, plain or with an exponent, to the nearest 10⁻¹⁸ (ties up). `None` where it is none, is negative or above
    /// [`Self::LARGEST`].
    pub fn parse(text: &str) -> Option<Self> {
        let (digits, exponent) = match text.find(['e', 'E']) {
            Some(at) => {
                let (digits, exponent) = text.split_at(at);
                (digits, exponent.get(1..)?.parse::<i32>().ok()?)
            }
            None => (text, 0),
        };
        let negative = digits.starts_with('-');
        let digits = digits.strip_prefix(['+', '-']).unwrap_or(digits);
        let (mut mantissa, mut scale, mut seen, mut point) = (0_i128, 0_i32, false, false);
        for byte in digits.bytes() {
            match byte {
                b'0'..=b'9' => {
                    seen = true;
                    // Past 30 digits nothing reaches 10⁻¹⁸ of an amount below the largest.
                    if mantissa < 10_i128.pow(30) {
                        mantissa = mantissa * 10 + i128::from(byte - b'0');
                        scale += i32::from(point);
                    } else {
                        scale -= i32::from(!point);
                    }
                }
                b'.' if !point => point = true,
                _ => return None,
            }
        }
        if !seen || (negative && mantissa != 0) {
            return None;
        }
        Self::of(mantissa, scale.checked_sub(exponent)?)
    }

    /// `mantissa` × 10^−`scale` dollars.
    pub fn of(mantissa: i128, scale: i32) -> Option<Self> {
        let shift = i32::try_from(SCALE).ok()?.checked_sub(scale)?;
        let power = 10_i128.checked_pow(shift.unsigned_abs());
        let amount = match (mantissa, power) {
            (0, _) => 0,
            (_, Some(power)) if shift >= 0 => mantissa.checked_mul(power)?,
            (_, None) if shift >= 0 => return None,
            (_, Some(power)) => mantissa.checked_add(power / 2)?.checked_div(power)?,
            (_, None) => 0,
        };
        (0..=Self::LARGEST.0).contains(&amount).then_some(Self(amount))
    }

    /// What a number of tokens costs at `self` a token.
    #[must_use]
    pub fn times(self, tokens: u64) -> Self {
        Self(self.0.saturating_mul(i128::from(tokens)))
    }

    /// The same amount in decimals; beyond 79 billion dollars rounded to what a decimal holds.
    pub fn usd(self) -> Usd {
        let (mut amount, mut scale) = (self.0, SCALE);
        loop {
            if let Ok(decimal) = Decimal::try_from_i128_with_scale(amount, scale) {
                return Usd(decimal.normalize());
            }
            if scale == 0 {
                return Usd(Decimal::MAX);
            }
            (amount, scale) = ((amount + 5) / 10, scale - 1);
        }
    }
}

impl std::ops::Add for AttoUsd {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl std::ops::AddAssign for AttoUsd {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl serde::Serialize for AttoUsd {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.usd().serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> String {
        AttoUsd::parse(text).map_or_else(|| "refused".to_owned(), |amount| amount.usd().0.to_string())
    }

    #[test]
    fn decimals_are_read_as_they_are_written() {
        for (text, means) in [
            ("0.1", "0.1"),
            ("3.45e-05", "0.0000345"),
            ("1.2345000000000001e-05", "0.000012345"),
            ("12E2", "1200"),
            ("0.0000000000000000005", "0.000000000000000001"),
            ("0", "0"),
            ("-0.0", "0"),
            (".5", "0.5"),
            ("1000000", "1000000"),
            ("1000000.01", "refused"),
            ("-1", "refused"),
            ("1e999", "refused"),
            ("1e-999", "0"),
            ("", "refused"),
            ("1.2.3", "refused"),
            ("NaN", "refused"),
            ("0x10", "refused"),
            ("1e99999999999", "refused"),
        ] {
            assert_eq!(shown(text), means, "{text}");
        }
    }

    proptest! {
        /// Rust's shortest decimal of a binary fraction, and `rust_decimal`'s own reader, are the oracle.
        #[test]
        fn agrees_with_the_decimal_library(amount in 0.0_f64..1e6, scale in 0_i32..12) {
            let text = format!("{}", amount / 10_f64.powi(scale));
            let (ours, theirs) = (AttoUsd::parse(&text).unwrap().usd().0, text.parse::<Decimal>().unwrap());
            prop_assert!((ours - theirs.round_dp(18)).abs() <= Decimal::new(1, 18), "{} {} {}", text, ours, theirs);
        }

        #[test]
        fn never_panics(text in "[-+0-9.eE]{0,60}") {
            let _ = AttoUsd::parse(&text);
        }
    }
}
