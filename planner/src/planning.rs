//! From a product, a measurement and a price book to a plan. Pure: the day and the version are arguments.

use breakeven_hardware::{PriceBook, Usd};
use breakeven_measurement::{Fraction, Measurement, RequestRate};
use jiff::civil::Date;

use crate::{
    allocation::{Bill, allocations},
    assumptions::assumptions,
    basis::CostBasis,
    break_even::{break_even, drawn_volumes, with_capacity},
    capacity::{PlanError, check, replica_capacity, replicas_for},
    cost::{CostModel, Supply, decimal, input, typed_at},
    cost_models::{ApiModel, api_models, own_model},
    decision::{Contest, decide},
    fleet::{
        self,
        options::{Bought, bought},
    },
    machines::{self, Chosen, MeasuredMachine},
    measured_retries::MeasuredRetries,
    plan::{
        BreakEven, BreakEvenOutcome, CostPoint, FORMAT, Fleet, LineItem, OptionKind, OptionPlan, Plan,
        Provenance, ReplicaCapacity, TrafficSummary,
    },
    product::Product,
    scenario::world::World,
    summary,
    traffic::{Week, mean_rate},
    workflow::{
        bill::{Sheets, with_stages},
        load::{Load, Loads},
    },
};

/// What planning needs to know beside its inputs.
#[derive(Debug, Clone, Copy)]
pub struct PlanOptions<'a> {
    /// The day prices are judged against.
    pub as_of: Date,
    /// Plan on invalid levels and incomplete runs, and say so.
    pub allow_invalid: bool,
    /// Version written into the plan.
    pub version: &'a str,
}

/// Option id of our own replicas.
pub const SELF_HOST: &str = "self_host";

/// Plans a product on one measured machine.
///
/// # Errors
/// As [`plan_on`].
pub fn plan(
    product: &Product,
    measurement: &Measurement,
    prices: &PriceBook,
    options: &PlanOptions<'_>,
) -> Result<Plan, PlanError> {
    plan_on(product, measurement, &[], prices, options)
}

/// Plans a product on the cheapest of its measured machines: that of `[fleet]`, under its term and its other terms, and every
/// `[[machine]]` that a measurement is given for. `measurement` is that of `[fleet]`.
///
/// # Errors
/// Where the measurement may not be planned on, or a number leaves the range of its type. An option that cannot be had is
/// part of the plan, with its reason.
pub fn plan_on(
    product: &Product,
    measurement: &Measurement,
    machines: &[MeasuredMachine<'_>],
    prices: &PriceBook,
    options: &PlanOptions<'_>,
) -> Result<Plan, PlanError> {
    let chosen = machines::chosen(product, measurement, machines, prices, options);
    plan_chosen(chosen, prices, options)
}

fn plan_chosen(chosen: Chosen<'_>, prices: &PriceBook, options: &PlanOptions<'_>) -> Result<Plan, PlanError> {
    let Chosen { product, measurement, name, on, beside, others, types, notes } = chosen;
    let product = product.as_ref();
    let mut warnings = check(measurement, options.allow_invalid)?;
    // What is said of the chosen machine's own measurement stands there already.
    let said = machines::of_run(measurement);
    warnings.extend(notes.into_iter().filter(|note| !note.starts_with(&said)));
    let measured_shares = product.uncertain.with_measured(measurement);
    let product = measured_shares.as_ref().unwrap_or(product);
    let sheets = Sheets { prices, as_of: options.as_of, measurement };
    let staged = with_stages(product.clone(), &sheets)?;
    let product = &staged;
    if measurement.workload != product.workload() || measurement.slo != product.slo() {
        warnings.push(
            "the measurement was made for another workload or SLO than the product file's; measure again for exact figures"
                .to_owned(),
        );
    }
    let workload = product.workload();
    let loads = product.loads.clone().unwrap_or_else(|| Loads::plain(product));
    let week = Week::of(product);
    let requests = product.traffic.requests_per_month.get();
    let traffic = traffic_summary(product, &week, &loads.own)?;
    let capacity = replica_capacity(measurement);
    let capacity_from =
        Provenance::Measured { run_id: measurement.run_id.clone(), path: "search.capacity.rate".to_owned() };

    let own = own_model(
        product,
        &week,
        &loads.own,
        measurement,
        prices,
        capacity.as_ref(),
        &capacity_from,
        options,
    );
    let apis = api_models(product, &week, &loads, prices, options.as_of);

    let mut plans = vec![match &own {
        Ok(model) => option_plan(SELF_HOST, &name, model, requests, capacity.as_ref()),
        Err(reason) => infeasible(SELF_HOST, &name, reason, product),
    }];
    plans.extend(beside);
    if let Ok(own) = &own {
        plans.extend(machines::mix::option(&types, own, &own_name(measurement), requests));
    }
    for (id, name, model) in &apis {
        plans.push(match model {
            Ok(model) => option_plan(id, name, model, requests, None),
            Err(reason) => infeasible(id, name, reason, product),
        });
    }
    let found = own.as_ref().ok().map(|own| {
        let cheapest = apis
            .iter()
            .filter_map(|(_, name, model)| Some((name.as_str(), model.as_ref().ok()?)))
            .filter(|(_, model)| matches!(model.supply, Supply::Api { provisioned: None, .. }))
            .min_by(|a, b| a.1.total(requests).cmp(&b.1.total(requests)));
        fleet::fleet_plan(&fleet::Inputs {
            product,
            week: &week,
            workload: &workload,
            measurement,
            prices,
            as_of: options.as_of,
            own,
            // Where the stages lead elsewhere with an API, what part of a request overflows is not known.
            api: cheapest.filter(|_| loads.are_alike()),
        })
        .map(|found| (found, cheapest))
    });
    let fleet_plan = match (found, &own) {
        (Some(Ok((mut found, cheapest))), Ok(own)) => {
            let wanted = product.fleet.purchase.as_ref().is_some_and(|purchase| purchase.overflow);
            if wanted && cheapest.is_some() && !loads.are_alike() {
                let why = "no hybrid: the stages lead elsewhere with an API than with our own replicas, and what part of a request \
                           overflows is not known";
                found.plan.notes.push(why.to_owned());
            }
            if let Some(mix) = found.machines.as_ref().filter(|_| product.fleet.purchase.is_some()) {
                let named = (fleet::options::MIX.to_owned(), format!("{name}, cheapest mix of terms"));
                plans.push(bought(named, own, Bought::of(mix), None, requests));
            }
            if let (Some(hybrid), Some((api, model))) = (&found.hybrid, cheapest) {
                let named =
                    (format!("{}{api}", fleet::options::HYBRID), format!("{name} + {api} for the peaks"));
                // What overflows is taken to wait as our own requests do.
                let success = Fraction::new(model.success_of_those_who_wait() * own.load.kept());
                let success = success.unwrap_or(model.success);
                plans.push(bought(named, own, Bought::of(hybrid), Some(success), requests));
            }
            Some(found.plan)
        }
        (Some(Err(error)), _) => {
            warnings.push(format!("the fleet's purchase and simulation are left out: {error}"));
            None
        }
        _ => None,
    };
    if let Some(check) = fleet_plan.as_ref().and_then(|f| f.simulation.as_ref()).filter(|check| !check.holds)
    {
        warnings.push(format!(
            "simulated, {} replicas at {:.2} req/s miss the SLO ({} within it): the fleet is too small",
            check.peak_replicas,
            check.peak_per_second,
            check.peak_goodput.map_or_else(|| "none".to_owned(), |share| share.to_string())
        ));
    }
    plans.sort_by(|a, b| sort_key(a).total_cmp(&sort_key(b)));

    let break_evens = match &own {
        Ok(own) => apis
            .iter()
            .filter_map(|(id, name, api)| {
                api.as_ref().ok().map(|api| break_even_of(id, name, own, api, capacity.as_ref()))
            })
            .collect(),
        Err(_) => Vec::new(),
    };
    let own_plan = plans.iter().find(|p| p.id == SELF_HOST && p.infeasible.is_none());
    let api_plan = plans.iter().find(|p| p.id.starts_with("api:") && p.infeasible.is_none());
    let api_model = api_plan
        .and_then(|plan| apis.iter().find(|(id, ..)| *id == plan.id))
        .and_then(|(_, _, model)| model.as_ref().ok());
    let contest = Contest { own: own_plan.zip(own.as_ref().ok()), api: api_plan.zip(api_model) };
    let world = World { measurement, prices, options, capacity: capacity.as_ref() };
    let mut uncertainty = crate::uncertainty::uncertainty(&world, product, &on, &others);
    if let Some(found) = &mut uncertainty {
        found.leave_out(&plans);
    }
    let horizon = crate::horizon::horizon(&world, product);
    let scenarios = crate::scenario::matrix::matrix(&world, product);
    let decision = decide(&plans, &contest, &break_evens, &traffic);
    let cost_curve = cost_curve(&plans, own.as_ref().ok(), &apis);
    let had = own.as_ref().ok().map(|model| (SELF_HOST, model)).into_iter();
    let had = had.chain(apis.iter().filter_map(|(id, _, model)| Some((id.as_str(), model.as_ref().ok()?))));
    let cost_basis = CostBasis::of(product, &week, &had.collect::<Vec<_>>());
    warnings.extend(price_warnings(&plans));
    warnings.extend(crate::stack::double_counted(&product.costs));
    warnings.extend(crate::workflow::summary::warnings(product, &loads, measurement));
    warnings.extend(crate::waiting::warnings(product, &loads));
    if matches!(
        measurement.model.as_ref().map(|m| &m.weights),
        Some(breakeven_models::WeightsOrigin::Random { .. })
    ) {
        warnings.push("measured on random weights: timings are real, texts are not".to_owned());
    }
    if product.segments.iter().any(|segment| segment.session.is_some()) {
        warnings.push(
            "segments with sessions: the simulated figures of the fleet know the lengths of single messages, not of conversations, \
             and are too good; what was measured is not affected"
                .to_owned(),
        );
    }
    let typed_beside = product.fleet.purchase.as_ref().and_then(|table| table.typed(product.fleet.term));
    if let (Some(used), Some(unused)) = (&typed_beside, product.fleet.usd_per_hour)
        && used.0 != unused
    {
        warnings.push(format!(
            "fleet.usd_per_hour is not used: [fleet.purchase] has another price of the same term, {}",
            product.fleet.term
        ));
    }
    if own.is_ok() && (typed_beside.is_some() || product.fleet.usd_per_hour.is_some()) {
        warnings.push(
            "the machine's hourly price is typed in the product file, not from a price sheet".to_owned(),
        );
    }
    let models = own.as_ref().ok().map(|model| (SELF_HOST, model)).into_iter();
    let models =
        models.chain(apis.iter().filter_map(|(id, _, model)| Some((id.as_str(), model.as_ref().ok()?))));
    let fleet = fleet_of(product, &week, &traffic, capacity, own.as_ref().ok(), capacity_from, requests);
    let choice = plans.iter().find(|plan| decision.choice.as_ref() == Some(&plan.id));
    let allocations = choice.map_or(Ok(Vec::new()), |choice| {
        let model = models.into_iter().find(|(id, _)| *id == choice.id).map(|(_, model)| model);
        let utilization =
            (choice.id == SELF_HOST).then(|| fleet.paid_utilization(product.fleet.term)).flatten();
        allocations(product, measurement, &Bill { option: choice, model, utilization })
    });
    Ok(Plan {
        format: FORMAT.to_owned(),
        breakeven_version: options.version.to_owned(),
        product: product.name.clone(),
        as_of: options.as_of,
        measured: summary::measured(measurement),
        fleet,
        traffic,
        options: plans,
        break_evens,
        decision,
        load_curve: summary::load_curve(measurement),
        cost_curve,
        fleet_plan,
        scenarios: Some(scenarios),
        horizon,
        uncertainty,
        allocations: allocations.map_err(PlanError::Allocation)?,
        assumptions: assumptions(product),
        warnings,
        cost_basis: Some(cost_basis),
        workflow: crate::workflow::summary::workflows(&loads, product, &measurement.run_id),
    })
}

fn traffic_summary(product: &Product, week: &Week, load: &Load) -> Result<TrafficSummary, PlanError> {
    let requests = product.traffic.requests_per_month.get();
    let typed = product.success.retries_per_request.get();
    let retries = load.retries.as_ref().map_or(typed, MeasuredRetries::per_request);
    let rate = |value: f64| {
        RequestRate::new(value).map_err(|_| PlanError::OutOfRange { what: "the traffic's rate", value })
    };
    // Of attempts, as the month is: the fleet is sized for requests that hold the measured ones.
    let mean = mean_rate(requests * load.in_all() * held(load), retries)
        .ok_or(PlanError::OutOfRange { what: "`traffic.requests_per_month`", value: requests })?;
    Ok(TrafficSummary {
        requests_per_month: requests,
        attempts_per_month: requests * load.attempts * (1.0 + retries),
        asked_per_request: load.asked(),
        mean_rate: mean,
        peak_hour_rate: rate(mean.per_second() * week.peak_hour())?,
        design_rate: rate(mean.per_second() * week.peak_ready())?,
        mean_input_tokens: load.input_tokens() / load.asked(),
        mean_output_tokens: load.output_tokens() / load.asked(),
    })
}

/// Attempts that a request of the measured capacity holds.
fn held(load: &Load) -> f64 {
    load.retries.as_ref().map_or(1.0, MeasuredRetries::in_capacity)
}

pub(crate) fn own_name(measurement: &Measurement) -> String {
    let model = measurement.model.as_ref().map_or("the model", |m| m.name.as_str());
    format!("self-host {model}")
}

pub(crate) fn option_plan(
    id: &str,
    name: &str,
    model: &CostModel<'_>,
    requests: f64,
    capacity: Option<&ReplicaCapacity>,
) -> OptionPlan {
    let lines = model.lines(requests);
    let usd_per_month: Usd = lines.iter().map(|l| l.usd_per_month).sum();
    let successes = decimal(requests) * decimal(model.success.get());
    let model_calls: Usd = if model.load.workflow.is_some() {
        // Other models' calls may stand on the same lines.
        let (base, retries, _) = model.model_calls(requests);
        base + retries
    } else {
        let calls = lines.iter().filter(|l| matches!(l.line, LineItem::Inference | LineItem::Retries));
        calls.map(|l| l.usd_per_month).sum()
    };
    let output_tokens = decimal(requests * model.mean_output_tokens());
    let interval = capacity.and_then(|c| {
        // A larger capacity is the cheaper end.
        let cheap = with_capacity(model, c.high?).total(requests);
        let dear = with_capacity(model, c.low?).total(requests);
        Some((cheap, dear))
    });
    let busy = model.replica_hours(requests).and_then(|paid| {
        let Supply::SelfHost { capacity, usd_per_hour, .. } = &model.supply else { return None };
        let mean = model.mean_rate(requests)?;
        let busy = mean.per_second() / capacity.per_second() * crate::traffic::HOURS_PER_MONTH;
        usd_per_hour.times(paid).per(decimal(busy))
    });
    let mut option = OptionPlan {
        id: id.to_owned(),
        name: name.to_owned(),
        kind: model.kind(requests),
        infeasible: None,
        usd_per_month,
        usd_per_request: usd_per_month.per(decimal(requests)).unwrap_or(Usd::ZERO),
        success_probability: model.success,
        usd_per_successful_outcome: usd_per_month.per(successes),
        usd_per_month_interval: interval,
        usd_per_busy_hour: busy,
        usd_per_million_output_tokens: model_calls
            .times(rust_decimal::Decimal::from(1_000_000))
            .per(output_tokens),
        lines,
        unit_economics: Vec::new(),
    };
    option.unit_economics = crate::economics::figures(&option, model, requests);
    option
}

/// An option that cannot be had: named with its reason, costed at nothing.
pub(crate) fn infeasible(id: &str, name: &str, reason: &str, product: &Product) -> OptionPlan {
    let none = typed_at("(none)", Some(reason.to_owned()));
    let lines = LineItem::ALL
        .into_iter()
        .map(|line| crate::plan::CostLine { line, usd_per_month: Usd::ZERO, from: none.clone() })
        .collect();
    let kind = match id.strip_prefix("api:").and_then(|name| name.split_once('/')) {
        Some((provider, model)) => {
            OptionKind::Api { provider: provider.to_owned(), model: model.to_owned(), price_from: none }
        }
        None => OptionKind::SelfHost {
            replicas: 0,
            usd_per_replica_hour: Usd::ZERO,
            term: product.fleet.term.to_string(),
            price_from: none,
        },
    };
    OptionPlan {
        id: id.to_owned(),
        name: name.to_owned(),
        kind,
        infeasible: Some(reason.to_owned()),
        lines,
        usd_per_month: Usd::ZERO,
        usd_per_request: Usd::ZERO,
        success_probability: Fraction::ZERO,
        usd_per_successful_outcome: None,
        usd_per_month_interval: None,
        usd_per_busy_hour: None,
        usd_per_million_output_tokens: None,
        unit_economics: Vec::new(),
    }
}

pub(crate) fn sort_key(option: &OptionPlan) -> f64 {
    match (&option.infeasible, option.usd_per_successful_outcome) {
        (None, Some(price)) => price.to_f64(),
        _ => f64::INFINITY,
    }
}

fn break_even_of(
    id: &str,
    name: &str,
    own: &CostModel<'_>,
    api: &CostModel<'_>,
    capacity: Option<&ReplicaCapacity>,
) -> BreakEven {
    let volume_at = |rate: Option<RequestRate>| match break_even(&with_capacity(own, rate?), api) {
        BreakEvenOutcome::At { requests_per_month } => Some(requests_per_month),
        BreakEvenOutcome::Always | BreakEvenOutcome::Never { .. } => None,
    };
    let interval = (volume_at(capacity.and_then(|c| c.high)), volume_at(capacity.and_then(|c| c.low)));
    BreakEven { api: id.to_owned(), api_name: name.to_owned(), outcome: break_even(own, api), interval }
}

fn cost_curve(plans: &[OptionPlan], own: Option<&CostModel<'_>>, apis: &[ApiModel<'_>]) -> Vec<CostPoint> {
    let model_of = |id: &str| {
        if id == SELF_HOST {
            own
        } else {
            apis.iter().find(|(api, ..)| api == id).and_then(|(_, _, model)| model.as_ref().ok())
        }
    };
    drawn_volumes()
        .map(|volume| CostPoint {
            requests_per_month: volume,
            usd_per_month: plans
                .iter()
                .filter(|plan| plan.infeasible.is_none())
                .filter_map(|plan| Some((plan.id.clone(), model_of(&plan.id)?.total(volume))))
                .collect(),
        })
        .collect()
}

fn fleet_of(
    product: &Product,
    week: &Week,
    traffic: &TrafficSummary,
    capacity: Option<ReplicaCapacity>,
    own: Option<&CostModel<'_>>,
    capacity_from: Provenance,
    requests: f64,
) -> Fleet {
    let by_hour = own.and_then(|model| model.replicas(requests)).unwrap_or_default();
    let replicas = by_hour.iter().copied().max();
    let held = product.loads.as_ref().map_or(1.0, |loads| held(&loads.own));
    let naive = capacity
        .as_ref()
        .map(|c| replicas_for(traffic.peak_hour_rate.per_second() / held, c.rate.per_second()).max(1));
    let utilization = capacity.as_ref().zip(replicas).and_then(|(c, n)| {
        Fraction::new(traffic.mean_rate.per_second() / held / (c.rate.per_second() * f64::from(n))).ok()
    });
    let formula = "ceil(mean rate x busiest hour within the scale-up lag x burst factor / capacity of one replica) + replicas lost";
    let mean = if held > 1.0 {
        // Attempts, of which the capacity counts those with their retries as one.
        format!("{} / {held:.6} attempts of a measured request", traffic.mean_rate)
    } else {
        traffic.mean_rate.to_string()
    };
    let inputs = vec![
        input("mean rate", mean, typed_at("traffic.requests_per_month", None)),
        input("busiest hour x burst factor", format!("{:.2}", week.peak_ready()), typed_at("traffic", None)),
        input(
            "capacity of one replica",
            capacity.as_ref().map_or_else(|| "none".to_owned(), |c| c.rate.to_string()),
            capacity_from,
        ),
        input("replicas lost", product.fleet.replicas_lost, typed_at("fleet.replicas_lost", None)),
    ];
    Fleet {
        replica_capacity: capacity,
        replicas_naive: naive,
        replicas,
        replicas_lost: product.fleet.replicas_lost,
        replicas_by_hour: by_hour,
        headroom: utilization.and_then(|u| Fraction::new(1.0 - u.get()).ok()),
        utilization,
        from: Provenance::Computed { formula: formula.to_owned(), inputs },
    }
}

fn price_warnings(plans: &[OptionPlan]) -> Vec<String> {
    plans
        .iter()
        .filter(|plan| plan.infeasible.is_none())
        .filter_map(|plan| {
            let (OptionKind::SelfHost { price_from, .. } | OptionKind::Api { price_from, .. }) = &plan.kind;
            match price_from {
                Provenance::PriceSheet { stale: true, date: Some(date), .. } => {
                    Some(format!("{}: its price was read on {date}, more than 180 days ago", plan.name))
                }
                Provenance::PriceSheet { stale: true, date: None, .. } => {
                    Some(format!("{}: its price carries no date", plan.name))
                }
                _ => None,
            }
        })
        .collect()
}
