//! The cheapest mix of machines and terms as an option: fast machines for what is always there, others for the peaks.
//!
//! Every hour's demand is what the hour must be ready for over the maximum utilisation, and on top the largest machine of all for each
//! replica that may be lost and each that a rolling upgrade takes out, so that whichever goes, the rest carries the hour.

use std::collections::BTreeSet;

use breakeven_hardware::{Usd, sheet::Term};
use breakeven_measurement::Fraction;
use rust_decimal::Decimal;

use crate::{
    cost::{CostModel, decimal, input, rounded},
    fleet::options::{Bought, bought},
    plan::{OptionKind, OptionPlan, Provenance},
    purchase::mix::{MachineType, Mix, cheapest_mix},
    traffic::{HOURS, HOURS_PER_MONTH, mean_rate},
};

/// Option id of the mix.
pub(crate) const MACHINES: &str = "self_host_machines";
/// Different demands that the program looks at: hours are grouped to the most demanding of each group, so a mix carries every hour.
const LEVELS: usize = 12;
/// Kinds of machine that the program looks at, those of the cheapest capacity: its search grows fast with them.
const KINDS: usize = 6;
/// How much dearer than the cheapest mix, as a share, is good enough.
const GAP: f32 = 0.005;

/// One machine under one term.
#[derive(Debug, Clone)]
pub(crate) struct Type {
    pub(crate) machine: String,
    pub(crate) term: Term,
    /// Requests of the product that one replica carries under the SLO.
    pub(crate) requests_per_second: f64,
    /// Share of them that succeeds.
    pub(crate) success: Fraction,
    pub(crate) usd_per_hour: Usd,
    pub(crate) from: Provenance,
}

impl Type {
    fn is_reserved(&self) -> bool {
        matches!(self.term, Term::Reserved1y | Term::Reserved3y)
    }
}

/// The mix, where it takes more than one kind of machine and costs less than `own` alone. Owned hardware, whose price depends on its
/// load, and machines on which another share succeeds are in no mix. There is none where replicas must be spread over zones, nor with
/// stages or a cost of latency, whose bill may differ from machine to machine.
pub(crate) fn option(types: &[Type], own: &CostModel<'_>, name: &str, requests: f64) -> Option<OptionPlan> {
    let survival = own.product.fleet.capacity.survival(own.product.fleet.replicas_lost);
    if survival.zones > 1 || own.load.workflow.is_some() || crate::waiting::matters(own.product) {
        return None;
    }
    let types: Vec<&Type> = types.iter().filter(|one| one.success == own.success).collect();
    let names: BTreeSet<&str> = types.iter().map(|one| one.machine.as_str()).collect();
    // The cheapest reserved and the on-demand price of each machine.
    let mut kinds: Vec<(&str, Option<&Type>, Option<&Type>)> = names
        .into_iter()
        .map(|machine| {
            let of = || types.iter().copied().filter(|one| one.machine == machine);
            let always = of().filter(|one| one.is_reserved()).min_by_key(|one| one.usd_per_hour);
            (machine, always, of().find(|one| one.term == Term::OnDemand))
        })
        .filter(|(_, always, hourly)| always.is_some() || hourly.is_some())
        .collect();
    let of_capacity = |(_, always, hourly): &(&str, Option<&Type>, Option<&Type>)| {
        let usd = |one: &Type| one.usd_per_hour.to_f64() / one.requests_per_second;
        always.iter().chain(hourly).map(|one| usd(one)).fold(f64::INFINITY, f64::min)
    };
    kinds.sort_by(|a, b| of_capacity(a).total_cmp(&of_capacity(b)));
    kinds.truncate(KINDS);
    if kinds.len() < 2 {
        return None;
    }
    let offers: Vec<MachineType> = kinds
        .iter()
        .filter_map(|(machine, always, hourly)| {
            Some(MachineType {
                name: (*machine).to_owned(),
                capacity_per_second: always.or(*hourly)?.requests_per_second,
                always_usd_per_hour: always.map(|one| one.usd_per_hour.to_f64()),
                hourly_usd_per_hour: hourly.map(|one| one.usd_per_hour.to_f64()),
            })
        })
        .collect();
    let largest = offers.iter().map(|offer| offer.capacity_per_second).fold(0.0, f64::max);
    let spare = f64::from(survival.replicas_lost + survival.upgrade_surge) * largest;
    let mean = mean_rate(requests, own.product.success.retries_per_request.get())?.per_second();
    // An hour without traffic still has a replica that is ready, as `purchase::fleet_hours` has it.
    let least = offers.iter().map(|offer| offer.capacity_per_second).fold(f64::INFINITY, f64::min) * 1e-3;
    let ready =
        own.week.ready.iter().map(|ready| (ready * mean / survival.maximum_utilization).max(least) + spare);
    let ready: Vec<f64> = ready.collect();
    let mut mix = cheapest_mix(&grouped(&ready), &offers, None, GAP).ok()?;
    trim(&mut mix, &ready, &offers);
    let hour = decimal(HOURS_PER_MONTH);
    let mut parts = Vec::new();
    let (mut replica_hours, mut used) = (Decimal::ZERO, BTreeSet::new());
    for (index, (machine, always, hourly)) in kinds.iter().enumerate() {
        let kept = mix.always.get(index).copied().unwrap_or(0);
        let rented = || mix.hourly.iter().filter_map(|hour| hour.get(index).copied());
        let hours: u64 = rented().map(u64::from).sum();
        if let Some(one) = always.filter(|_| kept > 0) {
            parts.push((one, kept, Decimal::from(kept) * hour));
            used.insert(*machine);
        }
        if let Some(one) = hourly.filter(|_| hours > 0) {
            let most = rented().max().unwrap_or(0);
            parts.push((one, most, Decimal::from(hours) * hour / Decimal::from(HOURS as u64)));
            used.insert(*machine);
        }
    }
    if used.len() < 2 {
        return None;
    }
    let mut usd_per_month = Usd::ZERO;
    let mut inputs = Vec::new();
    let mut terms = Vec::new();
    for (one, count, hours) in parts {
        let usd = rounded(one.usd_per_hour.times(hours));
        let many = if one.is_reserved() { String::new() } else { "up to ".to_owned() };
        terms.push(format!("{many}{count} x {} {}", one.machine, one.term.name()));
        let label =
            format!("{} {}, {} replica-hours, USD a month", one.machine, one.term.name(), hours.round_dp(1));
        inputs.push(input(&label, usd.0.round_dp(2), one.from.clone()));
        usd_per_month += usd;
        replica_hours += hours;
    }
    let from = Provenance::Computed {
        formula: "the cheapest mix of machines and terms that carries every hour of the week, to 0.5 %: a mixed-integer program".to_owned(),
        inputs,
    };
    let busiest = (0..HOURS).map(|hour| {
        let rented: u32 = mix.hourly.get(hour).map_or(0, |counts| counts.iter().sum());
        mix.always.iter().sum::<u32>() + rented
    });
    let kind = OptionKind::SelfHost {
        replicas: busiest.max().unwrap_or(0),
        usd_per_replica_hour: usd_per_month.per(replica_hours).unwrap_or(Usd::ZERO),
        term: terms.join(" + "),
        price_from: from.clone(),
    };
    let bought_so = Bought { usd_per_month, overflow_requests_per_month: 0.0, kind, from };
    let named = (MACHINES.to_owned(), format!("{name}, cheapest mix of machines"));
    let option = bought(named, own, bought_so, None, requests);
    (option.usd_per_month < own.total(requests)).then_some(option)
}

/// Gives back what an hour rents beyond its own demand, the dearest first.
fn trim(mix: &mut Mix, demand: &[f64], offers: &[MachineType]) {
    let mut dearest: Vec<usize> = (0..offers.len()).collect();
    let price = |index: &usize| offers.get(*index).and_then(|offer| offer.hourly_usd_per_hour).unwrap_or(0.0);
    dearest.sort_by(|a, b| price(b).total_cmp(&price(a)));
    let carries = |counts: &[u32]| -> f64 {
        counts.iter().zip(offers).map(|(count, offer)| f64::from(*count) * offer.capacity_per_second).sum()
    };
    let kept = carries(&mix.always);
    for (counts, demand) in mix.hourly.iter_mut().zip(demand) {
        for index in &dearest {
            let Some(one) = offers.get(*index).map(|offer| offer.capacity_per_second) else { continue };
            let spare = kept + carries(counts) - demand;
            if let Some(count) = counts.get_mut(*index) {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a float cast saturates, and counts are u32"
                )]
                let too_many = (spare.max(0.0) / one + HAIR).floor() as u32;
                *count -= too_many.min(*count);
            }
        }
    }
}

/// A hair below a whole number of replicas is rounding error.
const HAIR: f64 = 1e-9;

/// Each hour's demand raised to the most of its group of hours.
fn grouped(demand: &[f64]) -> Vec<f64> {
    let mut sorted = demand.to_vec();
    sorted.sort_by(f64::total_cmp);
    let part = sorted.len().div_ceil(LEVELS).max(1);
    let tops: Vec<f64> = sorted.chunks(part).filter_map(|group| group.last().copied()).collect();
    demand.iter().map(|rate| tops.iter().copied().find(|top| top >= rate).unwrap_or(*rate)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_carry_every_hour_and_are_few() {
        let demand: Vec<f64> = (0..168).map(|hour| f64::from(hour * 37 % 168)).collect();
        let raised = grouped(&demand);
        assert!(raised.iter().zip(&demand).all(|(group, hour)| group >= hour));
        let levels: BTreeSet<u64> = raised.iter().map(|rate| rate.to_bits()).collect();
        assert_eq!(levels.len(), LEVELS);
        assert_eq!(grouped(&[2.0, 1.0]), [2.0, 1.0]);
    }
}
