//! What may be bought: the price rows of every term of the instance, the product file's own prices, and an API for what overflows.

use breakeven_hardware::{PriceBook, Usd, sheet::Term};
use jiff::civil::Date;

use crate::{
    cost_models::instance_price,
    plan::{
        Provenance,
        fleet_plan::{Offer, PurchaseKind},
    },
    product::{FleetPolicy, capacity_tables::PurchaseTable},
    purchase::one_type::{Prices, Spot},
};

/// Offers, and what they come to for the purchase.
#[derive(Debug, Clone)]
pub(crate) struct Offers {
    pub(crate) list: Vec<Offer>,
    pub(crate) spot: Option<Spot>,
    pub(crate) notes: Vec<String>,
}

/// Requests that overflow: to which API, and USD for an attempt.
#[derive(Debug, Clone)]
pub(crate) struct Overflow {
    pub(crate) api: String,
    pub(crate) usd_per_attempt: f64,
    pub(crate) from: Provenance,
}

fn kind_of(term: Term) -> Option<PurchaseKind> {
    match term {
        Term::OnDemand => Some(PurchaseKind::OnDemand),
        Term::Spot => Some(PurchaseKind::Spot),
        Term::Reserved1y => Some(PurchaseKind::Reserved1y),
        Term::Reserved3y => Some(PurchaseKind::Reserved3y),
        Term::Owned => Some(PurchaseKind::Owned),
        // Bought by the block of days from a fixed start: no way to carry a week's traffic.
        Term::CapacityBlock => None,
    }
}

pub(crate) fn minimum_months(kind: PurchaseKind) -> u32 {
    match kind {
        PurchaseKind::Reserved1y => 12,
        PurchaseKind::Reserved3y => 36,
        PurchaseKind::Owned | PurchaseKind::OnDemand | PurchaseKind::Spot | PurchaseKind::Overflow => 0,
    }
}

impl Offers {
    /// All offers of machines. `own_usd_per_hour` is the price at the product's own term, which the plan already has.
    pub(crate) fn of(
        fleet: &FleetPolicy,
        prices: &PriceBook,
        as_of: Date,
        own_usd_per_hour: Usd,
        own_from: &Provenance,
    ) -> Self {
        let mut offers = Self { list: Vec::new(), spot: None, notes: Vec::new() };
        let table = fleet.purchase.clone().unwrap_or_default();
        for term in PurchaseTable::TERMS {
            if let (Some(kind), Some((price, from))) = (kind_of(term), table.typed(term)) {
                offers.add(kind, price.0, from);
            }
        }
        if let Some(kind) = kind_of(fleet.term) {
            offers.add(kind, own_usd_per_hour, own_from.clone());
        }
        for term in PurchaseTable::TERMS {
            let (Some(kind), Some(instance)) = (kind_of(term), &fleet.instance) else { continue };
            if let Some((usd_per_hour, from)) = instance_price(prices, instance, term, as_of) {
                offers.add(kind, usd_per_hour, from);
            }
        }
        if let Some(offer) = offers.find(PurchaseKind::Spot).cloned() {
            match table.spot_interruptions_per_hour {
                Some(interruptions) => {
                    let lost = table.spot_lost.unwrap_or(fleet.scale_up_lag).0;
                    offers.spot = Some(Spot {
                        usd_per_hour: offer.usd_per_hour.to_f64(),
                        interruptions_per_hour: interruptions.get(),
                        lost_hours: lost.as_secs_f64() / 3_600.0,
                    });
                }
                None if fleet.term == Term::Spot => {
                    offers.spot = Some(Spot {
                        usd_per_hour: offer.usd_per_hour.to_f64(),
                        interruptions_per_hour: 0.0,
                        lost_hours: 0.0,
                    });
                }
                None => offers.notes.push(
                    "spot has a price and is not bought: set fleet.purchase.spot_interruptions_per_hour, which no \
                     provider publishes"
                        .to_owned(),
                ),
            }
        }
        offers
    }

    /// The first offer of a kind stands: typed prices come before the plan's own term, that before the sheets'.
    fn add(&mut self, kind: PurchaseKind, usd_per_hour: Usd, from: Provenance) {
        if self.find(kind).is_none() {
            self.list.push(Offer { kind, usd_per_hour, minimum_months: minimum_months(kind), from });
        }
    }

    pub(crate) fn find(&self, kind: PurchaseKind) -> Option<&Offer> {
        self.list.iter().find(|offer| offer.kind == kind)
    }

    fn usd(&self, kind: PurchaseKind) -> Option<f64> {
        self.find(kind).map(|offer| offer.usd_per_hour.to_f64())
    }

    /// The cheaper of the reservations, and which.
    pub(crate) fn reserved(&self) -> Option<(PurchaseKind, f64)> {
        [PurchaseKind::Reserved1y, PurchaseKind::Reserved3y]
            .into_iter()
            .filter_map(|kind| Some((kind, self.usd(kind)?)))
            .min_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// As the purchase of one type takes them. `full_hour_usd` is what the API asks for a full replica's hour of requests.
    pub(crate) fn prices(&self, full_hour_usd: Option<f64>) -> Prices {
        Prices {
            reserved_usd_per_hour: self.reserved().map(|r| r.1),
            owned_usd_per_hour: self.usd(PurchaseKind::Owned),
            on_demand_usd_per_hour: self.usd(PurchaseKind::OnDemand),
            spot: self.spot,
            overflow_usd_per_full_hour: full_hour_usd,
        }
    }

    /// One way alone.
    pub(crate) fn alone(&self, kind: PurchaseKind, full_hour_usd: Option<f64>) -> Prices {
        let only = |k: PurchaseKind| if kind == k { self.usd(k) } else { None };
        Prices {
            reserved_usd_per_hour: only(PurchaseKind::Reserved1y).or(only(PurchaseKind::Reserved3y)),
            owned_usd_per_hour: only(PurchaseKind::Owned),
            on_demand_usd_per_hour: only(PurchaseKind::OnDemand),
            spot: self.spot.filter(|_| kind == PurchaseKind::Spot),
            overflow_usd_per_full_hour: full_hour_usd.filter(|_| kind == PurchaseKind::Overflow),
        }
    }
}
