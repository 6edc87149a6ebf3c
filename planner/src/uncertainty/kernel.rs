//! The cost model in binary floating point, compiled from the exact one, for millions of evaluations.
//!
//! It follows `cost` term by term and is never printed as a bill: a law in the tests holds both to 1e-9 of one another.

use std::sync::Arc;

use breakeven_hardware::{
    Service, Usd,
    api_limits::{PeakMinute, RateLimits},
    sheet::{Term, TokenRates},
};

use crate::{
    api_discounts::Discounts,
    cost::{CostModel, Supply},
    measured_retries::MeasuredRetries,
    product::OnlyFor,
    scenario::Factors,
    stack::debt_growth,
    traffic::{HOURS, HOURS_PER_MONTH},
    waiting::Waiting,
};

const SECONDS_PER_MONTH: f64 = HOURS_PER_MONTH * 3_600.0;
/// A hair above a whole number of replicas is rounding error, as in `capacity::replicas_for`.
const HAIR: f64 = 1e-9;

/// Every option that can be had, on the same numbers.
#[derive(Debug, Clone)]
pub struct Kernel {
    pub(crate) requests: f64,
    pub(crate) retries: f64,
    /// Burst factor over the one the hours were compiled with.
    pub(crate) burst: f64,
    /// The burst factor they were compiled with.
    pub(crate) typed_burst: f64,
    /// What managed APIs charge, times this.
    pub(crate) api_price: f64,
    pub(crate) options: Vec<OptionKernel>,
}

/// One option.
#[derive(Debug, Clone)]
pub struct OptionKernel {
    /// Option id.
    pub id: String,
    pub(crate) success: f64,
    /// What the workflow makes of a share of right answers.
    pub(crate) workflow_success: f64,
    /// Share of requests that an escalation resolves.
    aided: f64,
    /// What waiting leaves of the successes; the share of them that it costs on a line of its own, and what each is worth there.
    kept: f64,
    lost: f64,
    pub(crate) value: f64,
    /// Extra attempts a request that were measured, in the place of the kernel's own.
    pub(crate) retries: Option<f64>,
    /// Attempts that the stages make a request: in requests as measured, and in number.
    load: (f64, f64),
    /// USD a request that moves with API prices: stages that ask one.
    api_priced: f64,
    /// Index of its `[[api]]`; `None` for our own replicas.
    pub(crate) api: Option<usize>,
    /// Which of the machines it is on, the plan's own being the first; 0 for an API.
    pub(crate) part: usize,
    /// Whether it is hardware of one's own.
    pub(crate) is_owned: bool,
    pub(crate) calls: Calls,
    /// Index of each `[[cost]]` that applies, and its fixed, per-request and per-failure amounts.
    pub(crate) typed: Vec<(usize, [f64; 3])>,
    typed_sum: [f64; 3],
    /// Monthly amounts among those that grow from the second year on, and their growth a year.
    debts: Vec<(f64, f64)>,
    limits: Option<RateLimits>,
    /// Prompt and answer tokens of a request, retries of the stages included.
    tokens: (f64, f64),
    peak_ready: f64,
}

#[derive(Debug, Clone)]
pub(crate) enum Calls {
    /// What hours must be ready for over the mean, each different value once and in order, with how many hours it and those before it are.
    /// Shared, since every draw has a kernel of its own.
    Hourly {
        hours: Arc<[(f64, f64)]>,
        fleet: FleetRule,
        usd_per_hour: f64,
        always: bool,
    },
    Owned {
        fleet: FleetRule,
        fixed: f64,
        per_server: f64,
        per_rate: f64,
        by_capacity: bool,
    },
    Tokens {
        ratio: f64,
        segments: Vec<SegmentPrice>,
        fee: f64,
    },
    Units {
        ratio: f64,
        usd_per_unit_hour: f64,
        least: f64,
        step: f64,
        input_rate: f64,
        output_rate: f64,
    },
}

/// What a fleet must survive, as `purchase::fleet_hours` has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FleetRule {
    pub(crate) capacity: f64,
    most: f64,
    pub(crate) lost: f64,
    zones: f64,
    surge: f64,
    least: f64,
}

impl FleetRule {
    fn replicas(&self, rate: f64, more_lost: f64) -> f64 {
        self.surviving(Self::carrying(rate / (self.capacity * self.most)), more_lost)
    }

    /// Whole replicas for a load in replicas.
    fn carrying(load: f64) -> f64 {
        ceil(load - HAIR).clamp(1.0, f64::from(u32::MAX))
    }

    /// Replica-hours of a week whose mean hour must be ready for a rate.
    ///
    /// Hours are in order, so each number of replicas holds for a stretch of them: its end is found by the rate that so many carry, and
    /// then made exact. Where nearly every hour has a number of its own, they are added up one by one.
    fn week(&self, hours: &[(f64, f64)], mean: f64, more_lost: f64) -> f64 {
        let load = mean / (self.capacity * self.most);
        let of = |hour: &(f64, f64)| Self::carrying(hour.0 * load);
        let (Some(first), Some(last)) = (hours.first(), hours.last()) else { return 0.0 };
        let numbers = of(last) - of(first) + 1.0;
        let (mut sum, mut before) = (0.0, 0.0);
        if numbers * 4.0 > hours.len() as f64 {
            for hour in hours {
                sum += self.surviving(of(hour), more_lost) * (hour.1 - before);
                before = hour.1;
            }
            return sum;
        }
        let mut rest = hours;
        while let Some(hour) = rest.first() {
            let carrying = of(hour);
            let same = |at: usize| rest.get(at).is_some_and(|hour| of(hour) <= carrying);
            let most = carrying / load;
            let mut end = rest.partition_point(|(ready, _)| *ready <= most).max(1);
            while same(end) {
                end += 1;
            }
            while end > 1 && !same(end - 1) {
                end -= 1;
            }
            let up_to = rest.get(end - 1).map_or(before, |hour| hour.1);
            sum += self.surviving(carrying, more_lost) * (up_to - before);
            (before, rest) = (up_to, rest.get(end..).unwrap_or_default());
        }
        sum
    }

    /// What is paid for, with so many carrying the load.
    fn surviving(&self, carrying: f64, more_lost: f64) -> f64 {
        let by_zone = if self.zones > 1.0 { carrying + ceil(carrying / (self.zones - 1.0)) } else { 0.0 };
        ((carrying + self.lost + more_lost).max(by_zone) + self.surge).max(self.least)
    }
}

/// Rounds up without a call into the mathematics library: the plain x86-64 target has no instruction for it.
fn ceil(x: f64) -> f64 {
    if x.abs() < 9e15 {
        #[expect(clippy::cast_possible_truncation, reason = "below 2^53, checked on the line above")]
        let whole = x as i64 as f64;
        if whole < x { whole + 1.0 } else { whole }
    } else {
        x
    }
}

/// Rounds half up, for counts from 0.
fn round(x: f64) -> f64 {
    let up = ceil(x);
    if up - x > 0.5 { up - 1.0 } else { up }
}

/// One segment of an API's bill.
#[derive(Debug, Clone)]
pub(crate) struct SegmentPrice {
    share: f64,
    input: f64,
    output: f64,
    /// Prompt tokens that its calls share, in our tokens.
    prefix: f64,
    discounts: Discounts,
    /// The first prompt length of each tier with its prices from there on; the first is 0.
    tiers: Vec<(f64, TokenUsd)>,
}

/// USD of a token.
#[derive(Debug, Clone, Copy, Default)]
struct TokenUsd {
    input: f64,
    output: f64,
    read: f64,
    written: f64,
}

/// The cost of one option in one month.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// The bill, USD.
    pub usd: f64,
    /// Successful outcomes.
    pub successes: f64,
}

impl Cost {
    /// USD per successful outcome; infinite where there is none.
    pub fn per_success(self) -> f64 {
        if self.successes > 0.0 { self.usd / self.successes } else { f64::INFINITY }
    }
}

impl OptionKernel {
    /// Compiles an option; `None` where no closed formula follows it.
    pub(crate) fn compile(id: &str, model: &CostModel<'_>, api: Option<usize>) -> Option<Self> {
        let product = model.product;
        let applies = |only: Option<OnlyFor>| match only {
            None => true,
            Some(OnlyFor::SelfHost) => api.is_none(),
            Some(OnlyFor::Api) => api.is_some(),
        };
        let usd = |price: Option<crate::product::Price>| price.map_or(0.0, |p| p.0.to_f64());
        let api_priced =
            |cost: &crate::product::CostEntry| cost.worked.as_ref().is_some_and(|worked| worked.api_priced);
        let asked = model.load.asked();
        let costs = || product.costs.iter().enumerate().filter(|(_, cost)| applies(cost.only));
        let typed = costs().filter(|(_, cost)| !api_priced(cost)).map(|(index, cost)| {
            let each = usd(cost.usd_per_request) * cost.times_asked(asked);
            (index, [usd(cost.usd_per_month), each, usd(cost.usd_per_failure)])
        });
        let (lost, value) = model.load.waiting.as_ref().map_or((0.0, Usd::ZERO), Waiting::lost);
        let limits = api.and_then(|index| product.apis.get(index)?.limits).map(|table| table.limits());
        let mut option = Self {
            id: id.to_owned(),
            success: model.success.get(),
            workflow_success: model.load.success,
            aided: model.load.aided,
            kept: model.load.kept(),
            lost,
            value: value.to_f64(),
            retries: model.load.retries.as_ref().map(MeasuredRetries::per_request),
            load: (model.load.in_all(), model.load.attempts),
            api_priced: costs()
                .filter(|(_, cost)| api_priced(cost))
                .map(|(_, cost)| usd(cost.usd_per_request) * cost.times_asked(asked))
                .sum(),
            api,
            part: 0,
            is_owned: api.is_none() && product.fleet.term == Term::Owned,
            calls: calls(model)?,
            typed: typed.collect(),
            typed_sum: [0.0; 3],
            debts: costs()
                .filter_map(|(_, cost)| Some((usd(cost.usd_per_month), cost.worked.as_ref()?.grows_per_year)))
                .filter(|(_, grows)| *grows > 0.0)
                .collect(),
            limits,
            tokens: model.load.all_tokens(),
            peak_ready: model.week.peak_ready(),
        };
        option.settle();
        Some(option)
    }

    /// Adds up the typed costs again, after one has changed.
    pub(crate) fn settle(&mut self) {
        self.typed_sum = self.typed.iter().fold([0.0; 3], |[a, b, c], (_, [x, y, z])| [a + x, b + y, c + z]);
    }

    /// The month's cost at a volume; `None` where the option cannot be had there.
    pub(crate) fn cost(&self, kernel: &Kernel, requests: f64, at: &Factors) -> Option<Cost> {
        let requests = requests * at.traffic;
        let retries = self.retries.unwrap_or(kernel.retries) + at.more_retries;
        let burst = kernel.burst * at.burst;
        // Of one attempt a request, and of what a replica carries.
        let once = requests * (1.0 + retries) / SECONDS_PER_MONTH;
        let mean = once * self.load.0;
        if let Some(limits) = &self.limits {
            let ratio = self.ratio();
            let count = once * self.peak_ready * burst * 60.0;
            let peak = PeakMinute {
                requests: count * self.load.1,
                input_tokens: count * self.tokens.0 * ratio,
                output_tokens: count * self.tokens.1 * ratio,
            };
            if limits.check(&peak).iter().any(breakeven_hardware::api_limits::LimitUse::is_exceeded) {
                return None;
            }
        }
        let calls = match &self.calls {
            Calls::Hourly { hours, fleet, usd_per_hour, always } => {
                let paid = if *always {
                    fleet.replicas(mean * self.peak_ready * burst, at.more_lost)
                } else {
                    fleet.week(hours, mean * burst, at.more_lost) / HOURS as f64
                };
                paid * HOURS_PER_MONTH * usd_per_hour * at.machine_prices
            }
            Calls::Owned { fleet, fixed, per_server, per_rate, by_capacity } => {
                let servers = fleet.replicas(mean * self.peak_ready * burst, at.more_lost);
                let load = if *by_capacity { mean / fleet.capacity } else { mean };
                (fixed + per_server * servers + per_rate * load) * at.machine_prices
            }
            Calls::Tokens { ratio, segments, fee } => {
                let base: f64 = segments.iter().map(|segment| segment.usd(requests, *ratio, *fee)).sum();
                base * (1.0 + retries) * at.api_prices * kernel.api_price
            }
            Calls::Units { ratio, usd_per_unit_hour, least, step, input_rate, output_rate } => {
                let per_second = once * self.peak_ready * burst * ratio;
                let wanted =
                    per_second * self.tokens.0 / input_rate + per_second * self.tokens.1 / output_rate;
                let units = ceil(ceil(wanted).max(*least).max(1.0) / step) * step;
                units * usd_per_unit_hour * HOURS_PER_MONTH * at.api_prices * kernel.api_price
            }
        };
        let success = self.success * at.success;
        let of_those_who_wait = if self.kept > 0.0 { success / self.kept } else { 0.0 };
        let [fixed, each, failing] = self.typed_sum;
        let grown = self.debts.iter().map(|(usd, grows)| usd * (debt_growth(*grows, at.months) - 1.0));
        let other = fixed
            + grown.sum::<f64>()
            + at.fixed_usd
            + (each + at.usd_per_request + self.api_priced * at.api_prices * kernel.api_price) * requests
            + self.lost * self.value * requests * success
            + failing * requests * (1.0 - of_those_who_wait - self.aided).max(0.0);
        Some(Cost { usd: calls + other, successes: requests * success })
    }

    fn ratio(&self) -> f64 {
        match &self.calls {
            Calls::Tokens { ratio, .. } | Calls::Units { ratio, .. } => *ratio,
            Calls::Hourly { .. } | Calls::Owned { .. } => 1.0,
        }
    }

    /// Mean utilisation of the busiest hour's fleet at a volume; `None` for an API.
    pub(crate) fn utilization(&self, kernel: &Kernel, requests: f64) -> Option<f64> {
        let (Calls::Hourly { fleet, .. } | Calls::Owned { fleet, .. }) = &self.calls else { return None };
        let retries = self.retries.unwrap_or(kernel.retries);
        let mean = requests * self.load.0 * (1.0 + retries) / SECONDS_PER_MONTH;
        Some(mean / (fleet.capacity * fleet.replicas(mean * self.peak_ready * kernel.burst, 0.0)))
    }
}

impl SegmentPrice {
    fn usd(&self, requests: f64, ratio: f64, fee: f64) -> f64 {
        let count = requests * self.share;
        let (input, output) = (round(count * self.input * ratio), round(count * self.output * ratio));
        let number = round(count).max(1.0);
        let usd = match self.tiers.as_slice() {
            [(_, usd)] => *usd,
            tiers => {
                let prompt = ceil(input / number);
                let tier = tiers.iter().rev().find(|(from, _)| prompt >= *from);
                tier.map_or(TokenUsd::default(), |(_, usd)| *usd)
            }
        };
        let rest = output * usd.output + number * fee;
        let (read, written) = self.discounts.cached(self.prefix * ratio);
        if read + written <= 0.0 {
            return input * usd.input + rest;
        }
        let read = round(count * read).min(input);
        let written = round(count * written).min(input - read);
        (input - read - written) * usd.input + read * usd.read + written * usd.written + rest
    }
}

fn calls(model: &CostModel<'_>) -> Option<Calls> {
    let product = model.product;
    let survival = product.fleet.capacity.survival(product.fleet.replicas_lost);
    let rule = |capacity: f64| FleetRule {
        capacity,
        most: survival.maximum_utilization,
        lost: f64::from(survival.replicas_lost),
        zones: f64::from(survival.zones),
        surge: f64::from(survival.upgrade_surge),
        least: f64::from(survival.least),
    };
    match &model.supply {
        Supply::SelfHost { owned: Some(owned), capacity, .. } => {
            // A fleet that carries every hour is never over 1 busy; where it may be, energy is not a straight line.
            if product.traffic.burst_factor.get() < 1.0 {
                return None;
            }
            let fleet = rule(capacity.per_second());
            let month = |mean: f64, servers: u32| {
                let mean = breakeven_measurement::RequestRate::new(mean).ok()?;
                owned.month(model.week, mean, *capacity, servers).ok().map(|cost| cost.usd_per_month.to_f64())
            };
            // Below one replica's capacity in its busiest hour, the bill is a straight line in servers and in load.
            let low = capacity.per_second() / model.week.peak_hour().max(1.0) * 1e-6;
            let high = low * 5e5;
            let (one, two, loaded) = (month(low, 1)?, month(low, 2)?, month(high, 1)?);
            let per_rate = (loaded - one) / (high - low);
            let per_server = two - one;
            let by_capacity = !owned.is_measured();
            Some(Calls::Owned {
                fleet,
                fixed: one - per_server - per_rate * low,
                per_server,
                per_rate: if by_capacity { per_rate * capacity.per_second() } else { per_rate },
                by_capacity,
            })
        }
        Supply::SelfHost { owned: None, capacity, usd_per_hour, .. } => {
            let mut ready = model.week.ready.clone();
            ready.sort_by(f64::total_cmp);
            let mut hours: Vec<(f64, f64)> = Vec::new();
            for (factor, count) in ready.into_iter().zip(1_u32..) {
                let so_far = f64::from(count);
                match hours.last_mut() {
                    Some((last, count)) if last.total_cmp(&factor).is_eq() => *count = so_far,
                    _ => hours.push((factor, so_far)),
                }
            }
            let always = match product.fleet.term {
                Term::OnDemand | Term::Spot => false,
                Term::CapacityBlock | Term::Reserved1y | Term::Reserved3y | Term::Owned => true,
            };
            Some(Calls::Hourly {
                hours: hours.into(),
                fleet: rule(capacity.per_second()),
                usd_per_hour: usd_per_hour.to_f64(),
                always,
            })
        }
        Supply::Api { provisioned: Some(table), tokens_ratio, .. } => {
            let offer = table.offer();
            Some(Calls::Units {
                ratio: *tokens_ratio,
                usd_per_unit_hour: table.usd_per_unit_hour.0.to_f64(),
                least: f64::from(offer.minimum_units),
                step: f64::from(offer.unit_step.max(1)),
                input_rate: offer.input_tokens_per_second_per_unit,
                output_rate: offer.output_tokens_per_second_per_unit,
            })
        }
        Supply::Api { price, tokens_ratio, provisioned: None, discounts, .. } => {
            // As `breakeven_hardware::api_cost`: cached tokens without a price of their own are prompt tokens.
            let per_token = |rates: TokenRates| {
                let usd = |rate: Option<breakeven_hardware::UsdPerMillionTokens>| {
                    rate.map_or(0.0, |rate| rate.0.to_f64() / 1e6)
                };
                TokenUsd {
                    input: usd(rates.input),
                    output: usd(rates.output),
                    read: usd(rates.cached_read.or(rates.input)),
                    written: usd(rates.cache_write.or(rates.input)),
                }
            };
            let tiers_of = |service: Service| -> Vec<(f64, TokenUsd)> {
                let mut starts = vec![0_u64];
                let schedules = [Service::Standard, service].map(|service| price.services.get(&service));
                let tiers = schedules.into_iter().flatten().flat_map(|schedule| &schedule.tiers);
                starts.extend(tiers.map(|tier| tier.above_input_tokens + 1));
                starts.sort_unstable();
                starts.dedup();
                starts
                    .into_iter()
                    .map(|start| (start as f64, per_token(price.rates(service, start).0)))
                    .collect()
            };
            let services: Vec<_> =
                discounts.services().map(|(service, of_all)| (of_all, tiers_of(service))).collect();
            // Retries of the stages cost what they hold; more attempts for each are a factor on both.
            let segments = model.load.first.iter().chain(&model.load.retried).flat_map(|segment| {
                services.iter().map(|(of_all, tiers)| {
                    let (share, input, output) = segment.parts();
                    let (share, prefix) = (share * of_all, segment.prefix());
                    SegmentPrice { share, input, output, prefix, discounts: *discounts, tiers: tiers.clone() }
                })
            });
            Some(Calls::Tokens {
                ratio: *tokens_ratio,
                segments: segments.collect(),
                fee: price.usd_per_request.map_or(0.0, Usd::to_f64),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_week_in_stretches_is_the_sum_over_its_hours(
            mut ready in prop::collection::vec(0.0..4.0_f64, 1..168),
            mean in 1e-3..1e3_f64,
            most in 0.3..1.0_f64,
            lost in 0_u8..3,
            zones in 1_u8..4,
        ) {
            ready.sort_by(f64::total_cmp);
            let hours: Vec<(f64, f64)> = ready.iter().copied().zip((1_u32..).map(f64::from)).collect();
            let zones = f64::from(zones);
            let fleet = FleetRule { capacity: 1.0, most, lost: f64::from(lost), zones, surge: 1.0, least: 2.0 };
            let one_by_one: f64 = ready.iter().map(|ready| fleet.replicas(ready * mean, 1.0)).sum();
            prop_assert!((fleet.week(&hours, mean, 1.0) - one_by_one).abs() < 1e-9);
        }
    }
}
