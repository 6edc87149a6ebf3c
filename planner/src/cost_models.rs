//! The cost models of the options: our own replicas, and every managed API of the product.

use breakeven_hardware::{
    ApiPrice, PriceBook, Service, Usd,
    api_limits::LimitUse,
    sheet::{ComputeQuery, Freshness, Term},
};
use breakeven_measurement::{Fraction, Measurement};
use jiff::civil::Date;

use crate::{
    api_discounts::Discounts,
    cost::{CostModel, Supply, day_of, typed_at},
    owned::{MeasuredPower, Owned},
    plan::{Provenance, ReplicaCapacity},
    planning::PlanOptions,
    product::{ApiChoice, Product},
    summary,
    traffic::Week,
    workflow::load::{Load, Loads},
};

#[expect(clippy::too_many_arguments, reason = "the planner's inputs, read-only, in one place")]
pub(crate) fn own_model<'a>(
    product: &'a Product,
    week: &'a Week,
    load: &'a Load,
    measurement: &Measurement,
    prices: &PriceBook,
    capacity: Option<&ReplicaCapacity>,
    capacity_from: &Provenance,
    options: &PlanOptions<'_>,
) -> Result<CostModel<'a>, String> {
    let capacity = capacity.ok_or_else(|| {
        format!(
            "no measured load meets the SLO ({}); relax it or measure a faster machine",
            summary::slo_line(&measurement.slo)
        )
    })?;
    let owned = match (product.fleet.term, &product.fleet.owned) {
        (Term::Owned, Some(table)) => {
            Some(Owned { hardware: &table.0, power: MeasuredPower::of(measurement, capacity.rate) })
        }
        (_, Some(_)) => {
            return Err(format!(
                "fleet.owned is set, and fleet.term is {}; set term = \"owned\" or leave the table out",
                product.fleet.term
            ));
        }
        (_, None) => None,
    };
    let (usd_per_hour, price_from) = match owned {
        Some(_) => (Usd::ZERO, typed_at("fleet.owned", None)),
        None => machine_price(product, prices, options.as_of)?,
    };
    let mut model = CostModel {
        product,
        week,
        load,
        success: of_workflow(product.own_success(), load),
        supply: Supply::SelfHost {
            capacity: capacity.rate,
            usd_per_hour,
            price_from,
            capacity_from: capacity_from.clone(),
            owned,
        },
    };
    let requests = product.traffic.requests_per_month.get();
    let hourly =
        model.owned_cost(requests).and_then(|cost| cost.usd_per_month.per(model.replica_hours(requests)?));
    if let (Supply::SelfHost { usd_per_hour, .. }, Some(hourly)) = (&mut model.supply, hourly) {
        *usd_per_hour = hourly;
    }
    Ok(model)
}

/// The share of requests that succeed: of those that the workflow ends in success, the share that is right.
fn of_workflow(right: Fraction, load: &Load) -> Fraction {
    Fraction::new(right.get() * load.success).unwrap_or(right)
}

/// The sheets' price of an instance under a term, and the row that says so.
pub(crate) fn instance_price(
    prices: &PriceBook,
    instance: &str,
    term: Term,
    as_of: Date,
) -> Option<(Usd, Provenance)> {
    let query =
        ComputeQuery { instance: Some(instance.to_owned()), term: Some(term), ..ComputeQuery::default() };
    let row = *prices.find_compute(&query).first()?;
    let from = Provenance::PriceSheet {
        row: format!("{} {instance} {} ({}:{})", row.provider, row.term, row.origin.file, row.origin.line),
        source: row.origin.source().to_owned(),
        date: day_of(row.origin.as_of),
        stale: row.origin.as_of.freshness(as_of) != Freshness::Fresh,
    };
    Some((row.usd_per_hour.0, from))
}

/// The machine's price: the sheet's row for the instance that the product names, else the product's own figure.
fn machine_price(product: &Product, prices: &PriceBook, as_of: Date) -> Result<(Usd, Provenance), String> {
    let fleet = &product.fleet;
    if let Some((price, from)) = fleet.purchase.as_ref().and_then(|table| table.typed(fleet.term)) {
        return Ok((price.0, from));
    }
    if let Some(instance) = &fleet.instance {
        if let Some(priced) = instance_price(prices, instance, fleet.term, as_of) {
            return Ok(priced);
        }
        if fleet.usd_per_hour.is_none() {
            return Err(format!(
                "no price sheet has instance `{instance}` at term {}; add a row, or set fleet.usd_per_hour",
                fleet.term
            ));
        }
    }
    let price = fleet.usd_per_hour.ok_or(
        "no price for the machine: set fleet.instance to a row of a price sheet, or fleet.usd_per_hour",
    )?;
    Ok((price.0, typed_at("fleet.usd_per_hour", fleet.usd_per_hour_note.clone())))
}

/// Refuses a row that has no rate for tokens that a request has: they would read as free.
fn unpriced(price: &ApiPrice, choice: &ApiChoice, load: &Load) -> Result<(), String> {
    if price.usd_per_request.is_some() || choice.provisioned.is_some() {
        return Ok(());
    }
    let (rates, _) = price.rates(Service::Standard, 0);
    for (tokens, rate, of) in
        [(load.input_tokens(), rates.input, "prompt"), (load.output_tokens(), rates.output, "answer")]
    {
        if tokens > 0.0 && rate.is_none() {
            return Err(format!(
                "its price row ({}:{}) has no price of {of} tokens; add one to the sheet",
                price.origin.file, price.origin.line
            ));
        }
    }
    Ok(())
}

/// Id, name, and the model or why there is none.
pub(crate) type ApiModel<'a> = (String, String, Result<CostModel<'a>, String>);

/// `provider/model`; a model name may already begin with its provider.
pub(crate) fn api_name(choice: &ApiChoice) -> String {
    if choice.model.starts_with(&format!("{}/", choice.provider)) {
        choice.model.clone()
    } else {
        format!("{}/{}", choice.provider, choice.model)
    }
}

pub(crate) fn api_models<'a>(
    product: &'a Product,
    week: &'a Week,
    loads: &'a Loads,
    prices: &'a PriceBook,
    as_of: Date,
) -> Vec<ApiModel<'a>> {
    let model_of = |choice: &'a ApiChoice, load: &'a Load| -> Result<CostModel<'a>, String> {
        let price = prices.find_api(&choice.provider, &choice.model).ok_or_else(|| {
            format!(
                "no price sheet has {} / {}; `breakeven prices list` shows what there is",
                choice.provider, choice.model
            )
        })?;
        if price.is_withdrawn(as_of) {
            return Err(format!("the provider withdrew it by {as_of}"));
        }
        unpriced(price, choice, load)?;
        let discounts = Discounts::of(choice, price, load)?;
        let tokens_ratio = choice.tokens_ratio.map_or(1.0, crate::product::Positive::get);
        let model = CostModel {
            product,
            week,
            load,
            success: of_workflow(choice.success_probability.unwrap_or(product.success.probability), load),
            supply: Supply::Api {
                price,
                tokens_ratio,
                as_of,
                provisioned: choice.provisioned.as_ref(),
                discounts,
            },
        };
        let peak = model.peak_minute(product.traffic.requests_per_month.get(), tokens_ratio);
        let limits = choice.limits.unwrap_or_default().limits();
        if let Some(over) = limits.check(&peak).into_iter().find(LimitUse::is_exceeded) {
            return Err(format!(
                "the busiest minute is over its rate limit, {over}; have the limit raised, or flatten the peak"
            ));
        }
        if choice.provisioned.as_ref().is_some_and(|table| table.offer().cost(&peak, 0).is_none()) {
            return Err("no number of provisioned units carries the busiest minute".to_owned());
        }
        Ok(model)
    };
    product
        .apis
        .iter()
        .enumerate()
        .map(|(index, choice)| {
            let name = api_name(choice);
            (format!("api:{name}"), name, model_of(choice, loads.of_api(index)))
        })
        .collect()
}
