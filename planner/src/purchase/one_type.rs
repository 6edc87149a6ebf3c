//! The cheapest purchase of one hardware type, exactly.
//!
//! Sort the hours by need: the u-th replica is needed in the hours of the load-duration curve above u. Each replica is decided for
//! itself: paid always, or in each hour that needs it the cheapest of what is paid by the hour and of sending its requests to
//! an API. What the u-th replica carries falls as u grows, so deciding one by one is deciding all.

use super::{PurchaseError, price, require};

/// How a replica can be paid.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prices {
    /// A reserved replica, for each hour of the week whether used or not; absent where there is none.
    pub reserved_usd_per_hour: Option<f64>,
    /// An owned replica, likewise: its annuity and what it costs to run.
    pub owned_usd_per_hour: Option<f64>,
    /// On demand, for each hour used.
    pub on_demand_usd_per_hour: Option<f64>,
    /// Spot, for each hour used.
    pub spot: Option<Spot>,
    /// What the API asks for the requests of one fully loaded replica-hour.
    pub overflow_usd_per_full_hour: Option<f64>,
}

/// Spot machines are cheaper and go away.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spot {
    /// Price of an hour.
    pub usd_per_hour: f64,
    /// Interruptions of one machine an hour.
    pub interruptions_per_hour: f64,
    /// Hours of work lost at each: what was in flight, and the cold start of the next machine.
    pub lost_hours: f64,
}

impl Spot {
    /// Price of an hour of work done: price / (1 − share of time lost). `None` where all of it is lost.
    pub fn usd_per_useful_hour(&self) -> Option<f64> {
        let useful = 1.0 - self.interruptions_per_hour * self.lost_hours;
        (useful > 0.0).then(|| self.usd_per_hour / useful)
    }
}

/// What is bought.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Purchase {
    /// Replicas reserved.
    pub reserved: u32,
    /// Replicas owned.
    pub owned: u32,
    /// Replica-hours on demand over all hours.
    pub on_demand_hours: f64,
    /// Replica-hours on spot.
    pub spot_hours: f64,
    /// Full replica-hours of requests sent to the API.
    pub overflow_hours: f64,
    /// Cost of all hours.
    pub usd: f64,
}

/// The cheapest purchase. `needed` replicas and `load` (replicas' worth of requests, at most what is needed) for each hour.
///
/// # Errors
/// Where nothing on offer serves an hour, or a number is out of its range.
pub fn cheapest(needed: &[u32], load: &[f64], prices: &Prices) -> Result<Purchase, PurchaseError> {
    check(needed, load, prices)?;
    let hours = needed.len() as f64;
    let always = cheaper([
        prices.owned_usd_per_hour.map(|usd| (usd, Always::Owned)),
        prices.reserved_usd_per_hour.map(|usd| (usd, Always::Reserved)),
    ]);
    let by_hour = cheaper([
        prices.on_demand_usd_per_hour.map(|usd| (usd, Hourly::OnDemand)),
        prices.spot.and_then(|spot| spot.usd_per_useful_hour()).map(|usd| (usd, Hourly::Spot)),
    ]);
    let mut purchase = Purchase::default();
    for unit in 0..needed.iter().copied().max().unwrap_or(0) {
        let mut by_use = Some(Purchase::default());
        for (need, load) in needed.iter().zip(load) {
            if *need <= unit {
                continue;
            }
            let carried = (load - f64::from(unit)).clamp(0.0, 1.0);
            let overflow =
                prices.overflow_usd_per_full_hour.map(|usd| (usd * carried, Hourly::Overflow(carried)));
            by_use = by_use.zip(cheaper([by_hour, overflow])).map(|(sum, (usd, how))| sum.with(usd, how));
        }
        let bought = cheaper([
            by_use.map(|bought| (bought.usd, bought)),
            always.map(|(usd, how)| (usd * hours, Purchase::always(usd * hours, how))),
        ]);
        let (_, bought) = bought.ok_or(PurchaseError::NoOffer)?;
        purchase = purchase.plus(bought);
    }
    Ok(purchase)
}

#[derive(Debug, Clone, Copy)]
enum Always {
    Owned,
    Reserved,
}

#[derive(Debug, Clone, Copy)]
enum Hourly {
    OnDemand,
    Spot,
    Overflow(f64),
}

/// The cheaper of two offers; the first where they cost the same.
fn cheaper<T>([a, b]: [Option<(f64, T)>; 2]) -> Option<(f64, T)> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if b.0 < a.0 { b } else { a }),
        (a, b) => a.or(b),
    }
}

impl Purchase {
    fn always(usd: f64, how: Always) -> Self {
        match how {
            Always::Owned => Self { owned: 1, usd, ..Self::default() },
            Always::Reserved => Self { reserved: 1, usd, ..Self::default() },
        }
    }

    fn with(mut self, usd: f64, how: Hourly) -> Self {
        self.usd += usd;
        match how {
            Hourly::OnDemand => self.on_demand_hours += 1.0,
            Hourly::Spot => self.spot_hours += 1.0,
            Hourly::Overflow(hours) => self.overflow_hours += hours,
        }
        self
    }

    fn plus(self, other: Self) -> Self {
        Self {
            reserved: self.reserved + other.reserved,
            owned: self.owned + other.owned,
            on_demand_hours: self.on_demand_hours + other.on_demand_hours,
            spot_hours: self.spot_hours + other.spot_hours,
            overflow_hours: self.overflow_hours + other.overflow_hours,
            usd: self.usd + other.usd,
        }
    }
}

fn check(needed: &[u32], load: &[f64], prices: &Prices) -> Result<(), PurchaseError> {
    let expected = "one for each hour";
    require(load.len() == needed.len(), "the loads", expected, load.len() as f64)?;
    for (need, load) in needed.iter().zip(load) {
        let ok = load.is_finite() && (0.0..=f64::from(*need) + 1e-9).contains(load);
        require(ok, "an hour's load", "from 0 to the replicas needed", *load)?;
    }
    let fixed = [
        ("the reserved price", prices.reserved_usd_per_hour),
        ("the owned price", prices.owned_usd_per_hour),
        ("the on-demand price", prices.on_demand_usd_per_hour),
        ("the overflow price", prices.overflow_usd_per_full_hour),
        ("the spot price", prices.spot.map(|s| s.usd_per_hour)),
        ("spot interruptions an hour", prices.spot.map(|s| s.interruptions_per_hour)),
        ("the hours lost to an interruption", prices.spot.map(|s| s.lost_hours)),
    ];
    fixed.into_iter().try_for_each(|(what, value)| value.map_or(Ok(()), |value| price(what, value)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prices(reserved: f64, on_demand: f64) -> Prices {
        Prices {
            reserved_usd_per_hour: Some(reserved),
            owned_usd_per_hour: None,
            on_demand_usd_per_hour: Some(on_demand),
            spot: None,
            overflow_usd_per_full_hour: None,
        }
    }

    #[test]
    fn the_base_is_reserved_and_the_peak_is_not() {
        // The first replica runs 4 of 4 hours, the second 2, the third 1; reserved costs 0.6 of on demand.
        let needed = [1, 1, 2, 3];
        let load = [1.0, 1.0, 2.0, 3.0];
        let bought = cheapest(&needed, &load, &prices(0.6, 1.0)).unwrap();
        assert_eq!(bought.reserved, 1);
        assert!((bought.on_demand_hours - 3.0).abs() < 1e-12 && (bought.usd - 5.4).abs() < 1e-12);
    }

    #[test]
    fn a_little_load_goes_to_the_api_and_interruptions_cost() {
        let mut prices = prices(0.6, 1.0);
        prices.overflow_usd_per_full_hour = Some(5.0);
        // The second replica would carry a tenth in one hour: 0.5 at the API, 1.0 on demand.
        let bought = cheapest(&[1, 2], &[1.0, 1.1], &prices).unwrap();
        assert!(
            (bought.overflow_hours - 0.1).abs() < 1e-12 && (bought.usd - 1.7).abs() < 1e-12,
            "{bought:?}"
        );
        prices.spot = Some(Spot { usd_per_hour: 0.4, interruptions_per_hour: 0.2, lost_hours: 0.5 });
        let bought = cheapest(&[1, 2], &[1.0, 2.0], &prices).unwrap();
        // 0.4 / 0.9 an hour is the cheapest of all.
        assert!((bought.usd - 3.0 * 0.4 / 0.9).abs() < 1e-12 && bought.reserved == 0);
    }

    #[test]
    fn what_nothing_serves_is_said() {
        let none = Prices { reserved_usd_per_hour: None, on_demand_usd_per_hour: None, ..prices(0.0, 0.0) };
        assert_eq!(cheapest(&[1], &[1.0], &none), Err(PurchaseError::NoOffer));
        assert!(cheapest(&[1], &[2.0], &prices(1.0, 1.0)).is_err());
        assert!(cheapest(&[1], &[1.0], &prices(f64::NAN, 1.0)).is_err());
    }

    /// Every number of replicas paid always, and in every hour every split of the rest.
    fn brute_force(needed: &[u32], load: &[f64], prices: &Prices) -> f64 {
        let peak = needed.iter().copied().max().unwrap_or(0);
        let (r, o) = (prices.reserved_usd_per_hour.unwrap(), prices.owned_usd_per_hour.unwrap());
        let (d, s) =
            (prices.on_demand_usd_per_hour.unwrap(), prices.spot.unwrap().usd_per_useful_hour().unwrap());
        let api = prices.overflow_usd_per_full_hour.unwrap();
        let mut best = f64::INFINITY;
        for reserved in 0..=peak {
            for owned in 0..=peak - reserved {
                let mut usd = needed.len() as f64 * (f64::from(reserved) * r + f64::from(owned) * o);
                for (need, load) in needed.iter().zip(load) {
                    let left = need.saturating_sub(reserved + owned);
                    let mut hour = f64::INFINITY;
                    for on_demand in 0..=left {
                        for spot in 0..=left - on_demand {
                            let machines = f64::from(reserved + owned + on_demand + spot);
                            let over = (load - machines).max(0.0) * api;
                            hour = hour.min(f64::from(on_demand) * d + f64::from(spot) * s + over);
                        }
                    }
                    usd += hour;
                }
                best = best.min(usd);
            }
        }
        best
    }

    proptest! {
        #[test]
        fn one_by_one_costs_what_trying_everything_costs(
            hours in prop::collection::vec((0u32..6, 0.0f64..1.0), 1..8),
            reserved in 0.1f64..2.0, owned in 0.1f64..2.0, on_demand in 0.1f64..3.0, spot in 0.1f64..2.0, api in 0.1f64..8.0,
        ) {
            let needed: Vec<u32> = hours.iter().map(|h| h.0).collect();
            let load: Vec<f64> = hours.iter().map(|h| f64::from(h.0) * h.1).collect();
            let prices = Prices {
                reserved_usd_per_hour: Some(reserved),
                owned_usd_per_hour: Some(owned),
                on_demand_usd_per_hour: Some(on_demand),
                spot: Some(Spot { usd_per_hour: spot, interruptions_per_hour: 0.1, lost_hours: 1.0 }),
                overflow_usd_per_full_hour: Some(api),
            };
            let bought = cheapest(&needed, &load, &prices).unwrap();
            let brute = brute_force(&needed, &load, &prices);
            prop_assert!((bought.usd - brute).abs() < 1e-9 * brute.max(1.0), "{} {}", bought.usd, brute);
        }
    }
}
