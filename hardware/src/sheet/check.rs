//! What a careful reader would question in a book of prices: what `prices check` prints.

use std::fmt;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::PriceBook;
use super::compute::{ComputePrice, Term};
use super::date::Freshness;
use super::origin::Origin;
use crate::money::UsdPerHour;

/// One thing to question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceFinding {
    /// What is priced.
    pub key: String,
    /// Where the price stands: file and line.
    pub place: String,
    /// What is doubtful about it.
    pub doubt: PriceDoubt,
}

/// What is doubtful about a price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PriceDoubt {
    /// Read longer ago than prices keep.
    Stale {
        /// How long.
        days: i64,
    },
    /// Its source carries no date.
    Undated,
    /// Dated after today.
    FromTheFuture,
    /// Names neither page nor collection.
    NoSource,
    /// The provider has withdrawn the model; nobody can buy at this price any more.
    Withdrawn {
        /// Since this day.
        on: Date,
    },
    /// The provider will withdraw the model.
    ToBeWithdrawn {
        /// From this day.
        on: Date,
    },
    /// Spot costs more than the same machine on demand in the same collection.
    SpotAboveOnDemand,
    /// Costs nothing.
    Free,
}

impl fmt::Display for PriceFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ", self.place, self.key)?;
        match self.doubt {
            PriceDoubt::Stale { days } => write!(f, "was read {days} days ago"),
            PriceDoubt::Undated => f.write_str("has no date"),
            PriceDoubt::FromTheFuture => f.write_str("is dated after today"),
            PriceDoubt::NoSource => f.write_str("names no source"),
            PriceDoubt::Withdrawn { on } => write!(f, "was withdrawn on {on}"),
            PriceDoubt::ToBeWithdrawn { on } => write!(f, "will be withdrawn on {on}"),
            PriceDoubt::SpotAboveOnDemand => f.write_str("costs more than on demand"),
            PriceDoubt::Free => f.write_str("costs nothing"),
        }
    }
}

impl PriceBook {
    /// Everything doubtful on a given day, compute prices first.
    pub fn check(&self, today: Date) -> Vec<PriceFinding> {
        let mut findings = Vec::new();
        let mut add = |key: String, origin: &Origin, doubt: PriceDoubt| {
            findings.push(PriceFinding { key, place: format!("{}:{}", origin.file, origin.line), doubt });
        };
        for price in &self.compute {
            for doubt in origin_doubts(&price.origin, today) {
                add(price.key(), &price.origin, doubt);
            }
            if price.usd_per_hour.0.0.is_zero() {
                add(price.key(), &price.origin, PriceDoubt::Free);
            }
            if price.term == Term::Spot
                && self.on_demand_of(price).is_some_and(|other| other < price.usd_per_hour)
            {
                add(price.key(), &price.origin, PriceDoubt::SpotAboveOnDemand);
            }
        }
        for price in &self.api {
            for doubt in origin_doubts(&price.origin, today) {
                add(price.key(), &price.origin, doubt);
            }
            if let Some(on) = price.deprecated_on {
                let gone = price.is_withdrawn(today);
                let doubt =
                    if gone { PriceDoubt::Withdrawn { on } } else { PriceDoubt::ToBeWithdrawn { on } };
                add(price.key(), &price.origin, doubt);
            }
            let rates = price.standard();
            if [rates.input, rates.output].into_iter().flatten().all(|rate| rate.0.0.is_zero()) {
                add(price.key(), &price.origin, PriceDoubt::Free);
            }
        }
        findings
    }

    /// What the same machine costs on demand in the same collection.
    fn on_demand_of(&self, spot: &ComputePrice) -> Option<UsdPerHour> {
        let same = |price: &&ComputePrice| {
            price.term == Term::OnDemand
                && price.provider == spot.provider
                && price.region == spot.region
                && price.instance == spot.instance
                && price.sku == spot.sku
                && price.device == spot.device
                && price.device_count == spot.device_count
                && price.origin.dataset == spot.origin.dataset
        };
        self.compute.iter().filter(same).map(|price| price.usd_per_hour).max()
    }
}

fn origin_doubts(origin: &Origin, today: Date) -> Vec<PriceDoubt> {
    let age = origin.as_of.age_days(today);
    let aged = match (origin.as_of.freshness(today), age) {
        (Freshness::Undated, _) | (_, None) => Some(PriceDoubt::Undated),
        (Freshness::Stale, Some(days)) => Some(PriceDoubt::Stale { days }),
        (Freshness::Fresh, Some(days)) if days < 0 => Some(PriceDoubt::FromTheFuture),
        (Freshness::Fresh, Some(_)) => None,
    };
    let sourceless =
        (origin.source_url.is_none() && origin.dataset.is_none()).then_some(PriceDoubt::NoSource);
    aged.into_iter().chain(sourceless).collect()
}
