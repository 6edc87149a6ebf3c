//! What a managed API charges less for: prompts whose beginning its cache still holds, and requests that can wait for a batch.
//!
//! Prices are those of the model's own row. A row without a price of cached prompt tokens, or without a batch price, gives no discount:
//! the option is refused with the row's place, which `breakeven levers` shows beside the lever.

use breakeven_hardware::{ApiPrice, Service};

use crate::{product::ApiChoice, workflow::load::Load};

/// Discounts that are asked for, and that the price row has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Discounts {
    /// Share of requests whose shared prefix the cache holds; the others write it. `None` where caching is not asked for.
    hits: Option<f64>,
    /// Shortest prefix that is cached, in the API's tokens.
    least_tokens: f64,
    /// Share of requests that are sent as batches.
    batch: f64,
}

impl Discounts {
    /// None asked for.
    pub(crate) const NONE: Self = Self { hits: None, least_tokens: 0.0, batch: 0.0 };

    /// What is asked for.
    ///
    /// # Errors
    /// What the row has no price for, and caching of prompts that share nothing long enough.
    pub(crate) fn of(choice: &ApiChoice, price: &ApiPrice, load: &Load) -> Result<Self, String> {
        let asked = Self {
            hits: choice.prompt_cache.as_ref().map(|table| table.hit_share.get()),
            least_tokens: choice.prompt_cache.as_ref().map_or(0.0, |table| f64::from(table.least_tokens)),
            batch: choice.batch_share.map_or(0.0, breakeven_measurement::Fraction::get),
        };
        if !asked.any() {
            return Ok(Self::NONE);
        }
        let place = format!("{}:{}", price.origin.file, price.origin.line);
        if choice.provisioned.is_some() {
            return Err(
                "api.provisioned replaces the prices of tokens; leave api.prompt_cache and api.batch_share out".to_owned(),
            );
        }
        if asked.batch > 0.0 && !price.services.contains_key(&Service::Batch) {
            return Err(format!(
                "its price row ({place}) has no batch price; add a row of service batch to the sheet, or leave api.batch_share out"
            ));
        }
        if asked.hits.is_none() {
            return Ok(asked);
        }
        if price.standard().cached_read.is_none() {
            return Err(format!(
                "its price row ({place}) has no price of cached prompt tokens; add one to the sheet, or leave api.prompt_cache out"
            ));
        }
        let ratio = choice.tokens_ratio.map_or(1.0, crate::product::Positive::get);
        let longest = load.first.iter().map(|length| length.prefix() * ratio).fold(0.0, f64::max);
        if longest < asked.least_tokens.max(f64::MIN_POSITIVE) {
            return Err(format!(
                "api.prompt_cache caches nothing: the longest shared prefix of a segment is {longest:.0} tokens, expected {} or more; set \
                 segment.shared_prefix, or api.prompt_cache.least_tokens where the provider caches shorter ones",
                asked.least_tokens.max(1.0)
            ));
        }
        Ok(asked)
    }

    /// Whether the bill is another than that of full prices.
    pub(crate) fn any(&self) -> bool {
        self.hits.is_some() || self.batch > 0.0
    }

    /// The same without batches: what overflows at a peak cannot wait.
    pub(crate) fn without_batches(self) -> Self {
        Self { batch: 0.0, ..self }
    }

    /// Tokens of a prompt that are read from the cache and written to it, by the prefix that it shares, in the API's tokens.
    pub(crate) fn cached(&self, prefix: f64) -> (f64, f64) {
        match self.hits {
            Some(hits) if prefix > 0.0 && prefix >= self.least_tokens => {
                (prefix * hits, prefix * (1.0 - hits))
            }
            _ => (0.0, 0.0),
        }
    }

    /// Classes of service, each with its share of requests.
    pub(crate) fn services(self) -> impl Iterator<Item = (Service, f64)> {
        let all = [(Service::Standard, 1.0 - self.batch), (Service::Batch, self.batch)];
        all.into_iter().filter(|(_, share)| *share > 0.0)
    }

    /// Share of requests whose prefix is found, and share that is sent as batches, for a reader.
    pub(crate) fn asked(&self) -> (Option<f64>, Option<f64>) {
        (self.hits, (self.batch > 0.0).then_some(self.batch))
    }
}
