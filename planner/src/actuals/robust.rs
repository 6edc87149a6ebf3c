//! Outliers of a short series.

/// Consistency of the MAD with the standard deviation: Φ⁻¹(3/4).
const NORMAL: f64 = 0.6745;
/// Consistency of the mean absolute deviation: √(2/π) inverted.
const MEAN_DEVIATION: f64 = 1.253_314;

/// The middle value; `None` of nothing. The mean of the two middle ones of an even number.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let high = *sorted.get(middle)?;
    if sorted.len().is_multiple_of(2) {
        Some(f64::midpoint(*sorted.get(middle - 1)?, high))
    } else {
        Some(high)
    }
}

/// The modified z-score of a value against a baseline: 0.6745 (x − median) ÷ MAD (B. Iglewicz, D. Hoaglin, *How to Detect and Handle
/// Outliers*, ASQC 1993, §3.3, who take 3.5 as the limit).
///
/// Where more than half of the baseline is one value the MAD is 0, and the mean absolute deviation stands in for it; where all of it
/// is, any other value is infinitely far away.
pub(crate) fn modified_z(value: f64, baseline: &[f64]) -> Option<f64> {
    let middle = median(baseline)?;
    let distances: Vec<f64> = baseline.iter().map(|other| (other - middle).abs()).collect();
    let mad = median(&distances)?;
    let mean = distances.iter().sum::<f64>() / distances.len() as f64;
    let away = value - middle;
    Some(if mad > 0.0 {
        NORMAL * away / mad
    } else if mean > 0.0 {
        away / (MEAN_DEVIATION * mean)
    } else if away.abs() > 0.0 {
        away.signum() * f64::INFINITY
    } else {
        0.0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::approx_constant, reason = "a datum of the handbook, not a circle's")]
    fn matches_the_worked_example() {
        // Iglewicz & Hoaglin's data as in NIST/SEMATECH e-Handbook 1.3.5.17: median 3.06, MAD 0.08 (to two digits).
        let data = [3.02, 3.04, 3.05, 3.06, 3.06, 3.08, 3.14, 3.22, 2.98, 2.99];
        let middle = median(&data).unwrap();
        assert!((middle - 3.055).abs() < 1e-9, "{middle}");
        // Distances 0.005 0.005 0.005 0.015 0.025 0.035 0.065 0.075 0.085 0.165: MAD 0.03.
        let z = modified_z(3.22, &data).unwrap();
        assert!((z - 0.6745 * 0.165 / 0.03).abs() < 1e-9, "{z}");
    }

    #[test]
    fn a_constant_baseline_tolerates_nothing_and_asks_nothing() {
        assert_eq!(modified_z(5.0, &[5.0; 7]), Some(0.0));
        assert_eq!(modified_z(6.0, &[5.0; 7]), Some(f64::INFINITY));
        assert_eq!(modified_z(4.0, &[5.0; 7]), Some(f64::NEG_INFINITY));
        let mostly = [5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 7.0];
        assert!(modified_z(6.0, &mostly).unwrap().is_finite());
        assert_eq!(modified_z(6.0, &[]), None);
    }
}
