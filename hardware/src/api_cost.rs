//! What a managed API bills for a usage: one line a dimension, exact, summing to the total.

use serde::{Deserialize, Serialize};

use crate::money::{Usd, UsdPerMillionTokens};
use crate::sheet::{ApiPrice, Service};

/// Tokens of one or more requests of the same length.
///
/// The prompt is `uncached_input_tokens` + `cached_read_tokens` + both kinds of cache write; no token is in two of them. The
/// tier is decided by the mean prompt of a request, so requests of different lengths belong in usages of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Requests; the token counts are the sums over them. 0 counts as 1.
    pub requests: u64,
    /// Prompt tokens that no cache had.
    pub uncached_input_tokens: u64,
    /// Prompt tokens read from the provider's cache.
    pub cached_read_tokens: u64,
    /// Prompt tokens written to the cache, for its shortest keeping time.
    pub cache_write_tokens: u64,
    /// Prompt tokens written to the cache for an hour.
    pub cache_write_1h_tokens: u64,
    /// Answer tokens, without reasoning.
    pub output_tokens: u64,
    /// Reasoning tokens.
    pub reasoning_tokens: u64,
    /// Calls of the provider's built-in tools.
    pub tool_calls: u64,
    /// Class of service.
    pub service: Service,
}

impl Usage {
    /// Prompt tokens over all requests.
    pub fn prompt_tokens(&self) -> u64 {
        self.uncached_input_tokens
            .saturating_add(self.cached_read_tokens)
            .saturating_add(self.cache_write_tokens)
            .saturating_add(self.cache_write_1h_tokens)
    }

    /// Prompt tokens of one request, rounded up: what tiers are decided by.
    pub fn prompt_tokens_per_request(&self) -> u64 {
        self.prompt_tokens().div_ceil(self.requests.max(1))
    }
}

/// What a line of an API bill is for, in the order of the bill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    /// Prompt tokens that no cache had.
    UncachedInput,
    /// Prompt tokens read from the cache.
    CachedRead,
    /// Prompt tokens written to the cache for its shortest keeping time.
    CacheWrite,
    /// Prompt tokens written to the cache for an hour.
    CacheWrite1h,
    /// Answer tokens.
    Output,
    /// Reasoning tokens.
    Reasoning,
    /// Fee of each request.
    Requests,
    /// Fee of each tool call.
    ToolCalls,
}

impl Dimension {
    /// Name for a reader.
    pub fn name(self) -> &'static str {
        match self {
            Self::UncachedInput => "uncached input tokens",
            Self::CachedRead => "cached input tokens",
            Self::CacheWrite => "cache write tokens",
            Self::CacheWrite1h => "cache write tokens (1 h)",
            Self::Output => "output tokens",
            Self::Reasoning => "reasoning tokens",
            Self::Requests => "requests",
            Self::ToolCalls => "tool calls",
        }
    }
}

/// One line of an API bill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiCostLine {
    /// What for.
    pub dimension: Dimension,
    /// How many tokens, requests or calls.
    pub quantity: u64,
    /// Price of a million tokens; `None` on lines that are not about tokens.
    pub usd_per_million_tokens: Option<UsdPerMillionTokens>,
    /// The amount.
    pub usd: Usd,
}

/// Something a reader of the bill should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "note")]
pub enum ApiCostNote {
    /// The provider prices no such dimension; its tokens are billed as ordinary ones.
    BilledAs {
        /// What was used.
        dimension: Dimension,
        /// At whose price.
        priced_as: Dimension,
    },
    /// The provider sells no such class of service; ordinary prices hold.
    ServiceNotOffered {
        /// What was asked for.
        service: Service,
    },
    /// The sheet has no price at all for something used: the bill is too low by it.
    NotPriced {
        /// What was used.
        dimension: Dimension,
    },
    /// The prompt is longer than the model takes.
    PromptTooLong {
        /// Prompt tokens of one request.
        prompt_tokens: u64,
        /// The most the model takes.
        max_input_tokens: u64,
    },
}

/// What a usage costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiCost {
    /// The lines that are not zero, in bill order.
    pub lines: Vec<ApiCostLine>,
    /// Their sum.
    pub usd: Usd,
    /// The prompt-length threshold whose rates hold for all tokens; `None` below every tier.
    pub tier_above_input_tokens: Option<u64>,
    /// What a reader should know.
    pub notes: Vec<ApiCostNote>,
}

impl ApiCost {
    /// Whether something used has no price, so that the total is too low.
    pub fn is_incomplete(&self) -> bool {
        self.notes.iter().any(|note| matches!(note, ApiCostNote::NotPriced { .. }))
    }

    /// The amount of one dimension.
    pub fn dimension(&self, dimension: Dimension) -> Usd {
        self.lines.iter().filter(|line| line.dimension == dimension).map(|line| line.usd).sum()
    }
}

/// Prices a usage.
///
/// Rules, as LiteLLM's cost function has them (the recorded oracle in `tests/`): cached tokens without a price of their own
/// are billed as uncached input, one-hour cache writes as cache writes, reasoning as output; crossing a prompt-length
/// threshold re-prices all tokens of the request.
pub fn api_cost(price: &ApiPrice, usage: &Usage) -> ApiCost {
    let (rates, tier) = price.rates(usage.service, usage.prompt_tokens_per_request());
    let mut bill = Bill { lines: Vec::new(), notes: Vec::new() };
    if !price.services.contains_key(&usage.service) {
        bill.notes.push(ApiCostNote::ServiceNotOffered { service: usage.service });
    }
    let prompt_tokens = usage.prompt_tokens_per_request();
    if let Some(max_input_tokens) = price.max_input_tokens.filter(|max| prompt_tokens > *max) {
        bill.notes.push(ApiCostNote::PromptTooLong { prompt_tokens, max_input_tokens });
    }
    let input = (Dimension::UncachedInput, rates.input);
    let cache_write = (Dimension::CacheWrite, rates.cache_write);
    let output = (Dimension::Output, rates.output);
    bill.tokens(usage.uncached_input_tokens, &[input]);
    bill.tokens(usage.cached_read_tokens, &[(Dimension::CachedRead, rates.cached_read), input]);
    bill.tokens(usage.cache_write_tokens, &[cache_write, input]);
    bill.tokens(
        usage.cache_write_1h_tokens,
        &[(Dimension::CacheWrite1h, rates.cache_write_1h), cache_write, input],
    );
    bill.tokens(usage.output_tokens, &[output]);
    bill.tokens(usage.reasoning_tokens, &[(Dimension::Reasoning, rates.reasoning), output]);
    bill.fee(Dimension::Requests, usage.requests.max(1), price.usd_per_request);
    bill.fee(Dimension::ToolCalls, usage.tool_calls, price.usd_per_tool_call);
    if usage.tool_calls > 0 && price.usd_per_tool_call.is_none() {
        bill.notes.push(ApiCostNote::NotPriced { dimension: Dimension::ToolCalls });
    }
    let usd = bill.lines.iter().map(|line| line.usd).sum();
    ApiCost { lines: bill.lines, usd, tier_above_input_tokens: tier, notes: bill.notes }
}

struct Bill {
    lines: Vec<ApiCostLine>,
    notes: Vec<ApiCostNote>,
}

impl Bill {
    /// Bills tokens at the first price there is; `prices` begins with the tokens' own dimension.
    fn tokens(&mut self, quantity: u64, prices: &[(Dimension, Option<UsdPerMillionTokens>)]) {
        let Some(&(dimension, _)) = prices.first().filter(|_| quantity > 0) else { return };
        match prices.iter().find_map(|(priced_as, price)| Some((*priced_as, (*price)?))) {
            None => self.notes.push(ApiCostNote::NotPriced { dimension }),
            Some((priced_as, price)) => {
                if priced_as != dimension && priced_as != Dimension::Output {
                    self.notes.push(ApiCostNote::BilledAs { dimension, priced_as });
                }
                let usd_per_million_tokens = Some(price);
                self.lines.push(ApiCostLine {
                    dimension,
                    quantity,
                    usd_per_million_tokens,
                    usd: price.for_tokens(quantity),
                });
            }
        }
    }

    fn fee(&mut self, dimension: Dimension, quantity: u64, price: Option<Usd>) {
        if let Some(price) = price.filter(|price| quantity > 0 && *price > Usd::ZERO) {
            let usd = price.times(quantity.into());
            self.lines.push(ApiCostLine { dimension, quantity, usd_per_million_tokens: None, usd });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sheet::PriceBook;
    use proptest::prelude::*;

    const SHEET: &str = "\
provider,model,service,above_input_tokens,currency,input_per_million_tokens,output_per_million_tokens,cached_read_per_million_tokens,cache_write_per_million_tokens,price_per_request,max_input_tokens,date
acme,big,standard,,USD,2,10,0.2,2.5,0.01,1000000,2026-11-01
acme,big,standard,200000,USD,4,15,,,,,2026-11-01
acme,big,batch,,USD,1,5,,,,,2026-11-01
acme,plain,standard,,USD,1,2,,,,,2026-11-01
";

    fn price(model: &str) -> ApiPrice {
        PriceBook::parse("t.csv", SHEET.as_bytes()).unwrap().find_api("acme", model).unwrap().clone()
    }

    fn usd(text: &str) -> Usd {
        Usd(text.parse().unwrap())
    }

    #[test]
    fn every_dimension_has_its_line() {
        let usage = Usage {
            requests: 2,
            uncached_input_tokens: 1_000_000 / 10,
            cached_read_tokens: 100_000,
            cache_write_tokens: 100_000,
            output_tokens: 10_000,
            reasoning_tokens: 20_000,
            ..Usage::default()
        };
        let cost = api_cost(&price("big"), &usage);
        assert_eq!(cost.dimension(Dimension::UncachedInput), usd("0.2"));
        assert_eq!(cost.dimension(Dimension::CachedRead), usd("0.02"));
        assert_eq!(cost.dimension(Dimension::CacheWrite), usd("0.25"));
        assert_eq!(cost.dimension(Dimension::Output), usd("0.1"));
        assert_eq!(cost.dimension(Dimension::Reasoning), usd("0.2"));
        assert_eq!(cost.dimension(Dimension::Requests), usd("0.02"));
        assert_eq!(cost.usd, usd("0.79"));
        assert_eq!(cost.tier_above_input_tokens, None);
    }

    #[test]
    fn a_tier_is_a_cliff() {
        let at = |tokens| {
            let usage = Usage {
                requests: 1,
                uncached_input_tokens: tokens,
                output_tokens: 1_000_000,
                ..Usage::default()
            };
            api_cost(&price("big"), &usage)
        };
        assert_eq!(at(200_000).usd, usd("10.41"));
        let above = at(200_001);
        assert_eq!(above.usd, usd("15.810004"), "all tokens at the higher rates, not only those above");
        assert_eq!(above.tier_above_input_tokens, Some(200_000));
    }

    #[test]
    fn a_cheaper_class_keeps_ordinary_rates_where_it_is_silent() {
        let usage = Usage {
            cached_read_tokens: 1_000_000 / 10,
            output_tokens: 1_000_000,
            service: Service::Batch,
            ..Usage::default()
        };
        let cost = api_cost(&price("big"), &usage);
        assert_eq!(cost.dimension(Dimension::Output), usd("5"));
        assert_eq!(cost.dimension(Dimension::CachedRead), usd("0.1"), "as batch input");
        let cost = api_cost(&price("plain"), &usage);
        assert_eq!(cost.dimension(Dimension::Output), usd("2"));
        assert!(cost.notes.contains(&ApiCostNote::ServiceNotOffered { service: Service::Batch }));
        let billed_as =
            ApiCostNote::BilledAs { dimension: Dimension::CachedRead, priced_as: Dimension::UncachedInput };
        assert!(cost.notes.contains(&billed_as), "{:?}", cost.notes);
    }

    #[test]
    fn what_has_no_price_is_said() {
        let usage = Usage { tool_calls: 3, ..Usage::default() };
        assert!(api_cost(&price("plain"), &usage).is_incomplete());
        let usage = Usage { uncached_input_tokens: 1_000_001, ..Usage::default() };
        let notes = api_cost(&price("big"), &usage).notes;
        assert_eq!(
            notes,
            [ApiCostNote::PromptTooLong { prompt_tokens: 1_000_001, max_input_tokens: 1_000_000 }]
        );
    }

    proptest! {
        #[test]
        fn lines_sum_to_the_total_and_nothing_panics(counts in prop::array::uniform8(any::<u64>())) {
            let [requests, a, b, c, d, e, f, tool_calls] = counts;
            let usage = Usage {
                requests, uncached_input_tokens: a, cached_read_tokens: b, cache_write_tokens: c,
                cache_write_1h_tokens: d, output_tokens: e, reasoning_tokens: f, tool_calls, service: Service::Flex,
            };
            let cost = api_cost(&price("big"), &usage);
            prop_assert_eq!(cost.usd, cost.lines.iter().map(|line| line.usd).sum());
        }

        #[test]
        fn n_equal_requests_cost_n_times_one(n in 1_u64..1_000, input in 0_u64..300_000, output in 0_u64..100_000) {
            let one = Usage { requests: 1, uncached_input_tokens: input, output_tokens: output, ..Usage::default() };
            let all = Usage { requests: n, uncached_input_tokens: n * input, output_tokens: n * output, ..one };
            prop_assert_eq!(api_cost(&price("big"), &all).usd, api_cost(&price("big"), &one).usd.times(n.into()));
        }
    }
}
