//! Replicas of every hour.

use super::{PurchaseError, require};
use crate::capacity::replicas_for;

/// What the fleet must survive.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FleetPolicy {
    /// Highest utilisation of the replicas that are left, above 0 and at most 1.
    pub maximum_utilization: f64,
    /// Replicas that may be lost at once.
    pub replicas_lost: u32,
    /// Zones that the replicas are spread over evenly; where over 1, the loss of the fullest is survived as well.
    pub zones: u32,
    /// Replicas that a rolling upgrade takes out of service at once.
    pub upgrade_surge: u32,
    /// Fewest replicas at any hour.
    pub least: u32,
}

/// Replicas for each hour: the fewest of which what a loss and an upgrade leave carries the hour's rate at no more than the
/// highest utilisation. Rates and capacity in requests per second.
///
/// # Errors
/// Where a number is out of its range.
pub fn fleet_hours(
    ready_per_second: &[f64],
    replica_capacity_per_second: f64,
    policy: &FleetPolicy,
) -> Result<Vec<u32>, PurchaseError> {
    let (capacity, most) = (replica_capacity_per_second, policy.maximum_utilization);
    require(capacity.is_finite() && capacity > 0.0, "the capacity of a replica", "above 0", capacity)?;
    require(most > 0.0 && most <= 1.0, "the maximum utilisation", "above 0 and at most 1", most)?;
    require(policy.zones > 0, "zones", "at least 1", 0.0)?;
    ready_per_second
        .iter()
        .map(|rate| {
            require(rate.is_finite() && *rate >= 0.0, "an hour's rate", "0 or more", *rate)?;
            let carrying = replicas_for(*rate, capacity * most).max(1);
            Ok(surviving(carrying, policy).max(policy.least))
        })
        .collect()
}

/// The fewest replicas of which `carrying` are left after the worst loss.
fn surviving(carrying: u32, policy: &FleetPolicy) -> u32 {
    let by_count = carrying.saturating_add(policy.replicas_lost);
    // n − ceil(n / zones) ≥ carrying: n = carrying + ceil(carrying / (zones − 1)).
    let by_zone = match policy.zones.checked_sub(1) {
        Some(others) if others > 0 => carrying.saturating_add(carrying.div_ceil(others)),
        Some(_) | None => 0,
    };
    by_count.max(by_zone).saturating_add(policy.upgrade_surge)
}

/// The rate each hour must be ready for: the highest that the rate reaches within the scale-up lag, on straight lines between the
/// middles of hours, times the burst factor. `hourly` repeats from its end.
pub fn ready_rates(hourly: &[f64], lag_hours: f64, burst_factor: f64) -> Vec<f64> {
    let n = hourly.len();
    let at = |hour: f64| {
        // The value at time t hours; the mean of hour i is its value at i + 0.5.
        let x = (hour - 0.5).rem_euclid(n.max(1) as f64);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "from 0 and below the length"
        )]
        let i = (x.floor() as usize).min(n.saturating_sub(1));
        let share = x - x.floor();
        let value = |i: usize| hourly.get(i % n.max(1)).copied().unwrap_or(0.0);
        value(i) * (1.0 - share) + value(i + 1) * share
    };
    (0..n)
        .map(|hour| {
            let (from, to) = (hour as f64, hour as f64 + 1.0 + lag_hours.max(0.0));
            // The highest point of straight lines is at an end or at a corner.
            let corners = (0..).map(|k| from + 0.5 + f64::from(k)).take_while(|t| *t < to);
            let highest = corners.chain([from, to]).map(at).fold(0.0, f64::max);
            // An hour's own mean is carried in any case.
            highest.max(hourly.get(hour).copied().unwrap_or(0.0)) * burst_factor
        })
        .collect()
}

/// Deferrable work spread over the hours so that the highest hour is as low as can be: it fills the valleys first. All in
/// replicas' worth; returns what each hour has then.
pub fn fill_valleys(load: &[f64], deferrable: f64) -> Vec<f64> {
    if load.is_empty() || deferrable <= 0.0 {
        return load.to_vec();
    }
    // The water level: the hours below it take what is missing.
    let mut sorted = load.to_vec();
    sorted.sort_by(f64::total_cmp);
    let mut below = 0.0;
    let mut level = 0.0;
    for (count, value) in sorted.iter().enumerate() {
        if count > 0 && value * count as f64 - below >= deferrable {
            break;
        }
        below += value;
        level = (below + deferrable) / (count as f64 + 1.0);
    }
    load.iter().map(|value| value.max(level)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CALM: FleetPolicy =
        FleetPolicy { maximum_utilization: 1.0, replicas_lost: 0, zones: 1, upgrade_surge: 0, least: 1 };

    #[test]
    fn losses_zones_upgrades_and_utilisation_add_replicas() {
        let at = |policy: FleetPolicy| fleet_hours(&[4.0], 1.0, &policy).unwrap()[0];
        assert_eq!(at(CALM), 4);
        assert_eq!(at(FleetPolicy { maximum_utilization: 0.75, ..CALM }), 6, "4 / 0.75 = 5.33");
        assert_eq!(at(FleetPolicy { replicas_lost: 1, ..CALM }), 5);
        assert_eq!(at(FleetPolicy { zones: 3, ..CALM }), 6, "two a zone: four are left");
        assert_eq!(at(FleetPolicy { zones: 3, replicas_lost: 1, upgrade_surge: 1, ..CALM }), 7);
        assert!(fleet_hours(&[1.0], 0.0, &CALM).is_err());
    }

    #[test]
    fn a_steep_ramp_is_met_ahead_of_time() {
        // 10 until 09:00, 30 from then: with no lag the ramp begins within the hour before.
        let mut day = vec![10.0; 24];
        for value in &mut day[9..18] {
            *value = 30.0;
        }
        let none = ready_rates(&day, 0.0, 1.0);
        assert!(
            (none[7] - 10.0).abs() < 1e-9 && (none[8] - 20.0).abs() < 1e-9 && (none[9] - 30.0).abs() < 1e-9
        );
        let half = ready_rates(&day, 0.5, 1.0);
        assert!((half[8] - 30.0).abs() < 1e-9 && (half[7] - 10.0).abs() < 1e-9);
        assert!((ready_rates(&day, 0.0, 1.5)[12] - 45.0).abs() < 1e-9);
    }

    #[test]
    fn deferrable_work_goes_where_it_is_quiet() {
        assert_eq!(fill_valleys(&[1.0, 5.0, 2.0], 3.0), [3.0, 5.0, 3.0]);
        assert_eq!(fill_valleys(&[1.0, 5.0, 2.0], 10.0), [6.0, 6.0, 6.0]);
        assert_eq!(fill_valleys(&[1.0, 5.0], 0.0), [1.0, 5.0]);
    }

    proptest! {
        #[test]
        fn a_zone_may_be_lost(rate in 0.0f64..200.0, zones in 2u32..6) {
            let policy = FleetPolicy { zones, ..CALM };
            let n = fleet_hours(&[rate], 1.0, &policy).unwrap()[0];
            let left = |n: u32| f64::from(n - n.div_ceil(zones));
            prop_assert!(left(n) >= rate - 1e-6 || n == 1 && rate < 1e-8);
            prop_assert!(n <= 1 || left(n - 1) < rate + 1e-6, "one fewer would do: {}", n);
        }

        #[test]
        fn filling_keeps_all_work_and_never_lowers_an_hour(
            load in prop::collection::vec(0.0f64..20.0, 1..30), extra in 0.0f64..100.0,
        ) {
            let filled = fill_valleys(&load, extra);
            let sum = |v: &[f64]| v.iter().sum::<f64>();
            prop_assert!((sum(&filled) - sum(&load) - extra).abs() < 1e-6);
            prop_assert!(filled.iter().zip(&load).all(|(f, l)| f >= l));
        }
    }
}
