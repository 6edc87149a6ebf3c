//! `[latency]`: what waiting costs, and what it would cost to wait less. What it comes to is in `fleet::frontier`.

use breakeven_measurement::Fraction;
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
    pub abandonment: Abandonment,
    /// Where the figures come from.
    pub note: Option<String>,
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
pub struct Abandonment(Vec<(f64, f64)>);

/// A point of the curve.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct PatiencePoint {
    /// A wait for the first token.
    after: TextDuration,
    /// Share of the requests that are given up by then.
    share: Fraction,
}

impl TryFrom<Vec<PatiencePoint>> for Abandonment {
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

impl Abandonment {
    /// Whether nobody ever leaves.
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// Share that has left by a wait; of an answer that never came, the last point's.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_lie_on_straight_lines() {
        let point = |seconds: f64, share: f64| PatiencePoint {
            after: TextDuration(std::time::Duration::from_secs_f64(seconds)),
            share: Fraction::new(share).unwrap(),
        };
        let curve = Abandonment::try_from(vec![point(1.0, 0.02), point(3.0, 0.1)]).unwrap();
        for (wait, share) in
            [(Some(0.5), 0.01), (Some(2.0), 0.06), (Some(9.0), 0.1), (None, 0.1), (Some(0.0), 0.0)]
        {
            assert!((curve.share(wait) - share).abs() < 1e-12, "{wait:?}");
        }
        assert!(Abandonment::try_from(vec![point(3.0, 0.1), point(1.0, 0.2)]).is_err());
        assert!(Abandonment::try_from(vec![point(1.0, 0.2), point(3.0, 0.1)]).is_err());
        assert!(Abandonment::default().share(None).abs() < 1e-12);
    }

    #[test]
    fn factors_are_sorted_and_checked() {
        assert_eq!(Times::try_from(vec![0.5, 2.0]), Ok(Times(vec![2.0, 0.5])));
        for wrong in [vec![], vec![1.0], vec![0.0], vec![f64::NAN], vec![2.0, 2.0], vec![2.0; 9]] {
            assert!(Times::try_from(wrong).is_err());
        }
    }
}
