//! The options' exact cost models of a product under some conditions.

use breakeven_hardware::{PriceBook, Usd};
use breakeven_measurement::Measurement;

use super::Factors;
use crate::{
    cost::{CostModel, Supply, decimal, rounded},
    cost_models::{api_models, own_model},
    plan::{LineItem, Provenance, ReplicaCapacity, decision_plan::ItemAmount},
    planning::{PlanOptions, SELF_HOST},
    product::Product,
    traffic::Week,
    workflow::{
        bill::{Sheets, with_stages},
        load::Loads,
    },
};

/// All that options are built from, beside the product.
#[derive(Debug, Clone, Copy)]
pub(crate) struct World<'a> {
    pub(crate) measurement: &'a Measurement,
    pub(crate) prices: &'a PriceBook,
    pub(crate) options: &'a PlanOptions<'a>,
    pub(crate) capacity: Option<&'a ReplicaCapacity>,
}

/// Option id and its model, or why it cannot be had.
pub(crate) type Model<'a> = (String, Result<CostModel<'a>, String>);

/// One option's exact bill.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bill {
    pub(crate) lines: Vec<ItemAmount>,
    pub(crate) usd: Usd,
    pub(crate) successes: f64,
    /// Requests that succeed, by the help of an escalation too.
    pub(crate) resolved: f64,
    /// Servers' price and the annuity in the bill, for hardware of one's own.
    pub(crate) owned: Option<(Usd, Usd)>,
}

impl World<'_> {
    /// Hands the models of all options of a product, ours first, to `use_them`.
    pub(crate) fn with_models<R>(&self, product: &Product, use_them: impl FnOnce(&[Model<'_>]) -> R) -> R {
        let week = Week::of(product);
        let loads = product.loads.clone().unwrap_or_else(|| Loads::plain(product));
        let mut models = vec![(SELF_HOST.to_owned(), self.own(product, &week, &loads))];
        let apis = api_models(product, &week, &loads, self.prices, self.options.as_of);
        models.extend(apis.into_iter().map(|(id, _, model)| (id, model)));
        use_them(&models)
    }

    /// Hands the model of our own replicas alone to `use_it`.
    pub(crate) fn with_own<R>(
        &self,
        product: &Product,
        use_it: impl FnOnce(&Result<CostModel<'_>, String>) -> R,
    ) -> R {
        let week = Week::of(product);
        let loads = product.loads.clone().unwrap_or_else(|| Loads::plain(product));
        use_it(&self.own(product, &week, &loads))
    }

    fn own<'b>(
        &self,
        product: &'b Product,
        week: &'b Week,
        loads: &'b Loads,
    ) -> Result<CostModel<'b>, String> {
        let from = Provenance::Measured {
            run_id: self.measurement.run_id.clone(),
            path: "search.capacity.rate".to_owned(),
        };
        own_model(
            product,
            week,
            &loads.own,
            self.measurement,
            self.prices,
            self.capacity,
            &from,
            self.options,
        )
    }

    /// A product read anew, with its stages in its costs and its load; `None` where they cannot be priced.
    pub(crate) fn staged(&self, product: Product) -> Option<Product> {
        let sheets = Sheets { prices: self.prices, as_of: self.options.as_of, measurement: self.measurement };
        with_stages(product, &sheets).ok()
    }

    /// The exact bill of our own replicas.
    pub(crate) fn own_bill(&self, product: &Product) -> Result<Bill, String> {
        let requests = product.traffic.requests_per_month.get();
        self.with_own(product, |model| {
            model.as_ref().map(|m| bill(m, requests, &Factors::NONE)).map_err(Clone::clone)
        })
    }

    /// Every option's exact bill under some conditions.
    pub(crate) fn bills(&self, product: &Product, at: &Factors) -> Vec<(String, Result<Bill, String>)> {
        let changed = at.product(product);
        let requests = changed.traffic.requests_per_month.get();
        self.with_models(&changed, |models| {
            models
                .iter()
                .map(|(id, model)| {
                    (id.clone(), model.as_ref().map(|m| bill(m, requests, at)).map_err(Clone::clone))
                })
                .collect()
        })
    }
}

fn bill(model: &CostModel<'_>, requests: f64, at: &Factors) -> Bill {
    let factor = match model.supply {
        Supply::SelfHost { .. } => at.machine_prices,
        Supply::Api { .. } => at.api_prices,
    };
    let (base, retries, _) = model.model_calls(requests);
    let lines: Vec<ItemAmount> = model
        .lines(requests)
        .into_iter()
        .map(|line| {
            let calls = match line.line {
                LineItem::Inference => base,
                LineItem::Retries => retries,
                _ => Usd::ZERO,
            };
            let usd = if (factor - 1.0).abs() > 0.0 {
                line.usd_per_month - calls + calls.times(decimal(factor))
            } else {
                line.usd_per_month
            };
            ItemAmount { line: line.line, usd: rounded(usd) }
        })
        .filter(|line| line.usd != Usd::ZERO)
        .collect();
    let owned = model.owned_cost(requests).map(|cost| {
        (
            cost.capex.times(decimal(factor)),
            cost.line(breakeven_hardware::owned::OwnedLine::Capital).times(decimal(factor)),
        )
    });
    let usd = lines.iter().map(|line| line.usd).sum();
    let success = model.success.get();
    Bill {
        lines,
        usd,
        successes: requests * success,
        resolved: requests * (success + model.load.aided),
        owned,
    }
}
