//! The week's traffic: what arrives in each hour, and what the fleet must be ready for.

use std::time::Duration;

use breakeven_measurement::RequestRate;

use crate::{
    product::{NonNegative, Product, Traffic},
    purchase::fleet_hours::fill_valleys,
};

/// Hours of a week.
pub const HOURS: usize = 168;
/// Hours of a month: 365.25 days · 24 h / 12.
pub const HOURS_PER_MONTH: f64 = 730.5;

/// The shape of a week: factors on the mean rate, one an hour, Monday 00:00 first.
#[derive(Debug, Clone, PartialEq)]
pub struct Week {
    /// Mean load of each hour over the mean of the week; they average to 1.
    pub mean: Vec<f64>,
    /// What each hour must be ready for over the mean of the week: the busiest hour that [h, h + scale-up lag] touches,
    /// times the burst factor (DESIGN §4).
    pub ready: Vec<f64>,
}

impl Week {
    /// The week of a product.
    pub fn of(product: &Product) -> Self {
        let waiting = product.traffic.deferrable_share.get();
        let mean: Vec<f64> = profile(&product.traffic).into_iter().map(|v| v * (1.0 - waiting)).collect();
        // What can wait fills the quiet hours first.
        let mean = fill_valleys(&mean, waiting * HOURS as f64);
        let ahead = hours_touched(product.fleet.scale_up_lag.0);
        let burst = product.traffic.burst_factor.get();
        let ready = (0..HOURS)
            .map(|hour| {
                let busiest = mean.iter().cycle().skip(hour).take(ahead + 1).copied().fold(0.0, f64::max);
                busiest * burst
            })
            .collect();
        Self { mean, ready }
    }

    /// The busiest hour's mean over the mean of the week.
    pub fn peak_hour(&self) -> f64 {
        self.mean.iter().copied().fold(0.0, f64::max)
    }

    /// The most that any hour must be ready for, over the mean of the week.
    pub fn peak_ready(&self) -> f64 {
        self.ready.iter().copied().fold(0.0, f64::max)
    }
}

/// Mean attempts per second: requests and their retries, over a month of 730.5 hours.
pub fn mean_rate(requests_per_month: f64, retries_per_request: f64) -> Option<RequestRate> {
    RequestRate::new(requests_per_month * (1.0 + retries_per_request) / (HOURS_PER_MONTH * 3_600.0)).ok()
}

fn profile(traffic: &Traffic) -> Vec<f64> {
    let shape = |values: Option<&[NonNegative]>, index: usize| {
        values.and_then(|v| v.get(index)).map_or(1.0, |v| v.get())
    };
    let raw: Vec<f64> = (0..HOURS)
        .map(|hour| {
            shape(traffic.day_of_week.as_ref().map(<[_; 7]>::as_slice), hour / 24)
                * shape(traffic.hour_of_day.as_ref().map(<[_; 24]>::as_slice), hour % 24)
        })
        .collect();
    let total: f64 = raw.iter().sum();
    if total > 0.0 {
        raw.iter().map(|v| v * HOURS as f64 / total).collect()
    } else {
        // A week of zeros has no shape: flat.
        vec![1.0; HOURS]
    }
}

/// Hours after the present one that a lag reaches into.
fn hours_touched(lag: Duration) -> usize {
    let hours = lag.as_secs().div_ceil(3_600);
    usize::try_from(hours).unwrap_or(HOURS).min(HOURS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lag_reaches_into_the_next_hour() {
        assert_eq!(hours_touched(Duration::from_secs(1)), 1);
        assert_eq!(hours_touched(Duration::from_secs(3_600)), 1);
        assert_eq!(hours_touched(Duration::from_secs(3_601)), 2);
    }

    #[test]
    fn a_month_of_requests_is_a_mean_rate() {
        // 2,629,800 s a month, by hand.
        let rate = mean_rate(2_629_800.0, 0.5).unwrap();
        assert!((rate.per_second() - 1.5).abs() < 1e-12);
    }
}
