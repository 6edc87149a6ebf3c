//! What is uncertain, and which number of the kernel it sets.

use super::{
    distribution::{Distribution, Sampler},
    kernel::{Calls, Kernel, OptionKernel},
};
use crate::{
    planning::SELF_HOST,
    product::Product,
    scenario::{Factors, world::World},
};

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
    /// Index among the product file's distributions.
    slot: Option<usize>,
}

/// A kernel at the likely values, and how to move it.
pub(crate) struct Setup<'a> {
    world: &'a World<'a>,
    product: &'a Product,
    pub(crate) kernel: Kernel,
    pub(crate) inputs: Vec<Input>,
    pub(crate) left_out: Vec<String>,
}

impl<'a> Setup<'a> {
    /// Compiles the product; `None` where no option can be had.
    pub(crate) fn of(world: &'a World<'a>, product: &'a Product) -> Option<Self> {
        let (kernel, left_out) = compile(world, product);
        if kernel.options.is_empty() {
            return None;
        }
        let mut setup = Self { world, product, kernel, inputs: Vec::new(), left_out };
        let own = setup.kernel.options.iter().any(|option| option.id == SELF_HOST);
        if let Some(capacity) = world.capacity.filter(|_| own) {
            let rate = capacity.rate.per_second();
            let end = |end: Option<breakeven_measurement::RequestRate>| {
                end.map_or(rate, breakeven_measurement::RequestRate::per_second)
            };
            let (low, high) = (end(capacity.low).min(rate), end(capacity.high).max(rate));
            if low < high {
                setup.push("measured.capacity", Distribution::Measured(rate, low, high), None);
            }
        }
        let slots = product.uncertain.slots.iter().enumerate();
        for (index, slot) in slots.filter(|(_, slot)| product.uncertain.counts(slot)) {
            setup.push(&slot.path, slot.distribution, Some(index));
        }
        Some(setup)
    }

    fn push(&mut self, path: &str, distribution: Distribution, slot: Option<usize>) {
        let sampler = distribution.sampler();
        let number = self.number(path);
        let mut input = Input { path: path.to_owned(), distribution, sampler, number, slot };
        // The kernel's number must do what reading the product anew does.
        if let (Some(number), Some(slot)) = (number, slot) {
            let (low, high) = distribution.range();
            if ![low, high].into_iter().all(|value| self.agrees(number, slot, value)) {
                input.number = None;
            }
        }
        self.inputs.push(input);
    }

    fn agrees(&self, number: Number, slot: usize, value: f64) -> bool {
        let mut moved = self.kernel.clone();
        number.set(&mut moved, value);
        let mut values = vec![None; self.product.uncertain.slots.len()];
        if let Some(at) = values.get_mut(slot) {
            *at = Some(value);
        }
        let Ok(product) = self.product.uncertain.product_at(&values) else { return false };
        let Some(product) = self.world.staged(product) else { return false };
        let bills = self.world.bills(&product, &Factors::NONE);
        moved.options.iter().all(|option| {
            let exact = bills.iter().find(|(id, _)| *id == option.id).map(|(_, bill)| bill);
            match (exact, option.cost(&moved, moved.requests, &Factors::NONE)) {
                (Some(Ok(bill)), Some(cost)) => {
                    let usd = bill.usd.to_f64();
                    (usd - cost.usd).abs() <= 1e-9 * usd.abs().max(1e-9)
                        && (bill.successes - cost.successes).abs() <= 1e-9 * bill.successes.abs()
                }
                (Some(Err(_)), None) => true,
                _ => false,
            }
        })
    }

    /// The kernel's number behind a path of the product file.
    fn number(&self, path: &str) -> Option<Number> {
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
            "success.probability"
                if self.product.fleet.success_probability.is_none()
                    && self.product.apis.iter().all(|api| api.success_probability.is_some()) =>
            {
                Some(Number::Success)
            }
            "fleet.success_probability" => Some(Number::Success),
            "success.value_usd_per_success" => Some(Number::SuccessValue),
            "fleet.usd_per_hour" => Some(Number::MachinePrice),
            "measured.capacity" => Some(Number::Capacity),
            _ => None,
        }
    }

    /// Whether the plan is one of fewer draws than its product asks for.
    pub(crate) fn is_draft(&self) -> bool {
        self.product.most_draws.is_some()
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
            let mut slots = vec![None; self.product.uncertain.slots.len()];
            for (input, value) in self.inputs.iter().zip(values) {
                if let Some(at) = input.slot.and_then(|slot| slots.get_mut(slot)) {
                    *at = *value;
                }
            }
            let product = self.product.uncertain.product_at(&slots).ok()?;
            compile(self.world, &self.world.staged(product)?).0
        } else {
            self.kernel.clone()
        };
        for (input, value) in self.inputs.iter().zip(values) {
            if let (Some(number), Some(value)) = (input.number, value) {
                number.set(&mut kernel, *value);
            }
        }
        Some(kernel)
    }

    /// Inputs worth asking "where does it flip?" that the file types as plain numbers: name, number, present value.
    pub(crate) fn plain(&self) -> Vec<(String, Number, f64)> {
        let success = self.product.own_success().get();
        let success_path = match self.product.fleet.success_probability {
            Some(_) => "fleet.success_probability",
            None => "success.probability (self-hosted)",
        };
        let mut all = vec![
            ("traffic.requests_per_month".to_owned(), Number::Requests, self.kernel.requests),
            (success_path.to_owned(), Number::Success, success),
            ("success.retries_per_request".to_owned(), Number::Retries, self.kernel.retries),
            ("API prices, times".to_owned(), Number::ApiPrice, 1.0),
        ];
        for option in &self.kernel.options {
            match &option.calls {
                Calls::Hourly { usd_per_hour, fleet, .. } => {
                    all.push(("fleet.usd_per_hour".to_owned(), Number::MachinePrice, *usd_per_hour));
                    all.push(("measured.capacity".to_owned(), Number::Capacity, fleet.capacity));
                }
                Calls::Owned { fleet, .. } => {
                    all.push(("measured.capacity".to_owned(), Number::Capacity, fleet.capacity));
                }
                Calls::Tokens { .. } | Calls::Units { .. } => {}
            }
        }
        all.retain(|(path, _, now)| *now > 0.0 && self.inputs.iter().all(|input| input.path != *path));
        all
    }
}

impl Number {
    /// Sets it.
    pub(crate) fn set(self, kernel: &mut Kernel, value: f64) {
        match self {
            Self::Requests => kernel.requests = value,
            Self::Retries => kernel.retries = value,
            Self::Burst => kernel.burst = value / kernel.typed_burst,
            Self::Success => each(kernel, |option| {
                if option.api.is_none() {
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
                if let Calls::Hourly { usd_per_hour, .. } = &mut option.calls {
                    *usd_per_hour = value;
                }
            }),
            Self::Capacity => each(kernel, |option| {
                if let Calls::Hourly { fleet, .. } | Calls::Owned { fleet, .. } = &mut option.calls {
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

/// All options that can be had and follow a closed formula, and why others do not.
fn compile(world: &World<'_>, product: &Product) -> (Kernel, Vec<String>) {
    world.with_models(product, |models| {
        let mut left_out = Vec::new();
        let mut options = Vec::new();
        for (index, (id, model)) in models.iter().enumerate() {
            // Ours comes first, then the file's APIs in its order.
            let api = index.checked_sub(1);
            match model.as_ref().map(|model| OptionKernel::compile(id, model, api)) {
                Ok(Some(option)) => options.push(option),
                Ok(None) => left_out.push(format!("{id}: its cost follows no closed formula here")),
                Err(_) => {}
            }
        }
        let kernel = Kernel {
            requests: product.traffic.requests_per_month.get(),
            retries: product.success.retries_per_request.get(),
            burst: 1.0,
            typed_burst: product.traffic.burst_factor.get(),
            api_price: 1.0,
            options,
        };
        (kernel, left_out)
    })
}
