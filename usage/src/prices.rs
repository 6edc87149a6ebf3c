//! Prices of models, for calls whose log records no cost.

use breakeven_hardware::Usd;

use crate::{
    hash::Map,
    model_name::same_model,
    money::AttoUsd,
    row::{Ending, UsageRow},
};

/// Names whose price is remembered.
const REMEMBERED: usize = 10_000;

/// What one model's tokens cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelPrice {
    /// The model, as the price sheet names it.
    pub model: String,
    /// A million prompt tokens. Cached ones are billed at this too: a plan holds no price of theirs.
    pub usd_per_million_input: Usd,
    /// A million answer tokens.
    pub usd_per_million_output: Usd,
    /// Fee of a request.
    pub usd_per_request: Usd,
}

/// The prices of some models.
#[derive(Debug, Clone, Default)]
pub struct Prices(Vec<ModelPrice>);

impl Prices {
    /// These prices. Where two differ for a model, it has none: nobody says which holds.
    pub fn new(prices: Vec<ModelPrice>) -> Self {
        Self(prices)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn of(&self, model: &str) -> Option<Rates> {
        let mut found = self.0.iter().filter(|price| same_model(&price.model, model)).map(Rates::of);
        let first = found.next()??;
        found.all(|other| other == Some(first)).then_some(first)
    }
}

/// The same by token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rates {
    input: AttoUsd,
    output: AttoUsd,
    request: AttoUsd,
}

impl Rates {
    fn of(price: &ModelPrice) -> Option<Self> {
        let exact = |usd: Usd, million: u32| {
            let scale = usd.0.scale() + if million == 0 { 0 } else { 6 };
            AttoUsd::of(usd.0.mantissa(), i32::try_from(scale).ok()?)
        };
        Some(Self {
            input: exact(price.usd_per_million_input, 1)?,
            output: exact(price.usd_per_million_output, 1)?,
            request: exact(price.usd_per_request, 0)?,
        })
    }
}

/// Prices looked up once a name.
#[derive(Debug)]
pub(crate) struct Pricing<'p> {
    prices: &'p Prices,
    known: Map<Box<str>, Option<Rates>>,
}

impl<'p> Pricing<'p> {
    pub(crate) fn new(prices: &'p Prices) -> Self {
        Self { prices, known: Map::default() }
    }

    /// What a call costs; `None` where its model or its tokens are not known. A failure without tokens and an answer from the
    /// response cache cost nothing.
    pub(crate) fn cost(&mut self, row: &UsageRow<'_>) -> Option<AttoUsd> {
        if self.prices.is_empty() {
            return None;
        }
        let rates = if let Some(rates) = self.known.get(row.model?) {
            *rates
        } else {
            if self.known.len() >= REMEMBERED {
                self.known.clear();
            }
            let rates = self.prices.of(row.model?);
            self.known.insert(row.model?.into(), rates);
            rates
        };
        let rates = rates?;
        let failed = row.ending != Ending::Answered;
        if row.cache_hit || (failed && row.input_tokens.is_none() && row.output_tokens.is_none()) {
            return Some(AttoUsd::ZERO);
        }
        let (input, output) = match (row.input_tokens, row.output_tokens) {
            (Some(input), Some(output)) => (input, output),
            (Some(input), None) if failed => (input, 0),
            _ => return None,
        };
        Some(rates.input.times(input) + rates.output.times(output) + rates.request)
    }
}
