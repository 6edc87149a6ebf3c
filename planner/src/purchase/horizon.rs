//! The cheapest purchase over months that differ: commitments start when they pay, and are paid to their end.
//!
//! The u-th replica of every month is decided for itself, as in [`super::one_type`]. From month m on it costs least
//!
//! > best(m) = min( by the hour in m + best(m + 1), over commitments c: price(c) · term(c) + best(m + term(c)) )
//!
//! with best = 0 after the horizon: a commitment that outlives it is paid all the same. That is exact, for any growth.

/// A price for months to come, used or not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Commitment {
    /// Its price a month.
    pub usd_per_month: f64,
    /// Months that it is paid at least, 1 or more.
    pub term_months: u32,
}

/// What one replica is paid with, month by month.
#[derive(Debug, Clone, PartialEq)]
pub struct Decided {
    /// For each month: the commitment by its number, or by the hour where `None`.
    pub months: Vec<Option<usize>>,
    /// Cost of the horizon, and of what commitments outlive it.
    pub usd: f64,
}

/// The cheapest way through the months. `hourly_usd` is what each month costs by the hour; infinite where nothing is on offer.
pub fn cheapest_way(hourly_usd: &[f64], commitments: &[Commitment]) -> Decided {
    let n = hourly_usd.len();
    // best[m] and how: from the end.
    let mut best: Vec<(f64, Option<usize>)> = vec![(0.0, None); n + 1];
    for (month, hourly) in hourly_usd.iter().enumerate().rev() {
        let after = |months: usize| best.get((month + months).min(n)).map_or(0.0, |b| b.0);
        let mut least = (hourly + after(1), None);
        for (index, offer) in commitments.iter().enumerate() {
            let term = offer.term_months.max(1);
            let usd = offer.usd_per_month * f64::from(term) + after(term as usize);
            if usd < least.0 {
                least = (usd, Some(index));
            }
        }
        if let Some(place) = best.get_mut(month) {
            *place = least;
        }
    }
    let mut months = Vec::with_capacity(n);
    while months.len() < n {
        let how = best.get(months.len()).and_then(|b| b.1);
        let term = how.and_then(|i| commitments.get(i)).map_or(1, |c| c.term_months.max(1) as usize);
        months.extend(std::iter::repeat_n(how, term.min(n - months.len())));
    }
    Decided { months, usd: best.first().map_or(0.0, |b| b.0) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_commitment_starts_when_it_pays() {
        // Needed a little at first, always later: reserved from the fourth month.
        let hourly = [10.0, 10.0, 10.0, 100.0, 100.0, 100.0];
        let way = cheapest_way(&hourly, &[Commitment { usd_per_month: 60.0, term_months: 3 }]);
        assert_eq!(way.months, [None, None, None, Some(0), Some(0), Some(0)]);
        assert!((way.usd - 210.0).abs() < 1e-12);
    }

    #[test]
    fn what_outlives_the_horizon_is_paid() {
        // Two months by the hour are 200, a year's commitment 12 · 60.
        let way = cheapest_way(&[100.0, 100.0], &[Commitment { usd_per_month: 60.0, term_months: 12 }]);
        assert_eq!(way.months, [None, None]);
        assert!((way.usd - 200.0).abs() < 1e-12);
        let way = cheapest_way(&[100.0; 8], &[Commitment { usd_per_month: 60.0, term_months: 12 }]);
        assert_eq!(way.months, [Some(0); 8], "720 for the year are less than 800");
    }

    /// Every choice in every month, tried one by one.
    fn brute_force(hourly: &[f64], commitments: &[Commitment]) -> f64 {
        let Some((first, rest)) = hourly.split_first() else { return 0.0 };
        commitments.iter().fold(first + brute_force(rest, commitments), |least, c| {
            let left = hourly.get(c.term_months as usize..).unwrap_or(&[]);
            least.min(c.usd_per_month * f64::from(c.term_months) + brute_force(left, commitments))
        })
    }

    proptest! {
        #[test]
        fn the_way_costs_what_trying_everything_costs(
            hourly in prop::collection::vec(0.0f64..200.0, 1..9),
            offers in prop::collection::vec((1.0f64..150.0, 1u32..6), 0..3),
        ) {
            let offers: Vec<Commitment> =
                offers.into_iter().map(|(usd_per_month, term_months)| Commitment { usd_per_month, term_months }).collect();
            let way = cheapest_way(&hourly, &offers);
            let brute = brute_force(&hourly, &offers);
            prop_assert!((way.usd - brute).abs() < 1e-9 * brute.max(1.0), "{} {}", way.usd, brute);
            prop_assert_eq!(way.months.len(), hourly.len());
        }
    }
}
