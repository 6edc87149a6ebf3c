//! Curves through measured points: monotone in log-log, with a band, and a mark where nothing was measured.
//!
//! Between points: F. N. Fritsch and J. Butland's monotone cubic (*A method for constructing local monotone piecewise cubic
//! interpolants*, SIAM J. Sci. Stat. Comput. 5, 1984) through the logarithms, which follows power laws exactly and never
//! overshoots a point. Outside: the power law of the end, marked, with a band that widens with the distance.

use crate::plan::Basis;

/// What the abscissa is laid out by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    /// Its logarithm: for what follows power laws, such as TPOT and throughput against concurrency.
    Logarithm,
    /// Its square root: for what is flat at first and then a queue, such as TTFT against concurrency. On a logarithm such a curve is
    /// convex everywhere, and points between two others are read too high.
    Root,
}

impl Axis {
    fn of(self, x: f64) -> f64 {
        match self {
            Self::Logarithm => x.ln(),
            Self::Root => x.sqrt(),
        }
    }
}

/// A curve through points with positive coordinates.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    axis: Axis,
    /// Place on the axis, logarithm of the value, and slope of each point; places grow.
    knots: Vec<Knot>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Knot {
    x: f64,
    y: f64,
    slope: f64,
}

/// A value read off a curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// The value, in the points' unit.
    pub value: f64,
    /// The band's ends; absent where nothing is known of the error.
    pub band: Option<(f64, f64)>,
    /// Interpolated or extrapolated.
    pub basis: Basis,
}

/// Why there is no curve.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CurveError {
    /// Not two points at different places.
    #[error("expected points at two places or more, found {0}; measure at more loads")]
    TooFew(usize),
    /// A coordinate without a logarithm.
    #[error("expected points above 0, found ({0}, {1})")]
    NotPositive(f64, f64),
}

impl Curve {
    /// Through points in any order, on logarithms of both coordinates. Points measured more than once at the same place count as their geometric mean.
    ///
    /// # Errors
    /// Where fewer than two places are left, or a coordinate is not above zero.
    pub fn through(points: &[(f64, f64)]) -> Result<Self, CurveError> {
        Self::through_on(Axis::Logarithm, points)
    }

    /// The same with another axis; values are on their logarithm always.
    ///
    /// # Errors
    /// As [`Self::through`].
    pub fn through_on(axis: Axis, points: &[(f64, f64)]) -> Result<Self, CurveError> {
        let mut sorted = Vec::with_capacity(points.len());
        for &(x, y) in points {
            if !(x.is_finite() && y.is_finite() && x > 0.0 && y > 0.0) {
                return Err(CurveError::NotPositive(x, y));
            }
            sorted.push((axis.of(x), y.ln()));
        }
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut knots: Vec<Knot> = Vec::with_capacity(sorted.len());
        for same in sorted.chunk_by(|a, b| (a.0 - b.0).abs() < 1e-12) {
            let y = same.iter().map(|p| p.1).sum::<f64>() / same.len() as f64;
            knots.extend(same.first().map(|p| Knot { x: p.0, y, slope: 0.0 }));
        }
        if knots.len() < 2 {
            return Err(CurveError::TooFew(knots.len()));
        }
        set_slopes(&mut knots);
        Ok(Self { axis, knots })
    }

    /// Reads the curve at `x`.
    pub fn at(&self, x: f64, band: Option<&Band>) -> Reading {
        let (y, spread, basis) = self.log_at(self.axis.of(x));
        let ends = band.map(|band| {
            let half = band.factor * spread;
            ((y - half).exp(), (y + half).exp())
        });
        Reading { value: y.exp(), band: ends, basis }
    }

    /// Logarithm of the value, what the error is proportional to, and the basis.
    fn log_at(&self, x: f64) -> (f64, f64, Basis) {
        let after = self.knots.partition_point(|k| k.x < x).clamp(1, self.knots.len() - 1);
        let (Some(left), Some(right)) = (self.knots.get(after - 1), self.knots.get(after)) else {
            return (f64::NAN, f64::INFINITY, Basis::Extrapolated);
        };
        let (gap, rise) = (right.x - left.x, (right.y - left.y).abs());
        if x < left.x || x > right.x {
            let end = if x < left.x { left } else { right };
            let distance = (x - end.x).abs();
            // As far out as the last gap is wide, a whole gap's rise is in doubt, and more beyond.
            let spread = FLOOR + (rise + FLOOR) * (distance / gap) * (1.0 + distance / gap);
            return (end.y + end.slope * (x - end.x), spread, Basis::Extrapolated);
        }
        let t = (x - left.x) / gap;
        // Cubic Hermite form.
        let (t2, t3) = (t * t, t * t * t);
        let y = (2.0 * t3 - 3.0 * t2 + 1.0) * left.y
            + (t3 - 2.0 * t2 + t) * gap * left.slope
            + (3.0 * t2 - 2.0 * t3) * right.y
            + (t3 - t2) * gap * right.slope;
        (y, FLOOR + rise * 4.0 * t * (1.0 - t), Basis::Interpolated)
    }
}

/// Error that is there at a measured point: its own noise.
const FLOOR: f64 = 0.01;

/// How wide a band is, found by leaving points out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Band {
    factor: f64,
    coverage: f64,
}

/// Fewest points left out that a band may rest on.
const FEWEST_RESIDUALS: usize = 20;

impl Band {
    /// The band that a share `coverage` of points stays within, from curves measured in the same way: each interior point is
    /// left out in turn and predicted from the rest, and the errors are taken in proportion to the rise of the curve around
    /// (split conformal prediction: V. Vovk, A. Gammerman, G. Shafer, *Algorithmic Learning in a Random World*, 2005).
    /// `None` below twenty such points.
    pub fn calibrate(curves: &[Vec<(f64, f64)>], coverage: f64) -> Option<Self> {
        Self::calibrate_on(Axis::Logarithm, curves, coverage)
    }

    /// The same for curves on another axis.
    pub fn calibrate_on(axis: Axis, curves: &[Vec<(f64, f64)>], coverage: f64) -> Option<Self> {
        let mut ratios: Vec<f64> = Vec::new();
        for points in curves {
            for left_out in interior(points) {
                let rest: Vec<(f64, f64)> =
                    points.iter().copied().filter(|p| !same_place(*p, left_out)).collect();
                let Ok(curve) = Curve::through_on(axis, &rest) else { continue };
                let (y, spread, _) = curve.log_at(axis.of(left_out.0));
                ratios.push((left_out.1.ln() - y).abs() / spread);
            }
        }
        if ratios.len() < FEWEST_RESIDUALS || !(0.0..1.0).contains(&coverage) {
            return None;
        }
        ratios.sort_by(f64::total_cmp);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank of the residuals"
        )]
        let rank = (((ratios.len() + 1) as f64 * coverage).ceil() as usize).clamp(1, ratios.len());
        ratios.get(rank - 1).map(|factor| Self { factor: *factor, coverage })
    }

    /// The share of points that it claims to hold.
    pub fn coverage(&self) -> f64 {
        self.coverage
    }
}

fn same_place(a: (f64, f64), b: (f64, f64)) -> bool {
    (a.0.ln() - b.0.ln()).abs() < 1e-12
}

/// The points that have others on both sides.
fn interior(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let least = points.iter().map(|p| p.0).fold(f64::INFINITY, f64::min);
    let most = points.iter().map(|p| p.0).fold(f64::NEG_INFINITY, f64::max);
    points.iter().copied().filter(|p| p.0 > least && p.0 < most).collect()
}

/// Fritsch and Butland's slopes: the weighted harmonic mean inside, zero at a turn, a one-sided parabola at the ends.
#[expect(clippy::indexing_slicing, reason = "indices run over the gaps between two knots or more")]
fn set_slopes(knots: &mut [Knot]) {
    let gaps: Vec<(f64, f64)> = knots
        .windows(2)
        .map(|pair| {
            let h = pair[1].x - pair[0].x;
            (h, (pair[1].y - pair[0].y) / h)
        })
        .collect();
    let last = knots.len() - 1;
    if gaps.len() == 1 {
        knots[0].slope = gaps[0].1;
        knots[1].slope = gaps[0].1;
        return;
    }
    for k in 1..last {
        let ((h0, d0), (h1, d1)) = (gaps[k - 1], gaps[k]);
        if d0 * d1 > 0.0 {
            let (w0, w1) = (2.0 * h1 + h0, h1 + 2.0 * h0);
            knots[k].slope = (w0 + w1) / (w0 / d0 + w1 / d1);
        }
    }
    knots[0].slope = end_slope(gaps[0], gaps[1]);
    knots[last].slope = end_slope(gaps[last - 1], gaps[last - 2]);
}

/// The three-point slope at an end, kept from overshooting.
fn end_slope((h0, d0): (f64, f64), (h1, d1): (f64, f64)) -> f64 {
    let slope = ((2.0 * h0 + h1) * d0 - h0 * d1) / (h0 + h1);
    if slope * d0 <= 0.0 {
        0.0
    } else if d0 * d1 < 0.0 && slope.abs() > 3.0 * d0.abs() {
        3.0 * d0
    } else {
        slope
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SCIPY: [(f64, f64); 5] = [
        (1.5, 10.194_460_591_050_772),
        (3.0, 11.301_942_312_884_565),
        (9.0, 21.766_168_829_574_756),
        (40.0, 30.878_063_999_198_087),
        (150.0, 28.205_402_628_182_572),
    ];

    #[test]
    fn a_power_law_is_followed_exactly_inside_and_out() {
        let points: Vec<(f64, f64)> = [1.0, 3.0, 8.0, 64.0].map(|x: f64| (x, 2.0 * x.powf(0.7))).to_vec();
        let curve = Curve::through(&points).unwrap();
        for (x, basis) in
            [(2.0, Basis::Interpolated), (30.0, Basis::Interpolated), (200.0, Basis::Extrapolated)]
        {
            let reading = curve.at(x, None);
            assert!((reading.value / (2.0 * x.powf(0.7)) - 1.0).abs() < 1e-12);
            assert_eq!((reading.basis, reading.band), (basis, None));
        }
    }

    #[test]
    fn scipy_s_pchip_agrees() {
        // scipy.interpolate.PchipInterpolator on the logarithms, 1.17.1.
        let curve =
            Curve::through(&[(1.0, 10.0), (4.0, 12.0), (16.0, 30.0), (64.0, 31.0), (256.0, 25.0)]).unwrap();
        for (x, expected) in SCIPY {
            let found = curve.at(x, None).value;
            assert!((found / expected - 1.0).abs() < 1e-12, "{x}: {found} for {expected}");
        }
    }

    #[test]
    fn the_band_widens_outside_the_points() {
        let curve = Curve::through(&[(1.0, 1.0), (2.0, 1.5), (4.0, 2.5)]).unwrap();
        let band = Band { factor: 1.0, coverage: 0.9 };
        let width = |x: f64| {
            let (low, high) = curve.at(x, Some(&band)).band.unwrap();
            (high / low).ln()
        };
        assert!(width(4.0) < width(3.0) && width(3.0) < width(8.0) && width(8.0) < width(16.0));
        assert_eq!(Band::calibrate(&[vec![(1.0, 1.0), (2.0, 2.0), (3.0, 3.0)]], 0.9), None);
    }

    #[test]
    fn what_is_no_curve_is_refused() {
        assert_eq!(Curve::through(&[(1.0, 1.0), (1.0, 2.0)]), Err(CurveError::TooFew(1)));
        assert!(Curve::through(&[(0.0, 1.0), (1.0, 2.0)]).is_err());
    }

    proptest! {
        #[test]
        fn growing_points_give_a_growing_curve_that_stays_between_them(
            rises in prop::collection::vec((0.05f64..2.0, 0.0f64..2.0), 2..8), at in 0.0f64..1.0, step in 0.0f64..0.2,
        ) {
            let (mut x, mut y) = (0.0, 0.0);
            let mut points = vec![(1.0, 1.0)];
            for (dx, dy) in rises {
                (x, y) = (x + dx, y + dy);
                points.push((x.exp(), y.exp()));
            }
            let curve = Curve::through(&points).unwrap();
            let read = |share: f64| curve.at((x * share.min(1.0)).exp(), None).value;
            prop_assert!(read(at) <= read(at + step) * (1.0 + 1e-9));
            prop_assert!((1.0 - 1e-9..=y.exp() * (1.0 + 1e-9)).contains(&read(at)));
        }
    }
}
