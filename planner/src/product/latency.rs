//! `[latency]`: what waiting costs, and what it would cost to wait less. What it comes to is in `waiting` and, under other targets, in
//! `fleet::frontier`.

use std::fmt;

use breakeven_measurement::{Fraction, workload::normal_quantile};
use serde::Deserialize;

use super::text::TextDuration;

/// `[latency]`.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LatencyTable {
    /// The SLO's latency targets times each of these are looked at, beside the SLO itself; 2, 1.5, 0.75 and 0.5 where left out.
    #[serde(default)]
    pub times: Times,
    /// Share of the requests that are given up unanswered by their wait for the first token; nobody leaves where left out.
    #[serde(default)]
    pub abandonment: ShareByWait,
    /// Share of the requests that their user sends again by the wait for the first token, each a further request that may be sent again
    /// in turn; nobody does where left out.
    #[serde(default)]
    pub repeats: ShareByWait,
    /// Where the figures come from.
    pub note: Option<String>,
    /// File and line of `repeats`, for curves that no traffic can satisfy.
    #[serde(skip)]
    pub(crate) repeats_place: String,
}

/// How long an API that nobody measured lets wait for the first token, from the request's due time: log-normal through both.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "RawWaits")]
pub struct TypedWaits {
    /// Median, seconds.
    median: f64,
    /// Standard deviation of the wait's logarithm.
    sigma: f64,
}

#[derive(Debug, Clone, Copy, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawWaits {
    median: TextDuration,
    p95: TextDuration,
}

/// Standard normal deviate of 95 %.
const Z95: f64 = 1.644_853_626_951_472_2;

impl TryFrom<RawWaits> for TypedWaits {
    type Error = String;

    fn try_from(raw: RawWaits) -> Result<Self, String> {
        let (median, p95) = (raw.median.0.as_secs_f64(), raw.p95.0.as_secs_f64());
        if p95 < median {
            return Err(format!("expected median <= p95, found {median} s and {p95} s"));
        }
        Ok(Self { median, sigma: (p95 / median).ln() / Z95 })
    }
}

impl TypedWaits {
    /// The wait at a quantile between 0 and 1, seconds.
    pub fn quantile(self, q: f64) -> f64 {
        self.median * (self.sigma * normal_quantile(q)).exp()
    }

    /// The 95th percentile, seconds.
    pub fn p95(self) -> f64 {
        self.median * (self.sigma * Z95).exp()
    }

    /// The median, seconds.
    pub fn median(self) -> f64 {
        self.median
    }
}

/// Up to eight factors from 0.05 to 20, none of them 1, none twice.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "Vec<f64>")]
pub struct Times(pub Vec<f64>);

impl Default for Times {
    fn default() -> Self {
        Self(vec![2.0, 1.5, 0.75, 0.5])
    }
}

impl TryFrom<Vec<f64>> for Times {
    type Error = String;

    fn try_from(mut factors: Vec<f64>) -> Result<Self, String> {
        if factors.is_empty() || factors.len() > 8 {
            return Err(format!("expected 1 to 8 factors, found {}", factors.len()));
        }
        if let Some(wrong) = factors.iter().find(|f| !(0.05..=20.0).contains(*f) || (**f - 1.0).abs() < 1e-9)
        {
            return Err(format!("expected factors from 0.05 to 20 other than 1, found {wrong}"));
        }
        factors.sort_by(|a, b| b.total_cmp(a));
        if let Some([twice, ..]) = factors.windows(2).find(|pair| pair.first() == pair.last()) {
            return Err(format!("expected different factors, found {twice} twice"));
        }
        Ok(Self(factors))
    }
}

/// Shares by wait: straight lines between the points, from no one at no wait; past the last point its share.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "Vec<PatiencePoint>")]
pub struct ShareByWait(Vec<(f64, f64)>);

/// A point of the curve.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct PatiencePoint {
    /// A wait for the first token.
    after: TextDuration,
    /// Share of the requests by then.
    share: Fraction,
}

impl TryFrom<Vec<PatiencePoint>> for ShareByWait {
    type Error = String;

    fn try_from(points: Vec<PatiencePoint>) -> Result<Self, String> {
        let points: Vec<(f64, f64)> =
            points.into_iter().map(|point| (point.after.0.as_secs_f64(), point.share.get())).collect();
        let falls = points.windows(2).any(|pair| match pair {
            [a, b] => b.0 <= a.0 || b.1 < a.1,
            _ => false,
        });
        if falls {
            return Err("expected points at longer and longer waits whose shares never fall".to_owned());
        }
        Ok(Self(points))
    }
}

impl ShareByWait {
    /// Whether it is nobody at any wait.
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// Share by a wait; of an answer that never came, the last point's.
    pub fn share(&self, seconds: Option<f64>) -> f64 {
        let last = self.0.last().map_or(0.0, |point| point.1);
        let Some(seconds) = seconds else { return last };
        let mut before = (0.0, 0.0);
        for point in &self.0 {
            if seconds < point.0 {
                return before.1 + (point.1 - before.1) * (seconds - before.0) / (point.0 - before.0);
            }
            before = *point;
        }
        last
    }
}

impl fmt::Display for ShareByWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (seconds, share)) in self.0.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{share} by {seconds} s")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_lie_on_straight_lines() {
        let point = |seconds: f64, share: f64| PatiencePoint {
            after: TextDuration(std::time::Duration::from_secs_f64(seconds)),
            share: Fraction::new(share).unwrap(),
        };
        let curve = ShareByWait::try_from(vec![point(1.0, 0.02), point(3.0, 0.1)]).unwrap();
        for (wait, share) in
            [(Some(0.5), 0.01), (Some(2.0), 0.06), (Some(9.0), 0.1), (None, 0.1), (Some(0.0), 0.0)]
        {
            assert!((curve.share(wait) - share).abs() < 1e-12, "{wait:?}");
        }
        assert!(ShareByWait::try_from(vec![point(3.0, 0.1), point(1.0, 0.2)]).is_err());
        assert!(ShareByWait::try_from(vec![point(1.0, 0.2), point(3.0, 0.1)]).is_err());
        assert!(ShareByWait::default().share(None).abs() < 1e-12);
        assert_eq!(curve.to_string(), "0.02 by 1 s, 0.1 by 3 s");
    }

    #[test]
    fn typed_waits_go_through_both_percentiles() {
        let time = |ms: u64| TextDuration(std::time::Duration::from_millis(ms));
        let waits = TypedWaits::try_from(RawWaits { median: time(400), p95: time(1_500) }).unwrap();
        assert!((waits.quantile(0.5) - 0.4).abs() < 1e-9 && (waits.quantile(0.95) - 1.5).abs() < 1e-6);
        assert!((waits.p95() - 1.5).abs() < 1e-9);
        let wrong = TypedWaits::try_from(RawWaits { median: time(400), p95: time(399) });
        assert_eq!(wrong, Err("expected median <= p95, found 0.4 s and 0.399 s".to_owned()));
    }

    #[test]
    fn factors_are_sorted_and_checked() {
        assert_eq!(Times::try_from(vec![0.5, 2.0]), Ok(Times(vec![2.0, 0.5])));
        for wrong in [vec![], vec![1.0], vec![0.0], vec![f64::NAN], vec![2.0, 2.0], vec![2.0; 9]] {
            assert!(Times::try_from(wrong).is_err());
        }
    }
}
