//! One latency series: an HdrHistogram of nanoseconds, and failures counted as +infinity.

use std::{fmt, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hdrhistogram::{
    Histogram,
    serialization::{Deserializer as HdrDeserializer, Serializer as _, V2Serializer},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

/// Three significant digits: every recorded value is kept within 0.1 %.
const SIGNIFICANT_DIGITS: u8 = 3;

/// Values above some 13 days are kept as that: no load level lasts so long.
const LONGEST_NANOSECONDS: u64 = 1 << 50;

/// A latency series that merges exactly.
///
/// Finite values are nanoseconds in an HdrHistogram with three significant digits. A request that failed or
/// timed out counts as +infinity: it takes part in every percentile (DESIGN §2).
#[derive(Clone, PartialEq)]
pub struct LatencySeries {
    finite: Histogram<u64>,
    infinite: u64,
}

/// A percentile of a series in which failures are infinitely slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quantile {
    /// The nearest-rank value.
    Finite(Duration),
    /// The rank falls among the failures.
    Infinite,
}

impl Quantile {
    /// The value where it is finite.
    pub fn finite(self) -> Option<Duration> {
        match self {
            Self::Finite(value) => Some(value),
            Self::Infinite => None,
        }
    }
}

impl Default for LatencySeries {
    fn default() -> Self {
        Self::new()
    }
}

impl LatencySeries {
    /// An empty series.
    #[expect(
        clippy::missing_panics_doc,
        reason = "cannot panic: 3 is within the 0..=5 digits that the library accepts"
    )]
    pub fn new() -> Self {
        let finite = Histogram::new(SIGNIFICANT_DIGITS).expect("three significant digits are valid");
        Self { finite, infinite: 0 }
    }

    /// Records one finished value.
    pub fn record(&mut self, value: Duration) {
        let nanoseconds = u64::try_from(value.as_nanos()).unwrap_or(u64::MAX).min(LONGEST_NANOSECONDS);
        if self.finite.record(nanoseconds).is_err() {
            // Unreachable with a growing histogram below its bound; were it reached, no request may be lost.
            self.infinite += 1;
        }
    }

    /// Records one failure: infinitely slow.
    pub fn record_infinite(&mut self) {
        self.infinite += 1;
    }

    /// Values recorded, failures included.
    pub fn len(&self) -> u64 {
        self.finite.len() + self.infinite
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Failures recorded.
    pub fn infinite(&self) -> u64 {
        self.infinite
    }

    /// Nearest-rank quantile: the ceil(q·n)-th smallest of all n values, failures last. `None` of nothing.
    ///
    /// `q` is from 0 to 1; 0.95 is the 95th percentile.
    pub fn quantile(&self, q: f64) -> Option<Quantile> {
        let n = self.len();
        if n == 0 {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 1 to n, a u64")]
        let rank = (q.clamp(0.0, 1.0) * n as f64).ceil().max(1.0) as u64;
        self.at_rank(rank)
    }

    /// The `rank`-th smallest value, counted from 1, failures last. `None` where there are not so many.
    pub fn at_rank(&self, rank: u64) -> Option<Quantile> {
        if rank == 0 || rank > self.len() {
            return None;
        }
        if rank > self.finite.len() {
            return Some(Quantile::Infinite);
        }
        // Half a rank back, so that the library's own ceiling lands on this rank whatever the rounding.
        let nanoseconds = self.finite.value_at_quantile((rank as f64 - 0.5) / self.finite.len() as f64);
        Some(Quantile::Finite(Duration::from_nanos(nanoseconds.min(self.finite.max()))))
    }

    /// Mean of the finite values; `None` where there are none. Failures have no place in a mean: read it beside
    /// [`Self::infinite`].
    pub fn finite_mean(&self) -> Option<Duration> {
        (!self.finite.is_empty()).then(|| Duration::from_secs_f64(self.finite.mean() / 1e9))
    }

    /// Largest finite value.
    pub fn finite_max(&self) -> Option<Duration> {
        (!self.finite.is_empty()).then(|| Duration::from_nanos(self.finite.max()))
    }

    /// Adds another series; exact, in any order.
    pub fn merge(&mut self, other: &Self) {
        #[expect(
            clippy::expect_used,
            reason = "both histograms grow by themselves and have the same digits"
        )]
        self.finite.add(&other.finite).expect("auto-resizing histograms of equal precision add");
        self.infinite = self.infinite.saturating_add(other.infinite);
    }

    /// The finite values, in nanoseconds.
    pub(crate) fn histogram(&self) -> &Histogram<u64> {
        &self.finite
    }

    fn histogram_base64(&self) -> Result<String, String> {
        let mut bytes = Vec::new();
        V2Serializer::new().serialize(&self.finite, &mut bytes).map_err(|e| format!("{e:?}"))?;
        Ok(BASE64_STANDARD.encode(bytes))
    }
}

impl fmt::Debug for LatencySeries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LatencySeries")
            .field("len", &self.len())
            .field("infinite", &self.infinite)
            .field("p50", &self.quantile(0.5))
            .finish_non_exhaustive()
    }
}

/// The written form. The summary is for people and other tools; reading takes only the histogram and the
/// failures, so the two cannot drift apart. A quantile that falls among the failures is written as null.
#[derive(Serialize)]
struct Written {
    count: u64,
    infinite: u64,
    mean_seconds: Option<f64>,
    p50_seconds: Option<f64>,
    p90_seconds: Option<f64>,
    p95_seconds: Option<f64>,
    p99_seconds: Option<f64>,
    max_seconds: Option<f64>,
    /// HdrHistogram V2 of nanoseconds, base64.
    histogram: String,
}

#[derive(Deserialize, schemars::JsonSchema)]
struct Read {
    infinite: u64,
    histogram: String,
}

impl Serialize for LatencySeries {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let at = |q| self.quantile(q).and_then(Quantile::finite).map(|d| d.as_secs_f64());
        Written {
            count: self.len(),
            infinite: self.infinite,
            mean_seconds: self.finite_mean().map(|d| d.as_secs_f64()),
            p50_seconds: at(0.5),
            p90_seconds: at(0.9),
            p95_seconds: at(0.95),
            p99_seconds: at(0.99),
            max_seconds: self.finite_max().map(|d| d.as_secs_f64()),
            histogram: self.histogram_base64().map_err(ser::Error::custom)?,
        }
        .serialize(serializer)
    }
}

impl schemars::JsonSchema for LatencySeries {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "LatencySeries".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Read::json_schema(generator)
    }
}

impl<'de> Deserialize<'de> for LatencySeries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = Read::deserialize(deserializer)?;
        let bytes = BASE64_STANDARD
            .decode(&read.histogram)
            .map_err(|e| de::Error::custom(format!("expected a base64 HdrHistogram: {e}")))?;
        let finite: Histogram<u64> = HdrDeserializer::new()
            .deserialize(&mut bytes.as_slice())
            .map_err(|e| de::Error::custom(format!("expected an HdrHistogram in V2 encoding: {e:?}")))?;
        // Re-recorded into a growing histogram of our own precision, so that merging stays exact.
        let mut series = Self::new();
        series.infinite = read.infinite;
        series
            .finite
            .add(&finite)
            .map_err(|e| de::Error::custom(format!("histogram does not fit this version: {e:?}")))?;
        Ok(series)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn series(values: &[u64], infinite: u64) -> LatencySeries {
        let mut series = LatencySeries::new();
        for v in values {
            series.record(Duration::from_nanos(*v));
        }
        series.infinite = infinite;
        series
    }

    #[test]
    fn a_failure_counts_as_infinitely_slow() {
        let s = series(&[10, 20, 30], 1);
        assert_eq!(s.quantile(0.75).and_then(Quantile::finite), Some(Duration::from_nanos(30)));
        assert_eq!(s.quantile(0.76), Some(Quantile::Infinite));
        assert_eq!(LatencySeries::new().quantile(0.5), None);
    }

    #[test]
    fn a_damaged_histogram_is_an_error() {
        let text = serde_json::to_string(&series(&[5], 0)).unwrap();
        assert!(serde_json::from_str::<LatencySeries>(&text).is_ok());
        let damaged = text.replace("\"histogram\":\"H", "\"histogram\":\"A");
        assert!(serde_json::from_str::<LatencySeries>(&damaged).is_err());
    }

    proptest! {
        #[test]
        fn merging_equals_recording_everything_in_one(
            a in prop::collection::vec(1u64..10_000_000_000, 0..50),
            b in prop::collection::vec(1u64..10_000_000_000, 0..50),
            fa in 0u64..3, fb in 0u64..3,
        ) {
            let mut merged = series(&a, fa);
            merged.merge(&series(&b, fb));
            let all: Vec<u64> = a.iter().chain(&b).copied().collect();
            prop_assert_eq!(&merged, &series(&all, fa + fb));
            let back: LatencySeries = serde_json::from_str(&serde_json::to_string(&merged).unwrap()).unwrap();
            prop_assert_eq!(back, merged);
        }

        #[test]
        fn quantiles_are_nearest_rank_within_the_stated_precision(
            mut values in prop::collection::vec(1u64..10_000_000_000, 1..80), q in 0.0f64..=1.0,
        ) {
            let s = series(&values, 0);
            values.sort_unstable();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank of at most 80")]
            let rank = ((q * values.len() as f64).ceil().max(1.0)) as usize;
            let exact = values[rank - 1] as f64;
            let Some(Quantile::Finite(found)) = s.quantile(q) else { return Err(TestCaseError::fail("no value")) };
            #[expect(clippy::cast_possible_truncation, reason = "below 10^10 ns")]
            let found = found.as_nanos() as u64 as f64;
            prop_assert!((found / exact - 1.0).abs() <= 1e-3 + 1.0 / exact, "{} {}", found, exact);
        }
    }
}
