//! What changed between two books of prices.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::PriceBook;
use super::api::{ApiPrice, TokenRates};
use crate::money::Usd;

/// One figure that differs between two books.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceChange {
    /// What is priced.
    pub key: String,
    /// Which of its prices.
    pub field: String,
    /// The old price; `None` where it is new.
    pub before: Option<Usd>,
    /// The new price; `None` where it is gone.
    pub after: Option<Usd>,
}

impl fmt::Display for PriceChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ", self.key, self.field)?;
        match (self.before, self.after) {
            (Some(before), Some(after)) => write!(f, "{before} -> {after}"),
            (None, Some(after)) => write!(f, "added at {after}"),
            (Some(before), None) => write!(f, "removed, was {before}"),
            (None, None) => f.write_str("unpriced"),
        }
    }
}

impl PriceBook {
    /// What changes on the way to a newer book, by key; nothing where both say the same, whatever their dates and sources.
    pub fn diff(&self, newer: &Self) -> Vec<PriceChange> {
        let (before, after) = (self.figures(), newer.figures());
        let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
        names
            .into_iter()
            .filter(|name| before.get(name) != after.get(name))
            .map(|name| PriceChange {
                key: name.0.clone(),
                field: name.1.clone(),
                before: before.get(name).copied(),
                after: after.get(name).copied(),
            })
            .collect()
    }

    /// Every figure by what is priced and which price of it.
    fn figures(&self) -> BTreeMap<(String, String), Usd> {
        let compute =
            self.compute.iter().map(|price| ((price.key(), "per hour".to_owned()), price.usd_per_hour.0));
        compute.chain(self.api.iter().flat_map(api_figures)).collect()
    }
}

fn api_figures(price: &ApiPrice) -> Vec<((String, String), Usd)> {
    let mut figures = Vec::new();
    let mut add =
        |field: String, usd: Option<Usd>| figures.extend(usd.map(|usd| ((price.key(), field), usd)));
    add("per request".to_owned(), price.usd_per_request);
    add("per tool call".to_owned(), price.usd_per_tool_call);
    for (service, schedule) in &price.services {
        for (name, rate) in kinds(&schedule.base) {
            add(format!("{service} {name} per million tokens"), rate);
        }
        for tier in &schedule.tiers {
            for (name, rate) in kinds(&tier.rates) {
                add(format!("{service} {name} per million tokens above {}", tier.above_input_tokens), rate);
            }
        }
    }
    figures
}

fn kinds(rates: &TokenRates) -> [(&'static str, Option<Usd>); 6] {
    [
        ("input", rates.input.map(|rate| rate.0)),
        ("output", rates.output.map(|rate| rate.0)),
        ("reasoning", rates.reasoning.map(|rate| rate.0)),
        ("cached read", rates.cached_read.map(|rate| rate.0)),
        ("cache write", rates.cache_write.map(|rate| rate.0)),
        ("cache write 1h", rates.cache_write_1h.map(|rate| rate.0)),
    ]
}
