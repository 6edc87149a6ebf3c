//! Distributions by their quantile function: one uniform number gives one value, so draws are common to all options.
//!
//! PERT: a beta distribution over low to high with shapes 1 + 4 (likely − low)/(high − low) and 1 + 4 (high − likely)/(high − low)
//! (D. G. Malcolm et al., *Operations Research* 7, 1959; D. Vose, *Risk Analysis*, 3rd ed., 2008, §22), hence the mean
//! (low + 4 likely + high)/6.

use std::fmt;

use breakeven_measurement::workload::normal_quantile;

/// z of the 90 % and the 97.5 % quantile.
const Z_90: f64 = 1.281_551_565_544_600_4;
const Z_975: f64 = 1.959_963_984_540_054;
/// Unbounded distributions are cut at this quantile and its mirror image, so that every draw can be checked before any is made.
pub const TAIL: f64 = 1e-6;
/// Steps of a PERT's tabulated distribution function.
const STEPS: usize = 2_048;

/// A distribution that holds no nonsense: finite, ordered, with some spread allowed to be none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Distribution {
    /// Low, likely, high as a PERT.
    Pert(f64, f64, f64),
    /// Low, likely, high as a triangle.
    Triangular(f64, f64, f64),
    /// Low to high, evenly.
    Uniform(f64, f64),
    /// Mean and standard deviation, cut at the two ends.
    Normal(f64, f64, (f64, f64)),
    /// Median and 90 % quantile.
    LogNormal(f64, f64),
    /// Median, 2.5 % and 97.5 % quantile, each side log-normal of its own: a measured interval of a positive number.
    Measured(f64, f64, f64),
    /// The same with each side normal, cut to 0 to 1: a measured share.
    MeasuredShare(f64, f64, f64),
}

impl Distribution {
    /// Low, likely and high as a PERT.
    ///
    /// # Errors
    /// Where they are not finite or not in order.
    pub fn pert(low: f64, likely: f64, high: f64) -> Result<Self, String> {
        ordered(low, likely, high).map(|()| Self::Pert(low, likely, high))
    }

    /// The value used where a point is needed.
    pub fn likely(&self) -> f64 {
        match *self {
            Self::Pert(_, likely, _) | Self::Triangular(_, likely, _) => likely,
            Self::Uniform(low, high) => f64::midpoint(low, high),
            Self::Normal(mean, ..) => mean,
            Self::LogNormal(median, _) | Self::Measured(median, ..) | Self::MeasuredShare(median, ..) => {
                median
            }
        }
    }

    /// Low and high for a tornado: as typed, or the 5 and 95 % quantiles.
    pub fn ends(&self) -> (f64, f64) {
        match *self {
            Self::Pert(low, _, high) | Self::Triangular(low, _, high) | Self::Uniform(low, high) => {
                (low, high)
            }
            _ => {
                let sampler = self.sampler();
                (sampler.at(0.05), sampler.at(0.95))
            }
        }
    }

    /// The lowest and highest value that can be drawn.
    pub fn range(&self) -> (f64, f64) {
        let sampler = self.sampler();
        (sampler.at(0.0), sampler.at(1.0))
    }

    /// Ready to be drawn from many times.
    pub fn sampler(&self) -> Sampler {
        let table = match *self {
            Self::Pert(low, likely, high) if low < high => pert_table((likely - low) / (high - low)),
            _ => Vec::new(),
        };
        Sampler { distribution: *self, table }
    }
}

fn ordered(low: f64, likely: f64, high: f64) -> Result<(), String> {
    if low.is_finite() && high.is_finite() && low <= likely && likely <= high {
        Ok(())
    } else {
        Err(format!("expected low <= likely <= high, found low = {low}, likely = {likely}, high = {high}"))
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pert(low, likely, high) => write!(f, "PERT {low} to {high}, likely {likely}"),
            Self::Triangular(low, likely, high) => write!(f, "triangular {low} to {high}, likely {likely}"),
            Self::Uniform(low, high) => write!(f, "uniform {low} to {high}"),
            Self::Normal(mean, sd, _) => write!(f, "normal, mean {mean}, standard deviation {sd}"),
            Self::LogNormal(median, p90) => write!(f, "log-normal, median {median}, p90 {p90}"),
            Self::Measured(middle, low, high) | Self::MeasuredShare(middle, low, high) => {
                write!(f, "measured {middle:.6}, 95 % from {low:.6} to {high:.6}")
            }
        }
    }
}

/// A distribution ready to be drawn from.
#[derive(Debug, Clone)]
pub struct Sampler {
    distribution: Distribution,
    /// Distribution function of a standard PERT at even steps.
    table: Vec<f64>,
}

impl Sampler {
    /// The quantile at `u` from 0 to 1.
    pub fn at(&self, u: f64) -> f64 {
        let z = || normal_quantile(u.clamp(TAIL, 1.0 - TAIL));
        match self.distribution {
            Distribution::Pert(low, _, high) => low + (high - low) * inverse(&self.table, u),
            Distribution::Triangular(low, likely, high) => triangular(low, likely, high, u),
            Distribution::Uniform(low, high) => low + (high - low) * u,
            Distribution::Normal(mean, sd, (min, max)) => (mean + sd * z()).clamp(min, max),
            Distribution::LogNormal(median, p90) => median * ((p90 / median).ln() / Z_90 * z()).exp(),
            Distribution::Measured(middle, low, high) => {
                let z = z();
                let side = if z < 0.0 { middle / low } else { high / middle };
                middle * (side.ln() / Z_975 * z).exp()
            }
            Distribution::MeasuredShare(middle, low, high) => {
                let z = z();
                let side = if z < 0.0 { middle - low } else { high - middle };
                (middle + side / Z_975 * z).clamp(0.0, 1.0)
            }
        }
    }
}

fn triangular(low: f64, likely: f64, high: f64, u: f64) -> f64 {
    if low >= high {
        return likely;
    }
    let turn = (likely - low) / (high - low);
    if u < turn {
        low + (u * (high - low) * (likely - low)).sqrt()
    } else {
        high - ((1.0 - u) * (high - low) * (high - likely)).sqrt()
    }
}

/// Distribution function of a standard PERT with its mode at `mode`, by Simpson's rule, normalised.
fn pert_table(mode: f64) -> Vec<f64> {
    let (a, b) = (4.0 * mode, 4.0 * (1.0 - mode));
    let density = |x: f64| x.powf(a) * (1.0 - x).powf(b);
    let step = 1.0 / STEPS as f64;
    let mut sum = 0.0;
    let mut table = Vec::with_capacity(STEPS + 1);
    table.push(0.0);
    for i in 0..STEPS {
        let x = i as f64 * step;
        sum += density(x) + 4.0 * density(x + step / 2.0) + density((x + step).min(1.0));
        table.push(sum);
    }
    for value in &mut table {
        *value /= sum;
    }
    table
}

fn inverse(table: &[f64], u: f64) -> f64 {
    let Some(last) = table.len().checked_sub(1).filter(|last| *last > 0) else { return 0.0 };
    let after = table.partition_point(|value| *value < u).clamp(1, last);
    let (Some(low), Some(high)) = (table.get(after - 1), table.get(after)) else { return 0.0 };
    let share = if high > low { ((u - low) / (high - low)).clamp(0.0, 1.0) } else { 0.5 };
    ((after - 1) as f64 + share) / last as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_distributions() {
        let near =
            |found: f64, want: f64| assert!((found - want).abs() < 2e-4 * want.abs(), "{found} {want}");
        let pert = Distribution::pert(10.0, 20.0, 40.0).unwrap().sampler();
        for u in [0.05_f64, 0.25, 0.5, 0.9] {
            // The regularised incomplete beta function as an oracle: F(quantile(u)) = u.
            let x = (pert.at(u) - 10.0) / 30.0;
            near(beta_cdf(x, 7.0 / 3.0, 11.0 / 3.0), u);
        }
        let triangle = Distribution::Triangular(0.0, 1.0, 3.0).sampler();
        near(triangle.at(1.0 / 3.0), 1.0);
        near(triangle.at(0.5), 3.0 - 3.0_f64.sqrt());
        near(Distribution::LogNormal(10.0, 20.0).sampler().at(0.9), 20.0);
        near(Distribution::Normal(5.0, 2.0, (f64::MIN, f64::MAX)).sampler().at(0.975), 5.0 + 2.0 * Z_975);
        let measured = Distribution::Measured(1.0, 0.8, 1.5).sampler();
        near(measured.at(0.025), 0.8);
        near(measured.at(0.5), 1.0);
        near(measured.at(0.975), 1.5);
        assert!((Distribution::pert(2.0, 2.0, 2.0).unwrap().sampler().at(0.7) - 2.0).abs() < 1e-12);
    }

    /// By the trapezoid rule at a step of its own: no shared code with the table.
    fn beta_cdf(x: f64, a: f64, b: f64) -> f64 {
        let density = |t: f64| t.powf(a - 1.0) * (1.0 - t).powf(b - 1.0);
        let area = |to: f64| {
            let steps = 200_000;
            let step = to / f64::from(steps);
            (1..steps).map(|i| density(f64::from(i) * step)).sum::<f64>() * step + step * density(to) / 2.0
        };
        area(x) / area(1.0 - 1e-12)
    }

    #[test]
    fn order_is_asked_for() {
        let said = Distribution::pert(3.0, 2.0, 4.0).unwrap_err();
        assert!(said.contains("expected low <= likely <= high, found low = 3"), "{said}");
        assert!(Distribution::pert(1.0, f64::NAN, 4.0).is_err());
    }
}
