//! On what hardware: every measured machine under every way to pay for it, on the same product and success criteria.
//!
//! The cheapest per successful outcome at the product's volume becomes the plan's `self_host`: its fleet, break-even and horizon.
//! The others stand beside it with their bills, and in the draws.
//!
//! | file | holds |
//! |---|---|
//! | `variant` | the product file on another machine or term |
//! | `mix` | the cheapest mix of machines and terms, as an option |

pub(crate) mod mix;
mod variant;

use std::borrow::Cow;

use breakeven_hardware::{PriceBook, sheet::Term};
use breakeven_measurement::Measurement;

use crate::{
    capacity::{check, replica_capacity},
    cost::Supply,
    cost_models::own_model,
    plan::{OptionKind, OptionPlan, Provenance, ReplicaCapacity},
    planning::{PlanOptions, SELF_HOST, infeasible, option_plan, own_name, sort_key},
    product::{Product, machine::FLEET},
    traffic::Week,
    workflow::{
        bill::{Sheets, with_stages},
        load::Loads,
    },
};

/// What was measured on a `[[machine]]` of the product file.
#[derive(Debug, Clone, Copy)]
pub struct MeasuredMachine<'a> {
    /// The machine's name in the product file.
    pub name: &'a str,
    /// The measurement made on it.
    pub measurement: &'a Measurement,
}

/// The machine and term of the plan's own replicas, and what stands beside it.
pub(crate) struct Chosen<'a> {
    pub(crate) product: Cow<'a, Product>,
    pub(crate) measurement: &'a Measurement,
    /// Name of the option; the model's alone where nothing is compared.
    pub(crate) name: String,
    pub(crate) on: On,
    pub(crate) beside: Vec<OptionPlan>,
    /// Those of them that can be had, as draws cost them anew.
    pub(crate) others: Vec<Other<'a>>,
    /// What a mix may be made of.
    pub(crate) types: Vec<mix::Type>,
    pub(crate) notes: Vec<String>,
}

/// A machine by its name in ids, and how it is paid: whose numbers the file's `[fleet]` holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct On {
    pub(crate) machine: String,
    pub(crate) term: Term,
}

/// An option beside the plan's own replicas.
pub(crate) struct Other<'a> {
    pub(crate) id: String,
    pub(crate) on: On,
    /// The product on it, with its stages in its costs and its load.
    pub(crate) product: Product,
    pub(crate) measurement: &'a Measurement,
    pub(crate) capacity: Option<ReplicaCapacity>,
}

/// One machine under one term.
struct Candidate<'a> {
    id: String,
    name: String,
    machine: String,
    term: Term,
    /// The product on it, or why it cannot be read.
    product: Result<Cow<'a, Product>, String>,
    measurement: &'a Measurement,
}

/// Costs every machine and term, and chooses the cheapest.
pub(crate) fn chosen<'a>(
    product: &'a Product,
    measurement: &'a Measurement,
    machines: &[MeasuredMachine<'a>],
    prices: &PriceBook,
    options: &PlanOptions<'_>,
) -> Chosen<'a> {
    let mut chosen = Chosen {
        product: Cow::Borrowed(product),
        measurement,
        name: own_name(measurement),
        on: On { machine: FLEET.to_owned(), term: product.fleet.term },
        beside: Vec::new(),
        others: Vec::new(),
        types: Vec::new(),
        notes: Vec::new(),
    };
    let candidates = candidates(product, measurement, machines, &mut chosen.notes);
    if candidates.len() < 2 {
        return chosen;
    }
    let alone: Vec<OptionPlan> = candidates
        .iter()
        .map(|candidate| {
            let (option, had) = candidate.alone(product, prices, options, &mut chosen.notes);
            if let Some((other, of_mix)) = had {
                chosen.types.extend(of_mix);
                chosen.others.push(other);
            }
            option
        })
        .collect();
    let best = alone.iter().enumerate().min_by(|a, b| sort_key(a.1).total_cmp(&sort_key(b.1)));
    let best = best.map_or(0, |(index, _)| index);
    chosen.beside = alone;
    chosen.beside.remove(best);
    if let Some(candidate) = candidates.into_iter().nth(best) {
        chosen.others.retain(|other| other.id != candidate.id);
        chosen.on = On { machine: candidate.machine, term: candidate.term };
        chosen.measurement = candidate.measurement;
        chosen.name = candidate.name;
        if let Ok(product) = candidate.product {
            chosen.product = product;
        }
    }
    chosen
}

fn candidates<'a>(
    product: &'a Product,
    measurement: &'a Measurement,
    machines: &[MeasuredMachine<'a>],
    notes: &mut Vec<String>,
) -> Vec<Candidate<'a>> {
    let fleet = &product.fleet;
    let own = fleet.instance.as_deref().unwrap_or(&measurement.machine.cpu.model);
    let candidate =
        |machine: &str, label: &str, term: Term, product, measurement: &'a Measurement| Candidate {
            id: format!("{SELF_HOST}:{machine}:{}", term.name()),
            name: format!("{} on {label}, {}", own_name(measurement), term.name()),
            machine: machine.to_owned(),
            term,
            product,
            measurement,
        };
    // A table of owned hardware is for that term alone.
    let first = if fleet.other_terms.contains(&Term::Owned) && fleet.term != Term::Owned {
        variant::on(product, None, fleet.term).map(Cow::Owned)
    } else {
        Ok(Cow::Borrowed(product))
    };
    let mut all = vec![candidate(FLEET, own, fleet.term, first, measurement)];
    for term in fleet.other_terms.iter().filter(|term| **term != fleet.term) {
        let on = variant::on(product, None, *term).map(Cow::Owned);
        all.push(candidate(FLEET, own, *term, on, measurement));
    }
    for (index, table) in product.machines.iter().enumerate() {
        let name = table.name.as_str();
        let Some(measured) = machines.iter().find(|measured| measured.name == name) else {
            notes.push(format!(
                "[[machine]] `{name}` is not compared: only `breakeven plan` and `breakeven run` read its measurement"
            ));
            continue;
        };
        let terms = if table.terms.is_empty() { vec![fleet.term] } else { table.terms.clone() };
        for term in terms {
            let on = variant::on(product, Some(index), term).map(Cow::Owned);
            all.push(candidate(name, name, term, on, measured.measurement));
        }
    }
    all
}

/// What notes on a run begin with.
pub(crate) fn of_run(measurement: &Measurement) -> String {
    format!("run {}: ", measurement.run_id)
}

/// What can be had: as draws need it, and what a mix may take of it.
type Had<'a> = (Other<'a>, Option<mix::Type>);

impl<'a> Candidate<'a> {
    /// Says something of its measurement, once for all terms.
    fn note(&self, notes: &mut Vec<String>, text: &str) {
        let note = format!("{}{text}", of_run(self.measurement));
        if !notes.contains(&note) {
            notes.push(note);
        }
    }

    /// Its bill, and what draws and a mix need of it. Planning errors are reasons why it cannot be had.
    fn alone(
        &self,
        file: &Product,
        prices: &PriceBook,
        options: &PlanOptions<'_>,
        notes: &mut Vec<String>,
    ) -> (OptionPlan, Option<Had<'a>>) {
        let refuse = |reason: &str| {
            let mut option = infeasible(&self.id, &self.name, reason, file);
            if let OptionKind::SelfHost { term, .. } = &mut option.kind {
                *term = self.term.to_string();
            }
            option
        };
        let product = match &self.product {
            Ok(product) => product.as_ref(),
            Err(reason) => return (refuse(reason), None),
        };
        let measurement = self.measurement;
        match check(measurement, options.allow_invalid) {
            Ok(found) => found.iter().for_each(|note| self.note(notes, note)),
            Err(error) => return (refuse(&error.to_string()), None),
        }
        if measurement.workload != product.workload() || measurement.slo != product.slo() {
            notes
                .push(format!("{}: measured for another workload or SLO than the product file's", self.name));
        }
        let counted = crate::measured_retries::warnings(product, measurement);
        for note in &counted {
            self.note(notes, note);
        }
        let measured = product.uncertain.with_measured(measurement);
        let product = measured.as_ref().unwrap_or(product);
        let sheets = Sheets { prices, as_of: options.as_of, measurement };
        let product = match with_stages(product.clone(), &sheets) {
            Ok(product) => product,
            Err(error) => return (refuse(&error.to_string()), None),
        };
        let loads = product.loads.clone().unwrap_or_else(|| Loads::plain(&product));
        let week = Week::of(&product);
        let capacity = replica_capacity(measurement);
        let from = Provenance::Measured {
            run_id: measurement.run_id.clone(),
            path: "search.capacity.rate".to_owned(),
        };
        let model = match own_model(
            &product,
            &week,
            &loads.own,
            measurement,
            prices,
            capacity.as_ref(),
            &from,
            options,
        ) {
            Ok(model) => model,
            Err(reason) => return (refuse(&reason), None),
        };
        let requests = product.traffic.requests_per_month.get();
        let option = option_plan(&self.id, &self.name, &model, requests, capacity.as_ref());
        let of_mix = match &model.supply {
            Supply::SelfHost { capacity, usd_per_hour, price_from, owned: None, .. } => Some(mix::Type {
                machine: self.machine.clone(),
                term: self.term,
                requests_per_second: capacity.per_second() * model.typed_in_measured(),
                success: model.success,
                usd_per_hour: *usd_per_hour,
                from: price_from.clone(),
            }),
            Supply::SelfHost { .. } | Supply::Api { .. } => None,
        };
        let on = On { machine: self.machine.clone(), term: self.term };
        let id = self.id.clone();
        (option, Some((Other { id, on, product, measurement, capacity }, of_mix)))
    }
}
