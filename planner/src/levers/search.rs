//! Each lever alone, and the best of them together: every setting is a product file of its own, costed in full by the exact model.

use std::{cmp::Reverse, collections::HashMap};

use breakeven_hardware::{PriceBook, Usd};
use breakeven_measurement::Measurement;

use super::{
    patch::{both_set, is_on},
    ranking::{
        BestChoice, Combination, Effect, Figures, LeverSummary, OptionLevers, Ranking, SearchSummary, Step,
    },
};
use crate::{
    capacity::{PlanError, check, replica_capacity},
    cost::{decimal, rounded},
    diff::LineChange,
    plan::LineItem,
    planning::{PlanOptions, SELF_HOST, own_name},
    product::Product,
    scenario::{
        Factors,
        world::{Bill, World},
    },
    workflow::bill::{Sheets, with_stages},
};

/// Up to so many levers, every combination is tried.
const EVERY: usize = 10;
/// Rounding of a share of requests.
const ROUNDING: f64 = 1e-9;
/// Less a month than this pays nothing back: it may be rounding.
const CENT: f64 = 0.01;
/// Refused settings that are listed.
const LISTED: usize = 10;

/// Every option's bill under a setting, or why it cannot be had; an error where the levers do not fit together.
type Case = Result<Vec<(String, Result<Bill, String>)>, String>;

/// Ranks the levers of a product.
///
/// # Errors
/// As planning: a measurement that may not be planned on, or a stage that cannot be priced.
pub fn levers(
    product: &Product,
    measurement: &Measurement,
    prices: &PriceBook,
    options: &PlanOptions<'_>,
) -> Result<Ranking, PlanError> {
    let mut notes = check(measurement, options.allow_invalid)?;
    let measured = product.uncertain.with_measured(measurement);
    let product = measured.as_ref().unwrap_or(product);
    let sheets = Sheets { prices, as_of: options.as_of, measurement };
    // The file itself must be costed; what is wrong with it is said as `plan` says it.
    let staged = with_stages(product.clone(), &sheets)?;
    notes.extend(staged.loads.iter().flat_map(|loads| crate::waiting::warnings(&staged, loads)));
    let capacity = replica_capacity(measurement);
    let world = World { measurement, prices, options, capacity: capacity.as_ref() };
    let mut search = Search::of(world, product);
    let count = product.levers.len();
    let every = count <= EVERY;
    let singles = (0..count).map(|index| 1_u64 << index);
    let settings: Vec<u64> =
        if every { (0..1_u64 << count).collect() } else { std::iter::once(0).chain(singles).collect() };
    search.cost(settings);

    let off = search.cases.get(&0).cloned().unwrap_or_else(|| Ok(Vec::new())).unwrap_or_default();
    let mut ranked = Vec::new();
    for (id, bill) in &off {
        let best = match bill {
            Ok(bill) if every => Some(search.best_of_all(id, bill)),
            Ok(bill) => Some(search.best_step_by_step(id, bill)),
            Err(_) => None,
        };
        let best = best.map(|on| search.combination(id, on));
        ranked.push(search.option(id, bill, best.flatten()));
    }
    ranked.sort_by_key(|option| {
        let price = option.off.and_then(|off| off.usd_per_successful_outcome);
        (price.is_none(), price)
    });
    notes.push(
        "figures at the likely values of the file's numbers, this month, by the exact cost model; a lever's effect on success is what \
         the file says it is"
            .to_owned(),
    );
    if !product.machines.is_empty() || !product.fleet.other_terms.is_empty() {
        notes.push(
            "on the machine and term of [fleet]: other machines and terms are compared by `breakeven plan`"
                .to_owned(),
        );
    }
    if !every {
        notes.push(format!(
            "more than {EVERY} levers: combinations were built one lever at a time, whichever saved most on top; a better one may exist"
        ));
    }
    Ok(Ranking {
        product: product.name.clone(),
        as_of: options.as_of,
        run_id: measurement.run_id.clone(),
        requests_per_month: product.traffic.requests_per_month.get(),
        levers: product.levers.iter().map(summary).collect(),
        best: best_choice(&ranked),
        options: ranked,
        search: search.summary(every),
        notes,
    })
}

fn summary(lever: &crate::product::lever::LeverTable) -> LeverSummary {
    LeverSummary {
        name: lever.name.clone(),
        changes: lever.changes(),
        usd_per_month: lever.usd_per_month.0,
        once_usd: lever.once_usd.0,
        life_months: lever.life_months.get(),
        note: lever.note.clone(),
    }
}

fn best_choice(options: &[OptionLevers]) -> Option<BestChoice> {
    let priced = options.iter().filter_map(|option| {
        let best = option.best.as_ref()?;
        Some((best.on.usd_per_successful_outcome?, option, best))
    });
    let (usd, option, best) = priced.min_by_key(|(usd, ..)| *usd)?;
    Some(BestChoice {
        option: option.id.clone(),
        name: option.name.clone(),
        levers: best.levers.clone(),
        usd_per_successful_outcome: usd,
    })
}

/// Settings that were costed. A setting is a mask: bit i for the i-th lever of the file.
struct Search<'a> {
    world: World<'a>,
    product: &'a Product,
    /// Levers that set the same place: their bits, and the place.
    alternatives: Vec<(usize, usize, String)>,
    cases: HashMap<u64, Case>,
}

impl<'a> Search<'a> {
    fn of(world: World<'a>, product: &'a Product) -> Self {
        let mut alternatives = Vec::new();
        let file = product.uncertain.likely().unwrap_or_default();
        for (b, second) in product.levers.iter().enumerate() {
            for (a, first) in product.levers.iter().enumerate().take(b) {
                alternatives.extend(both_set(&file, first, second).map(|place| (a, b, place)));
            }
        }
        Self { world, product, alternatives, cases: HashMap::new() }
    }

    fn may_be_on(&self, on: u64) -> bool {
        !self.alternatives.iter().any(|(a, b, _)| is_on(on, *a) && is_on(on, *b))
    }

    fn case(&self, on: u64) -> Case {
        let product = if on == 0 { self.product.clone() } else { self.product.uncertain.with_levers(on)? };
        let World { prices, options, measurement, .. } = self.world;
        let sheets = Sheets { prices, as_of: options.as_of, measurement };
        let product = with_stages(product, &sheets).map_err(|error| error.to_string())?;
        Ok(self.world.bills(&product, &Factors::NONE))
    }

    /// Costs the settings that are not costed yet and whose levers may be on together.
    fn cost(&mut self, settings: Vec<u64>) {
        let wanted: Vec<u64> =
            settings.into_iter().filter(|on| self.may_be_on(*on) && !self.cases.contains_key(on)).collect();
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let part = wanted.len().div_ceil(threads).max(1);
        let this = &*self;
        let found: Vec<(u64, Case)> = std::thread::scope(|scope| {
            let parts = wanted.chunks(part).map(|settings| {
                scope.spawn(move || settings.iter().map(|on| (*on, this.case(*on))).collect::<Vec<_>>())
            });
            let parts: Vec<_> = parts.collect();
            let joined = parts.into_iter().map(std::thread::ScopedJoinHandle::join);
            // A setting that broke the planner is no setting that saves nothing.
            joined.flat_map(|part| part.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        });
        self.cases.extend(found);
    }

    /// An option's bill: by id, since a lever may add an option or take one away.
    fn bill(&self, id: &str, on: u64) -> Option<&Bill> {
        self.outcome(id, on)?.as_ref().ok()
    }

    fn outcome(&self, id: &str, on: u64) -> Option<&Result<Bill, String>> {
        let bills = self.cases.get(&on)?.as_ref().ok()?;
        bills.iter().find(|(other, _)| other == id).map(|(_, bill)| bill)
    }

    /// What a setting saves at no fewer successes; `None` where there are fewer, or it cannot be had.
    fn saves(&self, id: &str, off: &Bill, on: u64) -> Option<Usd> {
        let bill = self.bill(id, on)?;
        keeps_success(off, bill).then(|| off.usd - bill.usd)
    }

    /// The setting that saves most; of equals the one with the fewest levers.
    fn best_of_all(&self, id: &str, off: &Bill) -> u64 {
        let saved = self.cases.keys().filter_map(|on| Some((self.saves(id, off, *on)?, *on)));
        saved.max_by_key(|(usd, on)| (*usd, Reverse(on.count_ones()), Reverse(*on))).map_or(0, |(_, on)| on)
    }

    /// The same by adding one lever at a time.
    fn best_step_by_step(&mut self, id: &str, off: &Bill) -> u64 {
        let (mut on, mut saved) = (0_u64, Usd::ZERO);
        loop {
            let more: Vec<u64> = (0..self.product.levers.len())
                .map(|index| on | 1 << index)
                .filter(|more| *more != on)
                .collect();
            self.cost(more.clone());
            let best = more.into_iter().filter_map(|on| Some((self.saves(id, off, on)?, on)));
            match best.max_by_key(|(usd, on)| (*usd, Reverse(*on))) {
                Some((usd, more)) if usd > saved => (on, saved) = (more, usd),
                _ => return on,
            }
        }
    }

    fn names(&self, on: u64) -> Vec<String> {
        let levers = self.product.levers.iter().enumerate();
        levers.filter(|(index, _)| is_on(on, *index)).map(|(_, lever)| lever.name.clone()).collect()
    }

    fn combination(&self, id: &str, on: u64) -> Option<Combination> {
        let (off, bill) = (self.bill(id, 0)?, self.bill(id, on)?);
        let bits = (0..self.product.levers.len()).map(|index| 1_u64 << index).filter(|bit| on & bit != 0);
        let alone = bits.clone().filter_map(|bit| Some(off.usd - self.bill(id, bit)?.usd));
        let mut steps = Vec::new();
        let (mut so_far, mut usd) = (0_u64, off.usd);
        while so_far != on {
            let next = bits.clone().filter(|bit| so_far & bit == 0);
            let next = next.filter_map(|bit| Some((self.bill(id, so_far | bit)?.usd, bit)));
            // Levers that only fit together are one step.
            let (after, more) = next.min().unwrap_or((bill.usd, on & !so_far));
            let lever = self.names(more).join(" + ");
            steps.push(Step { lever, saved_usd_per_month: usd - after, usd_per_month: after });
            (so_far, usd) = (so_far | more, after);
        }
        Some(Combination {
            levers: self.names(on),
            on: self.figures(bill),
            saved_usd_per_month: off.usd - bill.usd,
            sum_of_singles_usd_per_month: alone.sum(),
            steps,
        })
    }

    fn figures(&self, bill: &Bill) -> Figures {
        let requests = self.product.traffic.requests_per_month.get();
        Figures {
            usd_per_month: bill.usd,
            usd_per_successful_outcome: bill.usd.per(decimal(bill.successes)),
            successes_per_month: bill.successes,
            resolved_per_month: bill.resolved,
            success: bill.successes / requests,
        }
    }

    fn option(&self, id: &str, off: &Result<Bill, String>, best: Option<Combination>) -> OptionLevers {
        let name = if id == SELF_HOST {
            own_name(self.world.measurement)
        } else {
            id.strip_prefix("api:").unwrap_or(id).to_owned()
        };
        let (mut single, mut fewer_successes, mut not_comparable) = (Vec::new(), Vec::new(), Vec::new());
        for index in 0..self.product.levers.len() {
            let effect = self.effect(id, off.as_ref().ok(), index);
            let kept = off.as_ref().ok().zip(self.bill(id, 1 << index)).map(|(a, b)| keeps_success(a, b));
            match kept {
                Some(true) => single.push(effect),
                Some(false) => fewer_successes.push(effect),
                None => not_comparable.push(effect),
            }
        }
        for list in [&mut single, &mut fewer_successes] {
            list.sort_by_key(|effect| Reverse(effect.saved_usd_per_month));
        }
        OptionLevers {
            id: id.to_owned(),
            name,
            off: off.as_ref().ok().map(|bill| self.figures(bill)),
            infeasible: off.as_ref().err().cloned(),
            single,
            fewer_successes,
            not_comparable,
            best,
        }
    }

    fn effect(&self, id: &str, off: Option<&Bill>, index: usize) -> Effect {
        let lever = self.product.levers.get(index);
        let on = self.bill(id, 1 << index);
        let reason = match self.cases.get(&(1 << index)) {
            Some(Err(reason)) => Some(reason.clone()),
            Some(Ok(_)) => match self.outcome(id, 1 << index) {
                Some(bill) => bill.as_ref().err().cloned(),
                None => Some("the lever takes this option away".to_owned()),
            },
            None => None,
        };
        let both = off.zip(on);
        let saved = both.map(|(off, on)| off.usd - on.usd);
        let once = lever.map_or(0.0, |lever| lever.once_usd.0.to_f64());
        let payback = saved.zip(lever).and_then(|(saved, lever)| {
            // What it saves before its own price is paid off.
            let a_month = saved.to_f64() + once / lever.life_months.get();
            (once > 0.0 && a_month >= CENT).then(|| once / a_month)
        });
        Effect {
            lever: lever.map_or_else(String::new, |lever| lever.name.clone()),
            on: on.map(|bill| self.figures(bill)),
            infeasible: reason,
            saved_usd_per_month: saved,
            successes_change: both.map(|(off, on)| on.successes - off.successes),
            resolved_change: both.map(|(off, on)| on.resolved - off.resolved),
            lines: both.map_or_else(Vec::new, |(off, on)| lines(off, on)),
            payback_months: payback,
        }
    }

    fn summary(&self, every_combination: bool) -> SearchSummary {
        let name = |index: usize| self.product.levers.get(index).map_or("", |lever| lever.name.as_str());
        let mut refused: Vec<(u64, &String)> =
            self.cases.iter().filter_map(|(on, case)| Some((*on, case.as_ref().err()?))).collect();
        refused.sort_unstable_by_key(|(on, _)| (on.count_ones(), *on));
        SearchSummary {
            every_combination,
            tried: self.cases.len(),
            alternatives: self
                .alternatives
                .iter()
                .map(|(a, b, at)| (name(*a).to_owned(), name(*b).to_owned(), at.clone()))
                .collect(),
            refused: refused
                .into_iter()
                .take(LISTED)
                .map(|(on, why)| (self.names(on), why.clone()))
                .collect(),
        }
    }
}

/// Whether no fewer requests succeed, and none fewer are resolved.
fn keeps_success(off: &Bill, on: &Bill) -> bool {
    let kept = |off: f64, on: f64| on >= off * (1.0 - ROUNDING);
    kept(off.successes, on.successes) && kept(off.resolved, on.resolved)
}

fn lines(off: &Bill, on: &Bill) -> Vec<LineChange> {
    let amount = |bill: &Bill, line: LineItem| {
        bill.lines.iter().find(|item| item.line == line).map_or(Usd::ZERO, |item| item.usd)
    };
    let mut changed: Vec<LineChange> = LineItem::ALL
        .into_iter()
        .map(|line| LineChange { line, a: amount(off, line), b: amount(on, line) })
        .filter(|change| rounded(change.a) != rounded(change.b))
        .collect();
    let size =
        |change: &LineChange| if change.a > change.b { change.a - change.b } else { change.b - change.a };
    changed.sort_by_key(|change| Reverse(size(change)));
    changed
}
