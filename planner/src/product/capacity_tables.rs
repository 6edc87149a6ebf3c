//! Tables of the product file on capacity and purchase: `[fleet.capacity]`, `[fleet.replica]`, `[fleet.purchase]`, `[traffic.growth]`,
//! `[[traffic.spike]]`, `[traffic.repeats]`.

use std::num::NonZeroU32;

use breakeven_hardware::sheet::Term;
use breakeven_measurement::Fraction;
use serde::Deserialize;

use super::text::{NonNegative, Positive, Price, TextDuration};
use crate::{cost::typed_at, plan::Provenance, purchase::fleet_hours::FleetPolicy as Survival};

/// `[fleet.capacity]`: what the fleet is sized to survive, beside `fleet.replicas_lost`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CapacityTable {
    /// Share of a replica's capacity that may be used at most; 1 where left out: the headroom is then lag, burst and losses alone.
    pub maximum_utilization: MaximumUtilization,
    /// Zones that the replicas are spread over; where over 1, the loss of the fullest is survived.
    pub zones: NonZeroU32,
    /// Replicas that a rolling upgrade takes out of service at once.
    pub upgrade_surge: u32,
}

impl Default for CapacityTable {
    fn default() -> Self {
        Self { maximum_utilization: MaximumUtilization(1.0), zones: NonZeroU32::MIN, upgrade_surge: 0 }
    }
}

impl CapacityTable {
    /// As the fleet is sized by.
    pub fn survival(&self, replicas_lost: u32) -> Survival {
        Survival {
            maximum_utilization: self.maximum_utilization.0,
            replicas_lost,
            zones: self.zones.get(),
            upgrade_surge: self.upgrade_surge,
            least: 1,
        }
    }
}

/// A share above 0 and at most 1.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "f64")]
pub struct MaximumUtilization(pub f64);

impl TryFrom<f64> for MaximumUtilization {
    type Error = String;
    fn try_from(value: f64) -> Result<Self, String> {
        if value > 0.0 && value <= 1.0 {
            Ok(Self(value))
        } else {
            Err(format!("expected a share above 0 and at most 1, found {value}"))
        }
    }
}

/// `[fleet.replica]`: the scheduler of a server that does not say, or another than was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReplicaTable {
    /// Most sequences in a step.
    pub max_sequences: Option<NonZeroU32>,
    /// Most tokens in a step.
    pub token_budget: Option<NonZeroU32>,
    /// Tokens that its KV memory holds; without limit where left out.
    pub kv_tokens: Option<u64>,
    /// Tokens of shared prefixes that it keeps.
    pub prefix_cache_tokens: u64,
}

/// `[fleet.purchase]`: what may be bought. Where it is set, the plan has the cheapest mix as an option of its own.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PurchaseTable {
    /// Price of a replica-hour on demand; before that of a sheet, as all of them.
    pub on_demand_usd_per_hour: Option<Price>,
    /// The same on spot.
    pub spot_usd_per_hour: Option<Price>,
    /// The same reserved for a year.
    pub reserved_1y_usd_per_hour: Option<Price>,
    /// The same reserved for three years.
    pub reserved_3y_usd_per_hour: Option<Price>,
    /// Interruptions of one spot machine an hour; spot is not bought where left out: nobody publishes them.
    pub spot_interruptions_per_hour: Option<NonNegative>,
    /// Work lost at each interruption; the scale-up lag where left out.
    pub spot_lost: Option<TextDuration>,
    /// Whether requests may overflow to the cheapest API of the file.
    pub overflow: bool,
    /// Where the figures come from.
    pub note: Option<String>,
}

impl PurchaseTable {
    /// The terms that a price may be typed for.
    pub(crate) const TERMS: [Term; 4] = [Term::OnDemand, Term::Spot, Term::Reserved1y, Term::Reserved3y];

    /// The key of a term's price; `None` where it has none.
    pub(crate) fn key(term: Term) -> Option<&'static str> {
        match term {
            Term::OnDemand => Some("on_demand_usd_per_hour"),
            Term::Spot => Some("spot_usd_per_hour"),
            Term::Reserved1y => Some("reserved_1y_usd_per_hour"),
            Term::Reserved3y => Some("reserved_3y_usd_per_hour"),
            Term::CapacityBlock | Term::Owned => None,
        }
    }

    /// The typed price of a term, and where it stands.
    pub(crate) fn typed(&self, term: Term) -> Option<(Price, Provenance)> {
        let price = match term {
            Term::OnDemand => self.on_demand_usd_per_hour,
            Term::Spot => self.spot_usd_per_hour,
            Term::Reserved1y => self.reserved_1y_usd_per_hour,
            Term::Reserved3y => self.reserved_3y_usd_per_hour,
            Term::CapacityBlock | Term::Owned => None,
        };
        let path = format!("fleet.purchase.{}", Self::key(term)?);
        Some((price?, typed_at(&path, self.note.clone())))
    }
}

/// `[traffic.growth]`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GrowthTable {
    /// Growth of the traffic a month: 0.03 is three per cent more each month, -0.01 one per cent less.
    pub per_month: MonthlyGrowth,
    /// Months looked ahead, 1 to 60.
    pub months: Months,
    /// Relative load of the months, the first that of the plan's own; flat where left out.
    pub season: Option<[NonNegative; 12]>,
}

/// From -50 % to +100 % a month.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "f64")]
pub struct MonthlyGrowth(pub f64);

impl TryFrom<f64> for MonthlyGrowth {
    type Error = String;
    fn try_from(value: f64) -> Result<Self, String> {
        if (-0.5..=1.0).contains(&value) {
            Ok(Self(value))
        } else {
            Err(format!("expected a growth a month from -0.5 to 1, found {value}"))
        }
    }
}

/// 1 to 60 months.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "u32")]
pub struct Months(pub u32);

impl TryFrom<u32> for Months {
    type Error = String;
    fn try_from(value: u32) -> Result<Self, String> {
        if (1..=60).contains(&value) {
            Ok(Self(value))
        } else {
            Err(format!("expected 1 to 60 months, found {value}"))
        }
    }
}

impl GrowthTable {
    /// Each month's requests over the present ones.
    pub fn factors(&self) -> Vec<f64> {
        let mean = self.season.map_or(1.0, |s| s.iter().map(|v| v.get()).sum::<f64>() / 12.0);
        let season = |month: usize| {
            let of = self.season.and_then(|s| s.get(month % 12).copied());
            // A year of zeros has no shape.
            if mean > 0.0 { of.map_or(1.0, |v| v.get() / mean) } else { 1.0 }
        };
        (0..self.months.0).map(|m| (1.0 + self.per_month.0).powf(f64::from(m)) * season(m as usize)).collect()
    }
}

/// `[[traffic.spike]]`: a launch, a campaign: known ahead, rented by the hour.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpikeTable {
    /// Its name.
    pub name: String,
    /// Traffic over that of the busiest hour.
    pub factor: Positive,
    /// How long it lasts.
    pub hours: Positive,
}

/// `[traffic.repeats]`: users or clients that give up and ask again.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RepeatsTable {
    /// E2E latency after which an attempt is given up.
    pub after: TextDuration,
    /// Most repeats of one request.
    #[serde(default = "one")]
    pub most: u32,
    /// Share of the given-up that is asked again.
    #[serde(default = "all")]
    pub probability: Fraction,
}

fn one() -> u32 {
    1
}

fn all() -> Fraction {
    Fraction::ONE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_grow_and_have_seasons() {
        let mut season = [NonNegative::default(); 12];
        for (month, value) in season.iter_mut().enumerate() {
            *value = NonNegative::try_from(if month == 1 { 2.0 } else { 1.0 }).unwrap();
        }
        let growth = GrowthTable { per_month: MonthlyGrowth(0.1), months: Months(14), season: Some(season) };
        let factors = growth.factors();
        let mean = 13.0 / 12.0;
        assert_eq!(factors.len(), 14);
        assert!((factors[0] - 1.0 / mean).abs() < 1e-12);
        assert!((factors[1] - 1.1 * 2.0 / mean).abs() < 1e-12);
        assert!((factors[13] - 1.1_f64.powi(13) * 2.0 / mean).abs() < 1e-9);
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(MaximumUtilization::try_from(0.0).is_err() && MaximumUtilization::try_from(1.01).is_err());
        assert!(
            MaximumUtilization::try_from(f64::NAN).is_err() && MonthlyGrowth::try_from(f64::NAN).is_err()
        );
        assert!(Months::try_from(0).is_err() && Months::try_from(61).is_err());
    }
}
