//! How numbers are written, once for every output: the same number reads the same in the terminal and on the page.

use breakeven_hardware::Usd;

/// Stands where there is no number.
pub const ABSENT: &str = "–";

/// Dollars: cents from one dollar up, four significant digits below, thousands separated, never `-0`.
pub fn money(amount: Usd) -> String {
    let text = amount.to_string();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.as_str()),
    };
    let digits = digits.trim_start_matches('$');
    let Some((whole, decimals)) = digits.split_once('.') else {
        return format!("{sign}${}", separated(digits));
    };
    // A price a token ends in zeros that say nothing; cents always stay.
    let kept = decimals.trim_end_matches('0').len().max(2);
    let decimals = decimals.get(..kept).unwrap_or(decimals);
    format!("{sign}${}.{decimals}", separated(whole))
}

/// Dollars that were computed in binary floating point.
pub fn dollars(value: f64) -> String {
    Usd::from_f64(value).map_or_else(|| ABSENT.to_owned(), money)
}

/// A number of things: three significant digits.
pub fn amount(value: f64) -> String {
    significant(value)
}

/// A count of things a month: whole, thousands separated, in words from a million up.
pub fn volume(value: f64) -> String {
    if !value.is_finite() {
        return ABSENT.to_owned();
    }
    for (unit, name) in [(1e12, "trillion"), (1e9, "billion"), (1e6, "million")] {
        if value.abs() >= unit {
            return format!("{} {name}", significant(value / unit));
        }
    }
    if value.abs() < 10.0 { significant(value) } else { fixed(value, 0) }
}

/// Requests, or tokens, per second: three significant digits.
pub fn rate(per_second: f64) -> String {
    significant(per_second)
}

/// A duration in seconds, in the unit that reads best.
pub fn seconds(value: Option<f64>) -> String {
    match value {
        Some(seconds) if seconds.is_finite() && seconds < 1.0 => format!("{} ms", significant(seconds * 1e3)),
        Some(seconds) if seconds.is_finite() => format!("{} s", significant(seconds)),
        _ => ABSENT.to_owned(),
    }
}

/// A share as a percentage, one decimal where it says something.
pub fn percent(share: Option<f64>) -> String {
    match share {
        Some(share) if share.is_finite() => {
            let text = fixed(share * 100.0, 1);
            format!("{} %", text.strip_suffix(".0").unwrap_or(&text))
        }
        _ => ABSENT.to_owned(),
    }
}

/// Three significant digits, no trailing zeros behind the point, never scientific.
fn significant(value: f64) -> String {
    if !value.is_finite() {
        return ABSENT.to_owned();
    }
    let mut decimals = 2;
    let mut probe = value.abs();
    while probe >= 10.0 && decimals > 0 {
        probe /= 10.0;
        decimals -= 1;
    }
    while probe > 0.0 && probe < 1.0 && decimals < 12 {
        probe *= 10.0;
        decimals += 1;
    }
    let text = fixed(value, decimals);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A number of decimals, thousands separated.
fn fixed(value: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.abs());
    let negative = value < 0.0 && text.bytes().any(|byte| (b'1'..=b'9').contains(&byte));
    let sign = if negative { "-" } else { "" };
    match text.split_once('.') {
        Some((whole, rest)) => format!("{sign}{}.{rest}", separated(whole)),
        None => format!("{sign}{}", separated(&text)),
    }
}

/// Digits in groups of three.
fn separated(digits: &str) -> String {
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn usd(amount: f64) -> Usd {
        Usd::from_f64(amount).unwrap()
    }

    #[test]
    fn digits_make_sense() {
        assert_eq!(money(usd(0.000_012)), "$0.000012");
        assert_eq!(money(usd(1_234_567.891)), "$1,234,567.89");
        assert_eq!(money(usd(-1234.5)), "-$1,234.50");
        assert_eq!(money(usd(0.5)), "$0.50");
        assert_eq!(money(Usd::ZERO), "$0.00");
        assert_eq!(volume(12_345_678.0), "12.3 million");
        assert_eq!(volume(123_456.4), "123,456");
        assert_eq!(seconds(Some(0.4123)), "412 ms");
        assert_eq!(seconds(Some(12.34)), "12.3 s");
        assert_eq!(seconds(None), "–");
        assert_eq!(percent(Some(0.997)), "99.7 %");
        assert_eq!(percent(Some(1.0)), "100 %");
        assert_eq!(rate(0.0), "0");
        assert_eq!(rate(1234.0), "1,234");
        assert_eq!(rate(0.0421), "0.0421");
    }

    proptest! {
        #[test]
        fn money_is_never_minus_zero_or_scientific(amount in -1e15f64..1e15, scale in 0i32..24) {
            let text = money(usd(amount / 10f64.powi(scale)));
            prop_assert!(!text.contains(['e', 'E']), "{}", text);
            prop_assert!(!text.starts_with('-') || text.bytes().any(|b| (b'1'..=b'9').contains(&b)), "{}", text);
            prop_assert!(text.trim_start_matches('-').starts_with('$'), "{}", text);
        }

        #[test]
        fn plain_numbers_are_never_minus_zero_or_scientific(value in -1e15f64..1e15, scale in 0i32..24) {
            let value = value / 10f64.powi(scale);
            for text in [volume(value), rate(value), percent(Some(value)), seconds(Some(value))] {
                let number = text.split(' ').next().unwrap();
                prop_assert!(!number.contains(['e', 'E']), "{}", text);
                prop_assert!(!text.starts_with('-') || text.bytes().any(|b| (b'1'..=b'9').contains(&b)), "{}", text);
            }
        }
    }
}
