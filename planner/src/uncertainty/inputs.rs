//! What is uncertain, and which number of the kernel it sets.

use std::borrow::Cow;

use super::{
    distribution::{Distribution, Sampler},
    kernel::{Calls, Kernel, OptionKernel},
    parts::{Part, Parts},
};
use crate::{
    product::Product,
    scenario::{Factors, world::Bill},
};

/// The path of what was measured.
const CAPACITY: &str = "measured.capacity";
/// The share of successes that machines without one of their own have.
const SUCCESS: &str = "success.probability";

/// A number of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Number {
    Requests,
    Retries,
    Burst,
    Success,
    ApiSuccess(usize),
    SuccessValue,
    TokensRatio(usize),
    ApiPrice,
    MachinePrice,
    Capacity,
    Typed(usize, usize),
}

/// One uncertain input.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    pub(crate) path: String,
    pub(crate) distribution: Distribution,
    pub(crate) sampler: Sampler,
    /// The kernel's number; `None` where the product is read anew for every value.
    pub(crate) number: Option<Number>,
    /// The machines whose number it is.
    on: Parts,
    /// Where it stands among the distributions of each of their product files.
    slots: Vec<(usize, usize)>,
}

/// A kernel at the likely values, and how to move it.
pub(crate) struct Setup<'a> {
    /// The plan's own machine, then the others.
    parts: Vec<Part<'a>>,
    pub(crate) kernel: Kernel,
    pub(crate) inputs: Vec<Input>,
    pub(crate) left_out: Vec<String>,
}

impl<'a> Setup<'a> {
    /// Compiles the parts; `None` where no option can be had.
    pub(crate) fn of(parts: Vec<Part<'a>>) -> Option<Self> {
        let files: Vec<Option<Cow<'_, Product>>> =
            parts.iter().map(|part| Some(Cow::Borrowed(part.product))).collect();
        let (kernel, left_out) = compile(&parts, &files)?;
        drop(files);
        if kernel.options.is_empty() {
            return None;
        }
        let mut setup = Self { parts, kernel, inputs: Vec::new(), left_out };
        // Those of the plan's own machine first, so that other machines do not change their draws.
        for part in 0..setup.parts.len() {
            setup.push_capacity(part);
            setup.push_slots(part);
        }
        Some(setup)
    }

    /// The measured capacity of a part's machine, once for all of its terms and for other names of it.
    fn push_capacity(&mut self, index: usize) {
        let Some(part) = self.parts.get(index) else { return };
        if self.parts.iter().take(index).any(|other| other.measured_with(part)) {
            return;
        }
        let (path, on) = self.capacity_of(part);
        let own = self.kernel.options.iter().any(|option| option.api.is_none() && on.holds(option.part));
        let Some(capacity) = part.world.capacity.filter(|_| own) else { return };
        let rate = capacity.rate.per_second();
        let end = |end: Option<breakeven_measurement::RequestRate>| {
            end.map_or(rate, breakeven_measurement::RequestRate::per_second)
        };
        let (low, high) = (end(capacity.low).min(rate), end(capacity.high).max(rate));
        if low < high {
            let distribution = Distribution::Measured(rate, low, high);
            self.push(path, distribution, Some(Number::Capacity), on, Vec::new());
        }
    }

    /// A part's distributions, but for those that an earlier part has too.
    fn push_slots(&mut self, index: usize) {
        let Some(part) = self.parts.get(index) else { return };
        let keys: Vec<Vec<String>> = self.parts.iter().map(Part::keys).collect();
        let slots = part.product.uncertain.slots.clone();
        for (slot, key) in keys.get(index).into_iter().flatten().enumerate() {
            let Some(typed) = slots.get(slot) else { continue };
            if key.is_empty() || keys.iter().take(index).any(|earlier| earlier.contains(key)) {
                continue;
            }
            let places = keys.iter().enumerate();
            let places =
                places.filter_map(|(at, keys)| Some((at, keys.iter().position(|other| other == key)?)));
            let places: Vec<(usize, usize)> = places.collect();
            let on = Parts::of(places.iter().map(|(at, _)| *at));
            let Some(part) = self.parts.get(index) else { continue };
            let path = part.shown(index, &typed.path, &self.inputs);
            let number = self.number(index, &typed.path);
            self.push(path, typed.distribution, number, on, places);
        }
    }

    fn push(
        &mut self,
        path: String,
        distribution: Distribution,
        number: Option<Number>,
        on: Parts,
        slots: Vec<(usize, usize)>,
    ) {
        let on = match number {
            // A machine with a share of its own does not take the product's.
            Some(Number::Success) if path.starts_with(SUCCESS) => on.and(self.without_own_success()),
            _ => on,
        };
        let sampler = distribution.sampler();
        let mut input = Input { path, distribution, sampler, number, on, slots };
        // The kernel's number must do what reading the product anew does.
        if let Some(number) = number.filter(|_| !input.slots.is_empty()) {
            let (low, high) = distribution.range();
            if ![low, high].into_iter().all(|value| self.agrees(&input, number, value)) {
                input.number = None;
            }
        }
        self.inputs.push(input);
    }

    /// Machines whose share of successes is the product's.
    fn without_own_success(&self) -> Parts {
        let parts = self.parts.iter().enumerate();
        Parts::of(
            parts
                .filter(|(_, part)| part.product.fleet.success_probability.is_none())
                .map(|(index, _)| index),
        )
    }

    fn agrees(&self, input: &Input, number: Number, value: f64) -> bool {
        let mut moved = self.kernel.clone();
        number.set(&mut moved, value, input.on);
        let Some(files) = self.files(|at| input.slots.contains(&at).then_some(value)) else { return false };
        let same = |option: &OptionKernel, exact: Option<&Result<Bill, String>>| match (
            exact,
            option.cost(&moved, moved.requests, &Factors::NONE),
        ) {
            (Some(Ok(bill)), Some(cost)) => {
                let usd = bill.usd.to_f64();
                (usd - cost.usd).abs() <= 1e-9 * usd.abs().max(1e-9)
                    && (bill.successes - cost.successes).abs() <= 1e-9 * bill.successes.abs()
            }
            (Some(Err(_)), None) => true,
            _ => false,
        };
        self.parts.iter().zip(&files).enumerate().all(|(index, (part, file))| {
            let Some(file) = file else { return false };
            let of_part = moved.options.iter().filter(|option| option.part == index);
            if index == 0 {
                let bills = part.world.bills(file, &Factors::NONE);
                let exact = |id: &str| bills.iter().find(|(other, _)| other == id).map(|(_, bill)| bill);
                of_part.into_iter().all(|option| same(option, exact(&option.id)))
            } else {
                let bill = part.world.own_bill(file);
                of_part.into_iter().all(|option| same(option, Some(&bill)))
            }
        })
    }

    /// Every part's product with some of its distributions at other values; `None` for one that cannot be read then, and `None` in all where
    /// that is the plan's own.
    fn files(&self, value: impl Fn((usize, usize)) -> Option<f64>) -> Option<Vec<Option<Cow<'_, Product>>>> {
        let read = |(index, part): (usize, &Part<'a>)| {
            let slots = 0..part.product.uncertain.slots.len();
            let values: Vec<Option<f64>> = slots.map(|slot| value((index, slot))).collect();
            if values.iter().all(Option::is_none) {
                return Some(Cow::Borrowed(part.product));
            }
            let product = part.product.uncertain.product_at(&values).ok()?;
            part.world.staged(product).map(Cow::Owned)
        };
        let files: Vec<_> = self.parts.iter().enumerate().map(read).collect();
        files.first()?.is_some().then_some(files)
    }

    /// The kernel's number behind a path of the product file.
    fn number(&self, part: usize, path: &str) -> Option<Number> {
        let product = self.parts.get(part)?.product;
        let indexed = |prefix: &str| -> Option<(usize, &str)> {
            let (index, rest) = path.strip_prefix(prefix)?.split_once(']')?;
            Some((index.parse().ok()?, rest))
        };
        if let Some((index, rest)) = indexed("api[") {
            return match rest {
                ".success_probability" => Some(Number::ApiSuccess(index)),
                ".tokens_ratio" => Some(Number::TokensRatio(index)),
                _ => None,
            };
        }
        if let Some((index, rest)) = indexed("cost[") {
            return match rest {
                ".usd_per_month" => Some(Number::Typed(index, 0)),
                ".usd_per_request" => Some(Number::Typed(index, 1)),
                ".usd_per_failure" => Some(Number::Typed(index, 2)),
                _ => None,
            };
        }
        match path {
            "traffic.requests_per_month" => Some(Number::Requests),
            "traffic.burst_factor" => Some(Number::Burst),
            "success.retries_per_request" => Some(Number::Retries),
            // Options without a share of their own take the product's, so only the exact model knows whose it is.
            SUCCESS
                if product.fleet.success_probability.is_none()
                    && product.apis.iter().all(|api| api.success_probability.is_some()) =>
            {
                Some(Number::Success)
            }
            "fleet.success_probability" => Some(Number::Success),
            "success.value_usd_per_success" => Some(Number::SuccessValue),
            "fleet.usd_per_hour" => Some(Number::MachinePrice),
            _ => None,
        }
    }

    /// Whether the plan is one of fewer draws than its product asks for.
    pub(crate) fn is_draft(&self) -> bool {
        self.parts.first().is_some_and(|part| part.product.most_draws.is_some())
    }

    /// Whether some input makes every draw read the product anew.
    pub(crate) fn rebuilds(&self) -> bool {
        self.inputs.iter().any(|input| input.number.is_none())
    }

    pub(crate) fn rebuilding(&self) -> Vec<String> {
        self.inputs.iter().filter(|input| input.number.is_none()).map(|input| input.path.clone()).collect()
    }

    /// The kernel at some values, one an input; `None` keeps the likely one. `None` where the product cannot be read.
    pub(crate) fn kernel_at(&self, values: &[Option<f64>]) -> Option<Kernel> {
        let structural =
            self.inputs.iter().zip(values).any(|(input, value)| input.number.is_none() && value.is_some());
        let mut kernel = if structural {
            let at = |place: (usize, usize)| {
                let inputs = self.inputs.iter().zip(values);
                inputs.filter(|(input, _)| input.slots.contains(&place)).find_map(|(_, value)| *value)
            };
            compile(&self.parts, &self.files(at)?)?.0
        } else {
            self.kernel.clone()
        };
        for (input, value) in self.inputs.iter().zip(values) {
            if let (Some(number), Some(value)) = (input.number, value) {
                number.set(&mut kernel, *value, input.on);
            }
        }
        Some(kernel)
    }

    /// Inputs worth asking "where does it flip?" that the file types as plain numbers: name, number, whose it is, present value.
    pub(crate) fn plain(&self) -> Vec<(String, Number, Parts, f64)> {
        let Some(own) = self.parts.first() else { return Vec::new() };
        let (success_path, of_success) = match own.product.fleet.success_probability {
            Some(_) => ("fleet.success_probability", self.terms_of(0)),
            None => ("success.probability (self-hosted)", self.without_own_success()),
        };
        let success = own.product.own_success().get();
        let all = Parts::ALL;
        let mut plain = vec![
            ("traffic.requests_per_month".to_owned(), Number::Requests, all, self.kernel.requests),
            (success_path.to_owned(), Number::Success, of_success, success),
            ("success.retries_per_request".to_owned(), Number::Retries, all, self.kernel.retries),
            ("API prices, times".to_owned(), Number::ApiPrice, all, 1.0),
        ];
        for option in self.kernel.options.iter().filter(|option| option.api.is_none()) {
            let of_other = |what: &str| {
                if option.part == 0 { what.to_owned() } else { format!("{what} of {}", option.id) }
            };
            if let Calls::Hourly { usd_per_hour, .. } = &option.calls {
                let this = Parts::of(std::iter::once(option.part));
                plain.push((of_other("fleet.usd_per_hour"), Number::MachinePrice, this, *usd_per_hour));
            }
            if let (Calls::Hourly { fleet, .. } | Calls::Owned { fleet, .. }, Some(part)) =
                (&option.calls, self.parts.get(option.part))
            {
                let (path, on) = self.capacity_of(part);
                plain.push((path, Number::Capacity, on, fleet.capacity));
            }
        }
        let drawn = |path: &str, number: Number, on: Parts| {
            self.inputs.iter().any(|input| {
                input.path == path
                    || (input.number == Some(number) && number.is_of_a_machine() && input.on.overlap(on))
            })
        };
        let mut kept: Vec<(String, Number, Parts, f64)> = Vec::new();
        for (path, number, on, now) in plain {
            if now > 0.0 && !drawn(&path, number, on) && kept.iter().all(|(other, ..)| *other != path) {
                kept.push((path, number, on, now));
            }
        }
        kept
    }

    /// The capacity that a part has from its measurement, named by the first part that has it too, and all of those.
    fn capacity_of(&self, part: &Part<'_>) -> (String, Parts) {
        let alike = self.parts.iter().enumerate().filter(|(_, other)| other.measured_with(part));
        let path = match alike.clone().next() {
            Some((index, first)) if index > 0 => format!("{CAPACITY} of {}", first.machine),
            _ => CAPACITY.to_owned(),
        };
        (path, Parts::of(alike.map(|(at, _)| at)))
    }

    /// All terms of a part's machine.
    fn terms_of(&self, index: usize) -> Parts {
        let machine = self.parts.get(index).map(|part| &part.machine);
        let parts = self.parts.iter().enumerate();
        Parts::of(parts.filter(|(_, part)| Some(&part.machine) == machine).map(|(at, _)| at))
    }
}

impl Number {
    /// Whether it belongs to one machine.
    fn is_of_a_machine(self) -> bool {
        matches!(self, Self::MachinePrice | Self::Capacity)
    }

    /// Sets it; of our own replicas' numbers, those on some of the machines.
    pub(crate) fn set(self, kernel: &mut Kernel, value: f64, on: Parts) {
        let ours = |option: &OptionKernel| option.api.is_none() && on.holds(option.part);
        match self {
            Self::Requests => kernel.requests = value,
            Self::Retries => kernel.retries = value,
            Self::Burst => kernel.burst = value / kernel.typed_burst,
            Self::Success => each(kernel, |option| {
                if ours(option) {
                    option.success = value * option.workflow_success;
                }
            }),
            Self::ApiSuccess(index) => each(kernel, |option| {
                if option.api == Some(index) {
                    option.success = value * option.workflow_success;
                }
            }),
            Self::SuccessValue => each(kernel, |option| option.value = value),
            Self::TokensRatio(index) => each(kernel, |option| {
                if option.api == Some(index)
                    && let Calls::Tokens { ratio, .. } | Calls::Units { ratio, .. } = &mut option.calls
                {
                    *ratio = value;
                }
            }),
            Self::ApiPrice => kernel.api_price = value,
            Self::MachinePrice => each(kernel, |option| {
                if ours(option)
                    && let Calls::Hourly { usd_per_hour, .. } = &mut option.calls
                {
                    *usd_per_hour = value;
                }
            }),
            Self::Capacity => each(kernel, |option| {
                if ours(option)
                    && let Calls::Hourly { fleet, .. } | Calls::Owned { fleet, .. } = &mut option.calls
                {
                    fleet.capacity = value;
                }
            }),
            Self::Typed(cost, part) => each(kernel, |option| {
                for (index, amounts) in &mut option.typed {
                    if *index == cost
                        && let Some(amount) = amounts.get_mut(part)
                    {
                        *amount = value;
                    }
                }
                option.settle();
            }),
        }
    }
}

fn each(kernel: &mut Kernel, change: impl FnMut(&mut OptionKernel)) {
    kernel.options.iter_mut().for_each(change);
}

/// All options that can be had and follow a closed formula, those of the first part's file first, and why others do not. `None` without a
/// file of the first part.
fn compile(parts: &[Part<'_>], files: &[Option<Cow<'_, Product>>]) -> Option<(Kernel, Vec<String>)> {
    let (own, product) = (parts.first()?, files.first()?.as_ref()?);
    let no_formula = |id: &str| format!("{id}: its cost follows no closed formula here");
    let (mut options, mut left_out) = (Vec::new(), Vec::new());
    own.world.with_models(product, |models| {
        for (index, (id, model)) in models.iter().enumerate() {
            // Ours comes first, then the file's APIs in its order.
            let api = index.checked_sub(1);
            match model.as_ref().map(|model| OptionKernel::compile(id, model, api)) {
                Ok(Some(option)) => options.push(option),
                Ok(None) => left_out.push(no_formula(id)),
                Err(_) => {}
            }
        }
    });
    for (index, (part, file)) in parts.iter().zip(files).enumerate().skip(1) {
        let Some(file) = file else { continue };
        part.world.with_own(file, |model| {
            match model.as_ref().map(|m| OptionKernel::compile(&part.id, m, None)) {
                Ok(Some(mut option)) => {
                    option.part = index;
                    options.push(option);
                }
                Ok(None) => left_out.push(no_formula(&part.id)),
                Err(_) => {}
            }
        });
    }
    let kernel = Kernel {
        requests: product.traffic.requests_per_month.get(),
        retries: product.success.retries_per_request.get(),
        burst: 1.0,
        typed_burst: product.traffic.burst_factor.get(),
        api_price: 1.0,
        options,
    };
    Some((kernel, left_out))
}
