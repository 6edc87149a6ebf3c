//! Prices of managed APIs: dollars a million tokens by kind of token, by prompt-length tier and by class of service.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::currency::{Conversion, Rates as CurrencyRates};
use super::date::Freshness;
use super::error::SheetError;
use super::origin::Origin;
use super::row::Row;
use super::table::Columns;
use crate::money::{Usd, UsdPerMillionTokens};

/// Columns of an API price sheet. Every price names its unit.
pub(crate) const API_COLUMNS: Columns = Columns {
    required: &[
        "provider",
        "model",
        "currency",
        "input_per_million_tokens",
        "output_per_million_tokens",
        "date",
    ],
    optional: Some(&[
        "service",
        "above_input_tokens",
        "reasoning_per_million_tokens",
        "cached_read_per_million_tokens",
        "cache_write_per_million_tokens",
        "cache_write_1h_per_million_tokens",
        "price_per_request",
        "price_per_tool_call",
        "max_input_tokens",
        "max_output_tokens",
        "deprecated_on",
        "source_url",
        "dataset",
        "usd_per_unit",
        "rate_date",
    ]),
};

/// Class of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    /// Answered at once.
    #[default]
    Standard,
    /// Answered within a day, at a discount.
    Batch,
    /// Answered when there is room, at a discount.
    Flex,
    /// Answered before others, at a premium.
    Priority,
}

impl Service {
    /// Every class.
    pub const ALL: [Self; 4] = [Self::Standard, Self::Batch, Self::Flex, Self::Priority];

    /// The name in sheets.
    pub fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Batch => "batch",
            Self::Flex => "flex",
            Self::Priority => "priority",
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Text that names no class of service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a class of service, expected one of: standard, batch, flex, priority")]
pub struct UnknownService(String);

impl FromStr for Service {
    type Err = UnknownService;

    fn from_str(text: &str) -> Result<Self, UnknownService> {
        Self::ALL
            .into_iter()
            .find(|service| service.name() == text)
            .ok_or_else(|| UnknownService(text.to_owned()))
    }
}

/// Dollars a million tokens, by kind of token. What the provider does not price is `None`, which is not free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TokenRates {
    /// Prompt tokens that no cache had.
    pub input: Option<UsdPerMillionTokens>,
    /// Answer tokens.
    pub output: Option<UsdPerMillionTokens>,
    /// Reasoning tokens, where priced apart from the answer.
    pub reasoning: Option<UsdPerMillionTokens>,
    /// Prompt tokens read from the provider's cache.
    pub cached_read: Option<UsdPerMillionTokens>,
    /// Prompt tokens written to the cache, for its shortest keeping time.
    pub cache_write: Option<UsdPerMillionTokens>,
    /// Prompt tokens written to the cache for an hour.
    pub cache_write_1h: Option<UsdPerMillionTokens>,
}

impl TokenRates {
    /// These rates, and where they are silent, `other`'s.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            input: self.input.or(other.input),
            output: self.output.or(other.output),
            reasoning: self.reasoning.or(other.reasoning),
            cached_read: self.cached_read.or(other.cached_read),
            cache_write: self.cache_write.or(other.cache_write),
            cache_write_1h: self.cache_write_1h.or(other.cache_write_1h),
        }
    }

    /// Whether nothing is priced.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Rates that hold for all tokens of a request whose prompt is longer than a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tier {
    /// The tier begins one prompt token above this.
    pub above_input_tokens: u64,
    /// What changes; silent kinds keep the rate below.
    pub rates: TokenRates,
}

/// The rates of one class of service.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Schedule {
    /// From the first token.
    pub base: TokenRates,
    /// By rising threshold.
    pub tiers: Vec<Tier>,
}

/// What a managed API charges for one model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApiPrice {
    /// Who runs it.
    pub provider: String,
    /// The model as the provider names it.
    pub model: String,
    /// Rates by class of service; `Standard` is always there.
    pub services: BTreeMap<Service, Schedule>,
    /// Fee of every request.
    pub usd_per_request: Option<Usd>,
    /// Fee of every call of a built-in tool, such as web search.
    pub usd_per_tool_call: Option<Usd>,
    /// Longest prompt.
    pub max_input_tokens: Option<u64>,
    /// Longest answer.
    pub max_output_tokens: Option<u64>,
    /// Day from which the provider withdraws the model.
    pub deprecated_on: Option<Date>,
    /// How the prices came to be in dollars, where they were not.
    pub converted: Option<Conversion>,
    /// Who says so.
    pub origin: Origin,
}

impl ApiPrice {
    /// The rates of ordinary service below every tier.
    pub fn standard(&self) -> TokenRates {
        self.services.get(&Service::Standard).map(|schedule| schedule.base).unwrap_or_default()
    }

    /// The rates for a class of service and a prompt length, and the threshold that was crossed.
    ///
    /// A tier is a cliff: past its threshold all tokens of the request take its rates. Where flex or priority service is
    /// silent, ordinary service's rate holds. A batch price list is complete: where it is silent on cached tokens they are
    /// batch input, and ordinary service's tiers do not raise its prices.
    pub fn rates(&self, service: Service, prompt_tokens: u64) -> (TokenRates, Option<u64>) {
        let silent = Schedule::default();
        let standard = self.services.get(&Service::Standard).unwrap_or(&silent);
        let own = self.services.get(&service).unwrap_or(standard);
        let own_batch = service == Service::Batch && self.services.contains_key(&service);
        let (mut rates, fallback) = if own_batch {
            let TokenRates { input, output, .. } = standard.base;
            (own.base.or(TokenRates { input, output, ..TokenRates::default() }), &silent)
        } else {
            (own.base.or(standard.base), standard)
        };
        // A class of service that prices answers but not reasoning bills reasoning as answers, not at ordinary service's rate.
        if own.base.reasoning.is_none() && own.base.output.is_some() {
            rates.reasoning = None;
        }
        let mut crossed: Vec<u64> = own
            .tiers
            .iter()
            .chain(&fallback.tiers)
            .map(|tier| tier.above_input_tokens)
            .filter(|threshold| prompt_tokens > *threshold)
            .collect();
        crossed.sort_unstable();
        crossed.dedup();
        for threshold in &crossed {
            let at = |schedule: &Schedule| {
                schedule
                    .tiers
                    .iter()
                    .find(|tier| tier.above_input_tokens == *threshold)
                    .map(|tier| tier.rates)
            };
            rates = at(own).unwrap_or_default().or(at(fallback).unwrap_or_default()).or(rates);
        }
        (rates, crossed.last().copied())
    }

    /// Whether the price is recent on a given day.
    pub fn freshness(&self, today: Date) -> Freshness {
        self.origin.as_of.freshness(today)
    }

    /// Whether the provider has withdrawn the model by a given day.
    pub fn is_withdrawn(&self, today: Date) -> bool {
        self.deprecated_on.is_some_and(|day| day <= today)
    }

    /// `provider/model`, the name of this price.
    pub fn key(&self) -> String {
        format!("{}/{}", self.provider, self.model)
    }
}

/// One row of an API sheet: one schedule step of one model. Rows of a model add up to its `ApiPrice`.
#[derive(Debug)]
struct ApiRow {
    price: ApiPrice,
    service: Service,
    above_input_tokens: u64,
    rates: TokenRates,
}

impl ApiRow {
    fn from_row(row: &Row<'_>, currencies: &CurrencyRates) -> Result<Self, SheetError> {
        let converted = currencies.conversion(row)?;
        let usd = |column: &str| -> Result<Option<Usd>, SheetError> {
            Ok(row.price(column)?.map(|amount| Conversion::apply(converted.as_ref(), amount)))
        };
        let rate = |column: &str| -> Result<Option<UsdPerMillionTokens>, SheetError> {
            Ok(usd(column)?.map(UsdPerMillionTokens))
        };
        let rates = TokenRates {
            input: rate("input_per_million_tokens")?,
            output: rate("output_per_million_tokens")?,
            reasoning: rate("reasoning_per_million_tokens")?,
            cached_read: rate("cached_read_per_million_tokens")?,
            cache_write: rate("cache_write_per_million_tokens")?,
            cache_write_1h: rate("cache_write_1h_per_million_tokens")?,
        };
        let (usd_per_request, usd_per_tool_call) = (usd("price_per_request")?, usd("price_per_tool_call")?);
        if rates.is_empty() && usd_per_request.is_none() {
            return Err(row.missing("input_per_million_tokens", "at least one price in the row"));
        }
        let services = "a class of service: standard, batch, flex or priority";
        Ok(Self {
            service: row.parsed("service", services, |text| text.parse().ok())?.unwrap_or_default(),
            above_input_tokens: row.count("above_input_tokens")?.unwrap_or(0),
            rates,
            price: ApiPrice {
                provider: row.required("provider", "a name")?.to_owned(),
                model: row.required("model", "a name")?.to_owned(),
                services: BTreeMap::new(),
                usd_per_request,
                usd_per_tool_call,
                max_input_tokens: row.count("max_input_tokens")?,
                max_output_tokens: row.count("max_output_tokens")?,
                deprecated_on: row.day("deprecated_on")?,
                converted,
                origin: Origin::from_row(row)?,
            },
        })
    }
}

/// Gathers rows into prices, refusing a step that is priced twice or a model without ordinary service.
#[derive(Debug, Default)]
pub(crate) struct ApiRows {
    prices: BTreeMap<(String, String), ApiPrice>,
    lines: BTreeMap<(String, String, Service, u64), u64>,
}

impl ApiRows {
    /// Adds a row.
    pub(crate) fn add(&mut self, row: &Row<'_>, currencies: &CurrencyRates) -> Result<(), SheetError> {
        let ApiRow { price, service, above_input_tokens, rates } = ApiRow::from_row(row, currencies)?;
        let model = (price.provider.clone(), price.model.clone());
        let step = (model.0.clone(), model.1.clone(), service, above_input_tokens);
        if let Some(first_line) = self.lines.insert(step, row.line) {
            return Err(SheetError::Duplicate {
                file: row.file.to_owned(),
                line: row.line,
                key: format!("{} {service} above {above_input_tokens} tokens", price.key()),
                first_line,
            });
        }
        let whole = service == Service::Standard && above_input_tokens == 0;
        let gathered = self.prices.entry(model).or_insert_with(|| price.clone());
        if whole {
            // Facts about the model as a whole are read from its ordinary row, wherever in the file that stands.
            let services = std::mem::take(&mut gathered.services);
            *gathered = ApiPrice { services, ..price };
        }
        let schedule = gathered.services.entry(service).or_default();
        if above_input_tokens == 0 {
            schedule.base = rates;
        } else {
            schedule.tiers.push(Tier { above_input_tokens, rates });
            schedule.tiers.sort_by_key(|tier| tier.above_input_tokens);
        }
        Ok(())
    }

    /// The prices, by provider and model.
    pub(crate) fn finish(self, file: &str) -> Result<Vec<ApiPrice>, SheetError> {
        if let Some(partial) = self.prices.values().find(|price| {
            price
                .services
                .get(&Service::Standard)
                .is_none_or(|s| s.base.is_empty() && price.usd_per_request.is_none())
        }) {
            return Err(SheetError::Missing {
                file: file.to_owned(),
                line: partial.origin.line,
                column: format!("standard service of {}", partial.key()),
                expected: "a row of service standard without a threshold for every model".to_owned(),
            });
        }
        Ok(self.prices.into_values().collect())
    }
}
