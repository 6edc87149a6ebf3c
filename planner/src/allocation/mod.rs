//! Who pays: one bill split by team, feature or customer segment, to the cent.
//!
//! Costs of a request go by requests, costs of a failure likewise (nobody's requests are said to fail more often), API tokens by
//! the bill of each segment's tokens. Shared capacity goes by the seconds of prefill and decode that a part's requests take, at the
//! seconds a token that were measured; the idle part of it goes by the rule of the table. Cents that rounding leaves over go to the
//! largest remainders (Hamilton's method).

use breakeven_hardware::{ApiPrice, Service, Usd, UsdPerMillionTokens};
use breakeven_measurement::{LevelName, Measurement, Quantile};
use rust_decimal::{Decimal, prelude::ToPrimitive as _};

use crate::{
    api_discounts::Discounts,
    cost::{CostModel, SegmentTokens, Supply, decimal},
    plan::{
        LineItem, OptionPlan,
        decision_plan::{AllocationPart, AllocationPlan, ItemAmount},
    },
    product::{
        OnlyFor, Product,
        decision_tables::{AllocationTable, IdleRule, PartTable},
    },
    workflow::load::segment_tokens,
};

/// What an option's bill is split by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bill<'a> {
    pub(crate) option: &'a OptionPlan,
    /// Its cost model; `None` for a mix or a hybrid, which are split like our own replicas.
    pub(crate) model: Option<&'a CostModel<'a>>,
    /// Share of our replicas' capacity that is used on average; `None` for an API.
    pub(crate) utilization: Option<f64>,
}

/// Seconds of a prompt and of an answer token, measured with little load: of the lowest level that has both.
pub(crate) fn seconds_per_token(measurement: &Measurement) -> Option<(f64, f64)> {
    let level = measurement.level(LevelName::Baseline)?;
    let finite = |quantile: Quantile| match quantile {
        Quantile::Finite(duration) => Some(duration.as_secs_f64()),
        Quantile::Infinite => None,
    };
    let prompt = measurement.workload.mean_input_tokens();
    let prefill = finite(level.overall.ttft.quantile(0.5)?)? / prompt;
    let decode = finite(level.overall.tpot.quantile(0.5)?)?;
    (prefill > 0.0 && decode > 0.0).then_some((prefill, decode))
}

/// Every split that the product asks for.
///
/// # Errors
/// The first table that names a segment which the product has not.
pub(crate) fn allocations(
    product: &Product,
    measurement: &Measurement,
    bill: &Bill<'_>,
) -> Result<Vec<AllocationPlan>, String> {
    product.allocations.iter().map(|table| split(product, measurement, bill, table)).collect()
}

/// What one part takes of each driver, as shares of all.
struct Shares {
    requests: f64,
    use_of_calls: f64,
}

fn split(
    product: &Product,
    measurement: &Measurement,
    bill: &Bill<'_>,
    table: &AllocationTable,
) -> Result<AllocationPlan, String> {
    let parts = &table.parts.0;
    let (basis, weights) = weights(product, measurement, bill, parts)?;
    let all_requests: f64 = parts.iter().map(|part| part.requests.get()).sum();
    let all_use: f64 = parts.iter().zip(&weights).map(|(part, weight)| part.requests.get() * weight).sum();
    let mut shares: Vec<Shares> = parts
        .iter()
        .zip(&weights)
        .map(|(part, weight)| Shares {
            requests: part.requests.get() / all_requests,
            use_of_calls: part.requests.get() * weight / all_use,
        })
        .collect();
    let mut names: Vec<String> = parts.iter().map(|part| part.name.clone()).collect();
    if table.idle == IdleRule::Apart && bill.utilization.is_some() {
        names.push("idle".to_owned());
        shares.push(Shares { requests: 0.0, use_of_calls: 0.0 });
    }
    let idle_share = bill.utilization.map_or(0.0, |busy| 1.0 - busy.clamp(0.0, 1.0));
    let idle_of = |index: usize, shares: &Shares| match table.idle {
        IdleRule::ByUse => shares.use_of_calls,
        IdleRule::Equally => 1.0 / parts.len() as f64,
        IdleRule::Apart => f64::from(u8::from(index == parts.len())),
    };
    let own = matches!(bill.option.kind, crate::plan::OptionKind::SelfHost { .. });
    let lines: Vec<&crate::plan::CostLine> =
        bill.option.lines.iter().filter(|line| line.usd_per_month != Usd::ZERO).collect();
    let total = cents(bill.option.usd_per_month);
    // The lines in cents first, then each line's parts, so that both directions add up.
    let exact: Vec<Decimal> = lines.iter().map(|line| line.usd_per_month.0 * Decimal::ONE_HUNDRED).collect();
    let line_cents = largest_remainder(total, &exact);
    let mut filled: Vec<(Vec<ItemAmount>, i64)> = vec![(Vec::new(), 0); names.len()];
    for (line, line_cents) in lines.iter().zip(line_cents) {
        let calls = matches!(line.line, LineItem::Inference | LineItem::Retries);
        // Stages that ask other models may stand on the same line; they go by requests.
        let stages = if calls { of_stages(product, bill, line.line) } else { Usd::ZERO };
        let asked = stages.per(line.usd_per_month.0).map_or(1.0, |share| 1.0 - share.to_f64());
        let idle = if calls && own { idle_share * asked } else { 0.0 };
        let by = |index: usize, shares: &Shares| {
            if calls {
                (asked - idle) * shares.use_of_calls
                    + idle * idle_of(index, shares)
                    + (1.0 - asked) * shares.requests
            } else {
                shares.requests
            }
        };
        let amount = Decimal::from(line_cents);
        let wanted: Vec<Decimal> =
            shares.iter().enumerate().map(|(index, s)| amount * decimal(by(index, s))).collect();
        let got = largest_remainder(line_cents, &wanted);
        for (((lines, idle_cents), cents), (index, shares)) in
            filled.iter_mut().zip(got).zip(shares.iter().enumerate())
        {
            if cents != 0 {
                lines.push(ItemAmount { line: line.line, usd: usd(cents) });
            }
            let part = decimal(idle * idle_of(index, shares)) * amount;
            *idle_cents += part.round().to_i64().unwrap_or(0);
        }
    }
    let parts = names
        .into_iter()
        .zip(shares)
        .zip(filled)
        .map(|((name, shares), (lines, idle))| AllocationPart {
            name,
            share_of_requests: shares.requests,
            share_of_use: shares.use_of_calls,
            idle_usd_per_month: usd(idle),
            usd_per_month: lines.iter().map(|line| line.usd).sum(),
            lines,
        })
        .collect();
    Ok(AllocationPlan {
        by: table.by.clone(),
        option: bill.option.id.clone(),
        basis,
        idle_rule: match table.idle {
            IdleRule::ByUse => "idle capacity by use".to_owned(),
            IdleRule::Equally => "idle capacity in equal parts".to_owned(),
            IdleRule::Apart => "idle capacity apart".to_owned(),
        },
        usd_per_month: usd(total),
        parts,
    })
}

/// What the stages that ask other models add to a line of the bill.
fn of_stages(product: &Product, bill: &Bill<'_>, line: LineItem) -> Usd {
    let api = matches!(bill.option.kind, crate::plan::OptionKind::Api { .. });
    let applies = |only: Option<OnlyFor>| only.is_none_or(|only| (only == OnlyFor::Api) == api);
    let of_stage = |cost: &&crate::product::CostEntry| {
        cost.worked.as_ref().is_some_and(|worked| worked.of_stage) && cost.line == line && applies(cost.only)
    };
    let requests = decimal(product.traffic.requests_per_month.get());
    let own_asked = || product.loads.as_ref().map_or(1.0, |loads| loads.own.asked());
    let asked = bill.model.map_or_else(own_asked, |model| model.load.asked());
    let usd = |cost: &crate::product::CostEntry| {
        cost.usd(requests * decimal(cost.times_asked(asked)), Decimal::ZERO)
    };
    product.costs.iter().filter(of_stage).map(usd).sum()
}

/// Use of one request of each part, in any unit, and the unit's name.
fn weights(
    product: &Product,
    measurement: &Measurement,
    bill: &Bill<'_>,
    parts: &[PartTable],
) -> Result<(String, Vec<f64>), String> {
    let workload = product.workload();
    let shares = workload.shares();
    let mut discount = None;
    let (basis, prompt, answer) = match bill.model.map(|model| &model.supply) {
        Some(Supply::Api { price, tokens_ratio, provisioned: None, discounts, .. }) if discounts.any() => {
            discount = Some((price, *tokens_ratio, *discounts));
            ("tokens at the API's prices, cached and batch ones included".to_owned(), 0.0, 0.0)
        }
        Some(Supply::Api { price, .. }) => {
            let rates = price.standard();
            let usd = |rate: Option<UsdPerMillionTokens>| rate.map_or(0.0, |r| r.0.to_f64());
            ("tokens at the API's prices".to_owned(), usd(rates.input), usd(rates.output))
        }
        _ => match seconds_per_token(measurement) {
            Some((prefill, decode)) => (
                format!("measured seconds: {prefill:.6} a prompt token, {decode:.6} an answer token"),
                prefill,
                decode,
            ),
            None => ("tokens: no level has both TTFT and TPOT".to_owned(), 1.0, 1.0),
        },
    };
    let (fixed, times) = product.loads.as_ref().map_or(((0.0, 0.0), (1.0, 1.0)), |loads| {
        let api = matches!(bill.option.kind, crate::plan::OptionKind::Api { .. });
        let load = if api { &loads.api } else { &loads.own };
        (load.fixed_tokens, load.of_segment)
    });
    // Lengths as the bill has them: measured ones where they were.
    let of = |length: &SegmentTokens| {
        let (_, input, output) = length.parts();
        let (input, output) = (fixed.0 + times.0 * input, fixed.1 + times.1 * output);
        match discount {
            Some((price, ratio, discounts)) => {
                // Calls of the segments alone share a prefix.
                let (read, written) = discounts.cached(length.prefix() * ratio);
                let cached = (read * times.0, written * times.0);
                discounted(price, discounts, input * ratio, output * ratio, cached)
            }
            None => prompt * input + answer * output,
        }
    };
    let uses: Vec<f64> = segment_tokens(product, measurement).iter().map(of).collect();
    let mix: f64 = uses.iter().zip(&shares).map(|(one, share)| share * one).sum();
    let weights = parts.iter().map(|part| match &part.segment {
        None => Ok(mix),
        Some(name) => {
            let of_segment = workload.segments.iter().zip(&uses).find(|(segment, _)| segment.name == *name);
            of_segment.map(|(_, one)| *one).ok_or_else(|| {
                let known: Vec<&str> = workload.segments.iter().map(|s| s.name.as_str()).collect();
                format!(
                    "allocation part `{}` is of segment `{name}`, expected one of: {}",
                    part.name,
                    known.join(", ")
                )
            })
        }
    });
    let weights: Vec<f64> = weights.collect::<Result<_, _>>()?;
    if weights.iter().sum::<f64>() > 0.0 {
        Ok((basis, weights))
    } else {
        Ok(("requests: its tokens cost nothing".to_owned(), vec![1.0; parts.len()]))
    }
}

/// What a request's tokens cost at cached and batch prices, in millionths of a dollar: as `breakeven_hardware::api_cost`, where cached
/// tokens without a price of their own are prompt tokens.
fn discounted(
    price: &ApiPrice,
    discounts: Discounts,
    input: f64,
    output: f64,
    (read, written): (f64, f64),
) -> f64 {
    let usd = |rate: Option<UsdPerMillionTokens>| rate.map_or(0.0, |rate| rate.0.to_f64());
    let read = read.min(input);
    let written = written.min(input - read);
    let of_service = |(service, share): (Service, f64)| {
        let (rates, _) = price.rates(service, 0);
        let cached =
            read * usd(rates.cached_read.or(rates.input)) + written * usd(rates.cache_write.or(rates.input));
        share * ((input - read - written) * usd(rates.input) + cached + output * usd(rates.output))
    };
    discounts.services().map(of_service).sum()
}

fn cents(usd: Usd) -> i64 {
    (usd.rounded(2).0 * Decimal::ONE_HUNDRED).to_i64().unwrap_or(0)
}

fn usd(cents: i64) -> Usd {
    Usd(Decimal::new(cents, 2))
}

/// Whole numbers near `wanted` that add up to `total`: each rounded down, what is left to the largest remainders, the first of
/// equals first.
pub fn largest_remainder(total: i64, wanted: &[Decimal]) -> Vec<i64> {
    let mut whole: Vec<i64> = wanted.iter().map(|w| w.floor().to_i64().unwrap_or(0)).collect();
    let mut order: Vec<(Decimal, usize)> =
        wanted.iter().enumerate().map(|(index, w)| (w - w.floor(), index)).collect();
    order.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut left = total - whole.iter().sum::<i64>();
    let step = left.signum();
    // Once round is enough but for shares that do not quite add up to one.
    for (_, index) in order.iter().cycle().take(4 * order.len().max(1)) {
        if left == 0 {
            break;
        }
        if let Some(cents) = whole.get_mut(*index) {
            *cents += step;
            left -= step;
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_textbook_seats() {
        // Hamilton's method on 21 seats for populations 1, 2, 4 of 7: 3, 6, 12.
        let share = |of: i64| Decimal::from(21 * of) / Decimal::from(7);
        assert_eq!(largest_remainder(21, &[share(1), share(2), share(4)]), [3, 6, 12]);
        let third = Decimal::from(100) / Decimal::from(3);
        assert_eq!(largest_remainder(100, &[third, third, third]), [34, 33, 33]);
    }

    proptest! {
        #[test]
        fn parts_always_add_up(total in 0_i64..1_000_000_000, weights in prop::collection::vec(0.001_f64..1e3, 1..12)) {
            let sum: f64 = weights.iter().sum();
            let wanted: Vec<Decimal> = weights.iter().map(|w| Decimal::from(total) * decimal(w / sum)).collect();
            let parts = largest_remainder(total, &wanted);
            prop_assert_eq!(parts.iter().sum::<i64>(), total);
            for (part, wanted) in parts.iter().zip(&wanted) {
                prop_assert!((Decimal::from(*part) - wanted).abs() <= Decimal::ONE);
            }
        }
    }
}
