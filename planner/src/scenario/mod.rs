//! Scenarios crossed with stresses: the same product under other conditions, costed in full by the exact model.

pub(crate) mod matrix;
pub(crate) mod world;

use breakeven_measurement::Fraction;

use crate::{
    plan::{LineItem, decision_plan::Condition},
    product::{CostEntry, NonNegative, Positive, Price, Product, decision_tables::ConditionTable},
    stack::debt_growth,
};

/// What a scenario, a stress or a later month changes. Factors multiply, amounts add.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Factors {
    /// Requests a month.
    pub traffic: f64,
    /// Burst factor.
    pub burst: f64,
    /// What managed APIs charge.
    pub api_prices: f64,
    /// What our own machines cost.
    pub machine_prices: f64,
    /// Retries a request, added.
    pub more_retries: f64,
    /// Success share.
    pub success: f64,
    /// Replicas that may be lost, added.
    pub more_lost: f64,
    /// USD a month, added to compliance.
    pub fixed_usd: f64,
    /// USD a request, added to compliance.
    pub usd_per_request: f64,
    /// Months from now: operational debt grows from the thirteenth on.
    pub months: f64,
}

impl Factors {
    /// Nothing changed.
    pub const NONE: Self = Self {
        traffic: 1.0,
        burst: 1.0,
        api_prices: 1.0,
        machine_prices: 1.0,
        more_retries: 0.0,
        success: 1.0,
        more_lost: 0.0,
        fixed_usd: 0.0,
        usd_per_request: 0.0,
        months: 0.0,
    };

    /// Both changes together.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self {
            traffic: self.traffic * other.traffic,
            burst: self.burst * other.burst,
            api_prices: self.api_prices * other.api_prices,
            machine_prices: self.machine_prices * other.machine_prices,
            more_retries: self.more_retries + other.more_retries,
            success: self.success * other.success,
            more_lost: self.more_lost + other.more_lost,
            fixed_usd: self.fixed_usd + other.fixed_usd,
            usd_per_request: self.usd_per_request + other.usd_per_request,
            months: self.months + other.months,
        }
    }

    /// What a table of the product file says.
    pub fn of(table: &ConditionTable) -> Self {
        Self {
            traffic: table.traffic.get(),
            burst: table.burst.get(),
            api_prices: table.api_prices.get(),
            machine_prices: table.machine_prices.get(),
            more_retries: table.more_retries.get(),
            success: table.success.get(),
            more_lost: f64::from(table.more_replicas_lost),
            fixed_usd: table.compliance_usd_per_month.0.to_f64(),
            usd_per_request: table.compliance_usd_per_request.0.to_f64(),
            months: 0.0,
        }
    }

    /// The product under these conditions; prices of models and machines are not in it and are scaled on the bill.
    pub(crate) fn product(&self, product: &Product) -> Product {
        let mut changed = product.clone();
        let positive = |value: f64, before: Positive| Positive::try_from(value).unwrap_or(before);
        let share = |value: Fraction| Fraction::new(value.get() * self.success).unwrap_or(value);
        let traffic = &mut changed.traffic;
        traffic.requests_per_month =
            positive(traffic.requests_per_month.get() * self.traffic, traffic.requests_per_month);
        traffic.burst_factor = positive(traffic.burst_factor.get() * self.burst, traffic.burst_factor);
        let retries = changed.success.retries_per_request;
        changed.success.retries_per_request =
            NonNegative::try_from(retries.get() + self.more_retries).unwrap_or(retries);
        if let Some(loads) = &mut changed.loads {
            // Measured ones stand beside the typed figure.
            loads.own.retries = loads.own.retries.take().map(|found| found.and(self.more_retries));
        }
        changed.success.probability = share(changed.success.probability);
        changed.fleet.success_probability = changed.fleet.success_probability.map(share);
        for api in &mut changed.apis {
            api.success_probability = api.success_probability.map(share);
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a sum of u32 from the product file; a float cast saturates"
        )]
        let more = self.more_lost as u32;
        changed.fleet.replicas_lost = changed.fleet.replicas_lost.saturating_add(more);
        if (self.api_prices - 1.0).abs() > 0.0 {
            // Stages that ask a managed API pay its price too.
            let api_priced =
                |cost: &&mut CostEntry| cost.worked.as_ref().is_some_and(|worked| worked.api_priced);
            for cost in changed.costs.iter_mut().filter(api_priced) {
                let factor = crate::cost::decimal(self.api_prices);
                cost.usd_per_request = cost.usd_per_request.map(|price| Price(price.0.times(factor)));
            }
        }
        if self.months > 0.0 {
            for cost in &mut changed.costs {
                let grows = cost.worked.as_ref().map_or(0.0, |worked| worked.grows_per_year);
                let factor = crate::cost::decimal(debt_growth(grows, self.months));
                if grows > 0.0 {
                    cost.usd_per_month = cost.usd_per_month.map(|price| Price(price.0.times(factor)));
                }
            }
        }
        if self.fixed_usd > 0.0 || self.usd_per_request > 0.0 {
            let price = |usd: f64| Price::try_from(usd).ok();
            changed.costs.push(CostEntry {
                line: LineItem::Compliance,
                usd_per_month: price(self.fixed_usd),
                usd_per_request: price(self.usd_per_request),
                usd_per_failure: None,
                only: None,
                note: Some("compliance that the scenario or stress adds".to_owned()),
                worked: None,
            });
        }
        changed
    }

    /// What is changed, for a reader.
    pub fn describe(&self) -> String {
        let percent = |factor: f64| format!("{:+.0} %", (factor - 1.0) * 100.0);
        let mut said = Vec::new();
        for (name, factor) in [
            ("traffic", self.traffic),
            ("burst factor", self.burst),
            ("API prices", self.api_prices),
            ("machine prices", self.machine_prices),
            ("success", self.success),
        ] {
            if (factor - 1.0).abs() > 1e-12 {
                said.push(format!("{name} {}", percent(factor)));
            }
        }
        if self.more_retries > 0.0 {
            said.push(format!("retries a request +{}", self.more_retries));
        }
        if self.more_lost > 0.0 {
            said.push(format!("replicas lost +{}", self.more_lost));
        }
        if self.fixed_usd > 0.0 {
            said.push(format!("compliance +${} a month", self.fixed_usd));
        }
        if self.usd_per_request > 0.0 {
            said.push(format!("compliance +${} a request", self.usd_per_request));
        }
        if said.is_empty() { "nothing".to_owned() } else { said.join(", ") }
    }
}

/// A condition with what it changes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Named {
    pub(crate) condition: Condition,
    pub(crate) factors: Factors,
}

impl Named {
    fn new(name: &str, factors: Factors, default: bool) -> Self {
        let changes = factors.describe();
        Self { condition: Condition { name: name.to_owned(), changes, default }, factors }
    }
}

/// The product's scenarios, or the defaults, which are assumptions of ours: traffic a quarter below and half above.
pub(crate) fn scenarios(product: &Product) -> Vec<Named> {
    if !product.scenarios.is_empty() {
        return product.scenarios.iter().map(|t| Named::new(&t.name, Factors::of(t), false)).collect();
    }
    [("conservative", 0.75), ("expected", 1.0), ("aggressive", 1.5)]
        .map(|(name, traffic)| Named::new(name, Factors { traffic, ..Factors::NONE }, true))
        .to_vec()
}

/// None, then the product's stresses, or the defaults, which are assumptions of ours.
pub(crate) fn stresses(product: &Product) -> Vec<Named> {
    let mut all = vec![Named::new("none", Factors::NONE, false)];
    if product.stresses.is_empty() {
        let none = Factors::NONE;
        all.extend([
            Named::new("API prices fall", Factors { api_prices: 0.7, ..none }, true),
            Named::new("API prices rise", Factors { api_prices: 1.3, ..none }, true),
            Named::new("traffic spike", Factors { traffic: 1.3, burst: 2.0, ..none }, true),
            Named::new("retry surge", Factors { more_retries: 0.25, ..none }, true),
            Named::new("new compliance rule", Factors { fixed_usd: 2_000.0, ..none }, true),
            Named::new("a replica lost at peak", Factors { more_lost: 1.0, ..none }, true),
        ]);
    } else {
        all.extend(product.stresses.iter().map(|t| Named::new(&t.name, Factors::of(t), false)));
    }
    all
}
