//! The months ahead: growth, prices that change, present value and payback.

use breakeven_hardware::{
    Usd,
    finance::{monthly_rate, npv},
    sheet::Term,
};

use crate::{
    plan::decision_plan::{HorizonOption, HorizonPlan, ItemAmount},
    planning::SELF_HOST,
    product::{Product, decision_tables::HorizonTable},
    scenario::{
        Factors,
        world::{Bill, World},
    },
};

/// What changes in each month, the present one first; one month of no change without a `[horizon]`.
pub(crate) fn months(product: &Product) -> Vec<Factors> {
    months_of(product, product.fleet.term == Term::Owned)
}

/// The same for machines that are owned, or are not.
pub(crate) fn months_of(product: &Product, owned: bool) -> Vec<Factors> {
    let Some(table) = &product.horizon else { return vec![Factors::NONE] };
    let growth = growth(product, table);
    (0..table.months.0)
        .map(|month| {
            let (months, years) = (f64::from(month), f64::from(month) / 12.0);
            Factors {
                traffic: (1.0 + growth).powf(months),
                api_prices: (1.0 + table.api_price_change_per_year.0).powf(years),
                // What was bought keeps its price.
                machine_prices: if owned {
                    1.0
                } else {
                    (1.0 + table.machine_price_change_per_year.0).powf(years)
                },
                months,
                ..Factors::NONE
            }
        })
        .collect()
}

fn growth(product: &Product, table: &HorizonTable) -> f64 {
    let typed = table.growth_per_month.map(|rate| rate.0);
    typed.or_else(|| product.traffic.growth.map(|growth| growth.per_month.0)).unwrap_or(0.0)
}

/// The horizon of a product; `None` without the table.
pub(crate) fn horizon(world: &World<'_>, product: &Product) -> Option<HorizonPlan> {
    let table = product.horizon.as_ref()?;
    let months = months(product);
    let bills: Vec<_> = months.iter().map(|at| world.bills(product, at)).collect();
    let ids: Vec<String> = bills.first()?.iter().map(|(id, _)| id.clone()).collect();
    let (mut had, mut left_out) = (Vec::new(), Vec::new());
    for (index, id) in ids.iter().enumerate() {
        let of_months: Result<Vec<&Bill>, (usize, &String)> = bills
            .iter()
            .enumerate()
            .filter_map(|(month, bills)| Some((month, &bills.get(index)?.1)))
            .map(|(month, bill)| bill.as_ref().map_err(|reason| (month, reason)))
            .collect();
        match of_months {
            Ok(bills) => had.push((id.clone(), bills)),
            Err((month, reason)) => left_out.push(format!("{id}: from month {}: {reason}", month + 1)),
        }
    }
    let rate = monthly_rate(table.discount_rate_per_year.get());
    let mut options: Vec<(HorizonOption, Vec<f64>)> =
        had.into_iter().map(|(id, bills)| option(id, &bills, product, table, rate)).collect();
    compare(&mut options, rate);
    let requests = product.traffic.requests_per_month.get();
    Some(HorizonPlan {
        months: table.months.0,
        discount_rate_per_year: table.discount_rate_per_year.get(),
        assumes: assumes(product, table),
        requests_by_month: months.iter().map(|at| requests * at.traffic).collect(),
        options: options.into_iter().map(|(option, _)| option).collect(),
        left_out,
    })
}

fn assumes(product: &Product, table: &HorizonTable) -> Vec<String> {
    let percent = |rate: f64| format!("{:+.1} %", rate * 100.0);
    let mut all = vec![
        format!("traffic {} a month", percent(growth(product, table))),
        format!("API prices {} a year", percent(table.api_price_change_per_year.0)),
        format!("rented machines {} a year", percent(table.machine_price_change_per_year.0)),
        format!("money costs {} a year", percent(table.discount_rate_per_year.get())),
        format!("{} once at the start for running it ourselves", table.upfront_usd.0),
    ];
    let debts = product.stack.operational_debt.iter().filter(|debt| debt.growth_per_year.get() > 0.0);
    all.extend(debts.map(|debt| {
        let growth = percent(debt.growth_per_year.get());
        if debt.optimised {
            format!("operational debt {growth} a year is worked off and does not grow")
        } else {
            format!("operational debt {growth} a year from the second year on, not worked off")
        }
    }));
    all
}

/// An option and what is paid at the end of each month, the start first.
fn option(
    id: String,
    bills: &[&Bill],
    product: &Product,
    table: &HorizonTable,
    rate: f64,
) -> (HorizonOption, Vec<f64>) {
    let mut flows = vec![0.0; bills.len() + 1];
    let pay = |flows: &mut Vec<f64>, month: usize, usd: f64| {
        if let Some(flow) = flows.get_mut(month) {
            *flow += usd;
        }
    };
    let mut lines: Vec<ItemAmount> = Vec::new();
    for (month, bill) in bills.iter().enumerate() {
        let annuity = bill.owned.map_or(Usd::ZERO, |(_, annuity)| annuity);
        pay(&mut flows, month + 1, (bill.usd - annuity).to_f64());
        for line in &bill.lines {
            match lines.iter_mut().find(|sum| sum.line == line.line) {
                Some(sum) => sum.usd += line.usd,
                None => lines.push(*line),
            }
        }
    }
    lines.sort_by_key(|line| line.line);
    let mut capex = 0.0;
    if let Some(hardware) = product.fleet.owned.as_ref().map(|table| &table.0).filter(|_| id == SELF_HOST) {
        let life = usize::try_from(hardware.amortisation_months).unwrap_or(usize::MAX);
        // Price and month of what is held.
        let mut held: Vec<(f64, usize)> = Vec::new();
        for (month, bill) in bills.iter().enumerate() {
            for (price, bought) in &mut held {
                if month - *bought >= life {
                    // Written off: sold for its residual, bought anew.
                    pay(&mut flows, month, *price * (1.0 - hardware.residual_share));
                    capex += *price;
                    *bought = month;
                }
            }
            let wanted = bill.owned.map_or(0.0, |(price, _)| price.to_f64());
            let has: f64 = held.iter().map(|(price, _)| price).sum();
            if wanted > has + 0.005 {
                pay(&mut flows, month, wanted - has);
                capex += wanted - has;
                held.push((wanted - has, month));
            }
        }
        let end = bills.len();
        for (price, bought) in held {
            let age = (end - bought) as f64 / life as f64;
            pay(&mut flows, end, -price * (1.0 - (1.0 - hardware.residual_share) * age.min(1.0)));
        }
    }

    if id == SELF_HOST {
        pay(&mut flows, 0, table.upfront_usd.0.to_f64());
    }
    let usd_by_month: Vec<Usd> = bills.iter().map(|bill| bill.usd).collect();
    let npv_usd = npv(rate, &flows).and_then(Usd::from_f64).unwrap_or(Usd::ZERO).rounded(6);
    let option = HorizonOption {
        id,
        usd_total: usd_by_month.iter().copied().sum(),
        usd_by_month,
        lines,
        npv_usd,
        capex_usd: Usd::from_f64(capex).unwrap_or(Usd::ZERO).rounded(6),
        saves_npv_usd: None,
        payback_month: None,
    };
    (option, flows)
}

/// Savings and payback against the cheapest API by present value.
fn compare(options: &mut [(HorizonOption, Vec<f64>)], rate: f64) {
    let api = options
        .iter()
        .filter(|(option, _)| option.id != SELF_HOST)
        .min_by_key(|(option, _)| option.npv_usd)
        .map(|(_, flows)| flows.clone());
    let Some(api) = api else { return };
    for (option, flows) in options.iter_mut().filter(|(option, _)| option.id == SELF_HOST) {
        let saved: Vec<f64> = api.iter().zip(flows.iter()).map(|(api, own)| api - own).collect();
        option.saves_npv_usd = npv(rate, &saved).and_then(Usd::from_f64).map(|usd| usd.rounded(6));
        option.payback_month = payback(&saved);
    }
}

/// The first month from which the sum of what was saved is never below zero again; `None` where it ends below, or where nothing was
/// spent at the start. Not discounted: simple payback, as finance departments quote it.
pub fn payback(saved: &[f64]) -> Option<u32> {
    if saved.first().is_none_or(|first| *first >= 0.0) {
        return None;
    }
    let mut sum = 0.0;
    let mut paid_back = None;
    for (month, flow) in (0_u32..).zip(saved) {
        sum += flow;
        paid_back = match paid_back {
            Some(since) if sum >= 0.0 => Some(since),
            None if sum >= 0.0 => Some(month),
            _ => None,
        };
    }
    paid_back
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payback_is_the_month_after_which_the_sum_stays_above_zero() {
        assert_eq!(payback(&[-100.0, 40.0, 40.0, 40.0]), Some(3));
        assert_eq!(payback(&[-100.0, 150.0, -80.0, 40.0]), Some(3), "what is lost again does not count");
        assert_eq!(payback(&[-100.0, 50.0]), None);
        assert_eq!(payback(&[0.0, 50.0]), None, "nothing was spent first");
    }
}
