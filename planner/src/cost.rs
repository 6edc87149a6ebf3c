//! What an option costs a month at a volume: every line of DESIGN §4, summing to the total.

use breakeven_hardware::{
    ApiPrice, Usage, Usd, api_cost,
    api_limits::PeakMinute,
    owned::OwnedCost,
    sheet::{Freshness, Term},
};
use breakeven_measurement::{Fraction, RequestRate, Workload};
use jiff::civil::Date;
use rust_decimal::Decimal;

use crate::{
    api_discounts::Discounts,
    capacity::replicas_by_hour,
    measured_retries::{MeasuredRetries, PATH},
    owned::Owned,
    plan::{CostLine, Input, LineItem, OptionKind, Provenance},
    product::{CostEntry, OnlyFor, Product, ProvisionedTable},
    traffic::{HOURS, HOURS_PER_MONTH, Week, mean_rate},
    workflow::load::Load,
};

/// Digits behind the point of a workflow's lines.
const LINE_DIGITS: u32 = 12;

/// One option, ready to be costed at any volume.
#[derive(Debug, Clone)]
pub(crate) struct CostModel<'a> {
    pub(crate) product: &'a Product,
    pub(crate) week: &'a Week,
    /// What a request asks of the option's model.
    pub(crate) load: &'a Load,
    pub(crate) success: Fraction,
    pub(crate) supply: Supply<'a>,
}

/// Mean lengths of one segment, computed once: a plan costs thousands of volumes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SegmentTokens {
    share: f64,
    input: f64,
    output: f64,
    /// Prompt tokens that all requests of the segment have in common.
    prefix: f64,
}

impl SegmentTokens {
    /// Of so many calls a request, which share nothing.
    pub(crate) fn new(share: f64, input: f64, output: f64) -> Self {
        Self { share, input, output, prefix: 0.0 }
    }

    /// The same with a prefix that all of them share.
    pub(crate) fn sharing(self, prefix: f64) -> Self {
        Self { prefix: prefix.min(self.input), ..self }
    }

    /// Prompt tokens that all of them share.
    pub(crate) fn prefix(&self) -> f64 {
        self.prefix
    }

    /// Share of requests, mean prompt and mean answer tokens.
    pub(crate) fn parts(&self) -> (f64, f64, f64) {
        (self.share, self.input, self.output)
    }

    pub(crate) fn of(workload: &Workload) -> Vec<Self> {
        let shares = workload.shares();
        let of = |(share, segment): (f64, &breakeven_measurement::Segment)| {
            let prefix = segment.shared_prefix.get() * segment.input_tokens.mean();
            Self::new(share, segment.mean_input_tokens(), segment.output_tokens.mean()).sharing(prefix)
        };
        shares.into_iter().zip(&workload.segments).map(of).collect()
    }
}

/// Where the model calls of an option come from.
#[derive(Debug, Clone)]
pub(crate) enum Supply<'a> {
    /// Our replicas. Where the hardware is owned, its cost depends on the volume, and `usd_per_hour` is the product's own.
    SelfHost {
        capacity: RequestRate,
        usd_per_hour: Usd,
        price_from: Provenance,
        capacity_from: Provenance,
        owned: Option<Owned<'a>>,
    },
    /// A managed API.
    Api {
        price: &'a ApiPrice,
        tokens_ratio: f64,
        as_of: Date,
        provisioned: Option<&'a ProvisionedTable>,
        discounts: Discounts,
    },
}

/// A line, to a millionth of a millionth of a dollar: a chain's shares, or replica-hours over a week of 168, have more digits than
/// a decimal keeps when lines are added up in different orders, and every order must give the same total.
pub(crate) fn rounded(usd: Usd) -> Usd {
    usd.rounded(LINE_DIGITS)
}

impl CostModel<'_> {
    /// Every line of the bill of a month with `requests` requests.
    pub(crate) fn lines(&self, requests: f64) -> Vec<CostLine> {
        let (base, retries, from) = self.model_calls(requests);
        let month = self.month(requests);
        LineItem::ALL
            .into_iter()
            .map(|line| {
                let mut parts: Vec<(Usd, Provenance)> = match line {
                    LineItem::Inference => vec![(base, from.clone())],
                    LineItem::Retries if retries != Usd::ZERO => vec![(retries, self.retries_from(&from))],
                    _ => Vec::new(),
                };
                parts.extend(
                    self.typed(line)
                        .map(|(index, entry)| (self.amount(entry, month), self.entry_from(index, entry))),
                );
                if line == LineItem::CostOfLatency {
                    parts.extend(self.lost_to_waiting(requests).map(|usd| (usd, self.lost_from(requests))));
                }
                let usd_per_month = rounded(parts.iter().map(|(usd, _)| *usd).sum());
                CostLine { line, usd_per_month, from: joined(line, parts) }
            })
            .collect()
    }

    /// The bill's total: the sum of its lines, without saying where each comes from, since a plan totals thousands of volumes.
    pub(crate) fn total(&self, requests: f64) -> Usd {
        let (base, retries) = self.model_usd(requests);
        let month = self.month(requests);
        LineItem::ALL
            .into_iter()
            .map(|line| {
                let calls = match line {
                    LineItem::Inference => base,
                    LineItem::Retries => retries,
                    LineItem::CostOfLatency => self.lost_to_waiting(requests).unwrap_or(Usd::ZERO),
                    _ => Usd::ZERO,
                };
                rounded(self.typed(line).fold(calls, |sum, (_, entry)| sum + self.amount(entry, month)))
            })
            .sum()
    }

    /// Total over successful outcomes, for comparing options over volume; `None` where nothing succeeds.
    pub(crate) fn usd_per_success(&self, requests: f64) -> Option<f64> {
        let successes = requests * self.success.get();
        (successes > 0.0).then(|| self.total(requests).to_f64() / successes)
    }

    /// Mean attempts per second, in requests as they were measured.
    pub(crate) fn mean_rate(&self, requests: f64) -> Option<RequestRate> {
        mean_rate(requests * self.load.in_all(), self.retries())
    }

    /// Retries' share of the cost of shared capacity.
    pub(crate) fn retries_of_all(&self) -> f64 {
        Load::retries_of_all(self.load.retried_share, self.retries())
    }

    /// Replicas of each hour; `None` for an API.
    pub(crate) fn replicas(&self, requests: f64) -> Option<Vec<u32>> {
        let Supply::SelfHost { capacity, .. } = &self.supply else { return None };
        let mean = self.mean_rate(requests)?;
        let fleet = &self.product.fleet;
        replicas_by_hour(self.week, mean, *capacity, &fleet.capacity.survival(fleet.replicas_lost)).ok()
    }

    /// Replica-hours a month: reserved and owned machines pay for the most of the week always, the others for each
    /// hour's own number.
    pub(crate) fn replica_hours(&self, requests: f64) -> Option<Decimal> {
        let by_hour = self.replicas(requests)?;
        let month = decimal(HOURS_PER_MONTH);
        Some(match self.product.fleet.term {
            Term::OnDemand | Term::Spot => {
                let total: u64 = by_hour.iter().map(|n| u64::from(*n)).sum();
                Decimal::from(total) * month / Decimal::from(HOURS as u64)
            }
            Term::CapacityBlock | Term::Reserved1y | Term::Reserved3y | Term::Owned => {
                Decimal::from(by_hour.iter().copied().max().unwrap_or(0)) * month
            }
        })
    }

    /// Share of requests that nobody resolves: neither succeed nor are resolved by an escalation, whose people are on the bill. Who gave
    /// up waiting is counted as if they had not: nobody sees to them.
    pub(crate) fn failing(&self) -> f64 {
        (1.0 - self.success_of_those_who_wait() - self.load.aided).max(0.0)
    }

    /// Extra attempts a request, beside the stages' own: as measured where they were, else as typed.
    pub(crate) fn retries(&self) -> f64 {
        let typed = self.product.success.retries_per_request.get();
        self.load.retries.as_ref().map_or(typed, MeasuredRetries::per_request)
    }

    /// Attempts for one of the stages', or for one request without stages, in requests as they were measured, which hold measured retries.
    pub(crate) fn attempts_beside_stages(&self) -> f64 {
        (1.0 + self.retries()) / self.load.retries.as_ref().map_or(1.0, MeasuredRetries::in_capacity)
    }

    /// Requests and their typed retries that one measured request with its measured ones stands for.
    pub(crate) fn typed_in_measured(&self) -> f64 {
        let typed = 1.0 + self.product.success.retries_per_request.get();
        if self.load.retries.is_some() { typed / self.attempts_beside_stages() } else { 1.0 }
    }

    /// The same with where it comes from.
    pub(crate) fn retries_input(&self) -> Input {
        let typed = || input("retries a request", self.retries(), typed_at(PATH, None));
        self.load.retries.as_ref().map_or_else(typed, MeasuredRetries::input)
    }

    /// Cost of first attempts and cost of retries. Retries take their share of all attempts.
    fn model_usd(&self, requests: f64) -> (Usd, Usd) {
        let split = |all: Usd, share: f64| {
            let of_retries = all.times(decimal(share));
            (all - of_retries, of_retries)
        };
        match &self.supply {
            Supply::SelfHost { owned: Some(_), .. } => {
                let month = self.owned_cost(requests).map_or(Usd::ZERO, |cost| cost.usd_per_month);
                split(month, self.retries_of_all())
            }
            Supply::SelfHost { usd_per_hour, owned: None, .. } => {
                let hours = self.replica_hours(requests).unwrap_or_default();
                split(usd_per_hour.times(hours), self.retries_of_all())
            }
            Supply::Api { provisioned: Some(table), tokens_ratio, .. } => {
                let units = self.units(table, requests, *tokens_ratio);
                let all = table.usd_per_unit_hour.0.times(Decimal::from(units) * decimal(HOURS_PER_MONTH));
                split(all, Load::retries_of_all(self.retried_units(table), self.retries()))
            }
            Supply::Api { price, tokens_ratio, provisioned: None, discounts, .. } => {
                let bill = |lengths: &[SegmentTokens]| -> Usd {
                    usages(lengths, requests, *tokens_ratio, *discounts)
                        .map(|usage| api_cost(price, &usage).usd)
                        .sum()
                };
                let base = bill(&self.load.first);
                let mut of_retries = base.times(decimal(self.retries()));
                if !self.load.retried.is_empty() {
                    of_retries += bill(&self.load.retried).times(decimal(1.0 + self.retries()));
                }
                (base, of_retries)
            }
        }
    }

    /// Units of provisioned throughput for the busiest minute.
    fn units(&self, table: &ProvisionedTable, requests: f64, tokens_ratio: f64) -> u32 {
        table.offer().cost(&self.peak_minute(requests, tokens_ratio), 0).map_or(0, |cost| cost.units)
    }

    /// Cost of first attempts, cost of retries, and where both come from.
    pub(crate) fn model_calls(&self, requests: f64) -> (Usd, Usd, Provenance) {
        let (base, of_retries) = self.model_usd(requests);
        (base, of_retries, self.model_calls_from(requests))
    }

    fn model_calls_from(&self, requests: f64) -> Provenance {
        let mut from = self.once_from(requests);
        if let Provenance::Computed { inputs, .. } = &mut from {
            inputs.extend(self.asked_input());
        }
        from
    }

    fn once_from(&self, requests: f64) -> Provenance {
        match &self.supply {
            Supply::SelfHost { capacity_from, owned: Some(owned), .. } => match self.owned_cost(requests) {
                Some(cost) => owned_from(&cost, owned, capacity_from),
                None => typed_at("fleet.owned", None),
            },
            Supply::SelfHost { usd_per_hour, price_from, capacity_from, capacity, owned: None } => {
                let hours = self.replica_hours(requests).unwrap_or_default();
                let mut inputs = vec![
                    input("replica-hours a month", hours.round_dp(1), capacity_from.clone()),
                    input("USD per replica-hour", usd_per_hour.0.normalize(), price_from.clone()),
                    input("capacity of one replica", capacity, capacity_from.clone()),
                    input("term", self.product.fleet.term, typed_at("fleet.term", None)),
                ];
                inputs.extend(self.workflow_input());
                let formula = "replica-hours a month x USD per replica-hour".to_owned();
                Provenance::Computed { formula, inputs }
            }
            Supply::Api { provisioned: Some(table), tokens_ratio, .. } => Provenance::Computed {
                formula: "units for the busiest minute x USD per unit-hour x hours of a month".to_owned(),
                inputs: vec![
                    input(
                        "units",
                        self.units(table, requests, *tokens_ratio),
                        typed_at("api.provisioned", table.note.clone()),
                    ),
                    input(
                        "USD per unit-hour",
                        table.usd_per_unit_hour.0.0,
                        typed_at("api.provisioned", table.note.clone()),
                    ),
                ],
            },
            Supply::Api { price, as_of, provisioned: None, discounts, .. } => {
                let tokens_from = |key: &str| match (&self.load.workflow, &self.load.lengths_from) {
                    (Some(solved), _) => solved.from.clone(),
                    (None, Some(run)) => Provenance::Measured {
                        run_id: run.clone(),
                        path: format!("levels.expected.segments, {key}"),
                    },
                    (None, None) => typed_at(&format!("segment.{key}"), None),
                };
                let (hits, batch) = discounts.asked();
                let of_api = |name: &str, share: f64, key: &str| {
                    input(name, format!("{share:.6}"), typed_at(&format!("api.{}.{key}", price.key()), None))
                };
                let mut discounted: Vec<Input> = Vec::new();
                discounted.extend(hits.map(|share| {
                    of_api(
                        "share of requests whose shared prefix is read from the cache",
                        share,
                        "prompt_cache.hit_share",
                    )
                }));
                discounted.extend(
                    batch.map(|share| of_api("share of requests at batch prices", share, "batch_share")),
                );
                Provenance::Computed {
                    formula: "tokens of every segment x the model's price, by kind of token".to_owned(),
                    inputs: [
                        vec![
                            input(
                                "input tokens a request",
                                format!("{:.1}", self.mean_input_tokens()),
                                tokens_from("input_tokens"),
                            ),
                            input(
                                "output tokens a request",
                                format!("{:.1}", self.mean_output_tokens()),
                                tokens_from("output_tokens"),
                            ),
                            input(
                                "price",
                                format!("{} / {}", price.provider, price.model),
                                api_provenance(price, *as_of),
                            ),
                        ],
                        discounted,
                    ]
                    .concat(),
                }
            }
        }
    }

    /// The busiest minute: the busiest hour's mean times the burst factor, retries included.
    pub(crate) fn peak_minute(&self, requests: f64, tokens_ratio: f64) -> PeakMinute {
        let rate = mean_rate(requests, self.retries()).map_or(0.0, RequestRate::per_second);
        let count = rate * self.week.peak_ready() * 60.0;
        let (input, output) = self.load.all_tokens();
        PeakMinute {
            requests: count * self.load.attempts,
            input_tokens: count * input * tokens_ratio,
            output_tokens: count * output * tokens_ratio,
        }
    }

    /// What the stages' retries ask of provisioned units, over what first attempts do.
    fn retried_units(&self, table: &ProvisionedTable) -> f64 {
        let units = |(input, output): (f64, f64)| {
            input / table.input_tokens_per_second_per_unit.get()
                + output / table.output_tokens_per_second_per_unit.get()
        };
        let first = units((self.mean_input_tokens(), self.mean_output_tokens()));
        if self.load.retried.is_empty() || first <= 0.0 {
            return 0.0;
        }
        units(self.load.all_tokens()) / first - 1.0
    }

    /// What the workflow makes of a request, as an input of the bill; nothing without stages.
    fn workflow_input(&self) -> Option<Input> {
        let solved = self.load.workflow.as_ref()?;
        let value = format!("{:.6}", self.load.in_all());
        Some(input("attempts a request, in requests as measured", value, solved.from.clone()))
    }

    /// What owned hardware costs a month at a volume; `None` where it is not owned.
    pub(crate) fn owned_cost(&self, requests: f64) -> Option<OwnedCost> {
        let Supply::SelfHost { owned: Some(owned), capacity, .. } = &self.supply else { return None };
        let replicas = self.replicas(requests)?.into_iter().max()?;
        owned.month(self.week, self.mean_rate(requests)?, *capacity, replicas).ok()
    }

    /// Mean prompt tokens of a request.
    pub(crate) fn mean_input_tokens(&self) -> f64 {
        self.load.input_tokens()
    }

    /// Mean answer tokens of a request.
    pub(crate) fn mean_output_tokens(&self) -> f64 {
        self.load.output_tokens()
    }

    /// A month's requests and those of them that nobody resolves.
    fn month(&self, requests: f64) -> (Decimal, Decimal) {
        let requests = decimal(requests);
        (requests, requests * decimal(self.failing()))
    }

    /// What the product file types for a line, each with its place.
    fn typed(&self, line: LineItem) -> impl Iterator<Item = (usize, &CostEntry)> {
        let applies = move |only: Option<OnlyFor>| match (only, &self.supply) {
            (None, _)
            | (Some(OnlyFor::SelfHost), Supply::SelfHost { .. })
            | (Some(OnlyFor::Api), Supply::Api { .. }) => true,
            (Some(OnlyFor::SelfHost), Supply::Api { .. }) | (Some(OnlyFor::Api), Supply::SelfHost { .. }) => {
                false
            }
        };
        let entries = self.product.costs.iter().enumerate();
        entries.filter(move |(_, entry)| entry.line == line && applies(entry.only))
    }

    fn retries_from(&self, base: &Provenance) -> Provenance {
        let mut inputs = vec![self.retries_input(), input("model calls", "as inference", base.clone())];
        if let Some(solved) = &self.load.workflow {
            let value = format!("{:.6}", self.load.attempts);
            inputs.push(input("attempts of the stages a request", value, solved.from.clone()));
        }
        Provenance::Computed {
            formula: "the model calls' cost x retries' share of attempts".to_owned(),
            inputs,
        }
    }

    /// The option as the plan shows it.
    pub(crate) fn kind(&self, requests: f64) -> OptionKind {
        match &self.supply {
            Supply::SelfHost { usd_per_hour, price_from, .. } => OptionKind::SelfHost {
                replicas: self.replicas(requests).and_then(|n| n.into_iter().max()).unwrap_or(0),
                usd_per_replica_hour: *usd_per_hour,
                term: self.product.fleet.term.to_string(),
                price_from: price_from.clone(),
            },
            Supply::Api { price, as_of, .. } => OptionKind::Api {
                provider: price.provider.clone(),
                model: price.model.clone(),
                price_from: api_provenance(price, *as_of),
            },
        }
    }
}

/// A month's usage, one a length of call and class of service, since tiers are decided by a call's own length.
fn usages(
    lengths: &[SegmentTokens],
    requests: f64,
    tokens_ratio: f64,
    discounts: Discounts,
) -> impl Iterator<Item = Usage> {
    lengths.iter().flat_map(move |segment| {
        discounts.services().map(move |(service, of_all)| {
            let count = requests * segment.share * of_all;
            let prompt = whole(count * segment.input * tokens_ratio);
            let (read, written) = discounts.cached(segment.prefix * tokens_ratio);
            let (read, written) = (whole(count * read).min(prompt), whole(count * written));
            let written = written.min(prompt - read);
            Usage {
                requests: whole(count).max(1),
                uncached_input_tokens: prompt - read - written,
                cached_read_tokens: read,
                cache_write_tokens: written,
                output_tokens: whole(count * segment.output * tokens_ratio),
                service,
                ..Usage::default()
            }
        })
    })
}

/// The six lines of owning, each typed into the product file.
fn owned_from(cost: &OwnedCost, owned: &Owned<'_>, capacity_from: &Provenance) -> Provenance {
    let energy_from = match (owned.power, capacity_from) {
        (Some(_), Provenance::Measured { run_id, .. }) => Provenance::Measured {
            run_id: run_id.clone(),
            path: "levels.expected.resources.energy_joules".to_owned(),
        },
        _ => typed_at("fleet.owned", None),
    };
    let mut inputs: Vec<Input> = cost
        .lines
        .iter()
        .map(|(line, usd)| {
            let name = format!("{line:?}").to_lowercase();
            input(&format!("{name}, USD a month"), usd.0.round_dp(2), typed_at("fleet.owned", None))
        })
        .collect();
    inputs.push(input("energy, kWh a month", format!("{:.0}", cost.kwh_per_month), energy_from));
    inputs.push(input("bought, USD", cost.capex.0.round_dp(2), typed_at("fleet.owned", None)));
    inputs.push(input("servers and how busy they are", "from the plan", capacity_from.clone()));
    Provenance::Computed {
        formula: "annuity + energy + colocation + maintenance + network + staff".to_owned(),
        inputs,
    }
}

/// The row behind an API's price.
pub(crate) fn api_provenance(price: &ApiPrice, as_of: Date) -> Provenance {
    let origin = &price.origin;
    Provenance::PriceSheet {
        row: format!("{} / {} ({}:{})", price.provider, price.model, origin.file, origin.line),
        source: origin.source().to_owned(),
        date: day_of(origin.as_of),
        stale: origin.as_of.freshness(as_of) != Freshness::Fresh,
    }
}

pub(crate) fn day_of(as_of: breakeven_hardware::AsOf) -> Option<Date> {
    match as_of {
        breakeven_hardware::AsOf::Day(date) | breakeven_hardware::AsOf::Month(date) => Some(date),
        breakeven_hardware::AsOf::Undated => None,
    }
}

/// A number typed into the product file.
pub(crate) fn typed_at(path: &str, note: Option<String>) -> Provenance {
    Provenance::Assumption { path: path.to_owned(), note }
}

#[expect(clippy::needless_pass_by_value, reason = "numbers are Copy and texts are made for this call")]
pub(crate) fn input(name: &str, value: impl ToString, from: Provenance) -> Input {
    Input { name: name.to_owned(), value: value.to_string(), from }
}

fn joined(line: LineItem, mut parts: Vec<(Usd, Provenance)>) -> Provenance {
    match parts.len() {
        0 => typed_at("(none)", Some(format!("the product file sets no {}: 0", line.label()))),
        1 => parts.remove(0).1,
        _ => Provenance::Computed {
            formula: "sum of its parts".to_owned(),
            inputs: parts
                .into_iter()
                .map(|(usd, from)| input("USD a month", usd.0.round_dp(2), from))
                .collect(),
        },
    }
}

/// A decimal of a finite number; zero of anything else, which the product file's types already refuse.
pub(crate) fn decimal(value: f64) -> Decimal {
    Usd::from_f64(value).map_or(Decimal::ZERO, |usd| usd.0)
}

fn whole(value: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count from 0 up; a float cast saturates"
    )]
    let count = value.max(0.0).round() as u64;
    count
}
