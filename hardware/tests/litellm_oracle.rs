//! Our API bill against LiteLLM's own cost function, on its recorded answers (`scripts/oracles/litellm_costs.py`).

use std::collections::BTreeMap;

use breakeven_hardware::import::{ImportFormat, ImportSource, import};
use breakeven_hardware::{
    ApiPrice, AsOf, Dimension, PriceBook, Service, Usage, Usd, UsdPerMillionTokens, api_cost,
};
use rust_decimal::Decimal;
use serde::Deserialize;

#[derive(Deserialize)]
struct Recorded {
    pairs: Vec<Pair>,
}

#[derive(Debug, Deserialize)]
struct Pair {
    key: String,
    provider: String,
    uncached_input_tokens: u64,
    cached_read_tokens: u64,
    cache_write_tokens: u64,
    cache_write_1h_tokens: u64,
    output_tokens: u64,
    reasoning_tokens: u64,
    service: Service,
    litellm_input_usd: f64,
    litellm_output_usd: f64,
}

fn book() -> PriceBook {
    let source = ImportSource { file: "litellm_prices.json", as_of: AsOf::Undated, provider: None };
    let bytes = include_bytes!("fixtures/litellm_prices.json");
    import(ImportFormat::Litellm, &source, bytes).expect("the fixture is a valid price map").book
}

/// Why LiteLLM's answer may differ from ours. Each is checked: undoing the one difference must give its figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Difference {
    /// `fireworks_ai` has a cost function of its own that takes no class of service, so priority requests are billed at
    /// ordinary rates; and it assumes that cached tokens cost half the input price where the map prices none.
    Fireworks,
    /// `perplexity` has a cost function of its own that bills cached tokens and cache writes as ordinary input.
    Perplexity,
    /// `off_peak_pricing`: LiteLLM looks at the clock, and the recording fell into the cheap hours. We bill the dear ones.
    OffPeak,
}

fn usd_per_token(entry: &serde_json::Value, key: &str) -> Option<UsdPerMillionTokens> {
    Usd::from_f64(entry.get(key)?.as_f64()? * 1e6).map(UsdPerMillionTokens)
}

/// The bill as LiteLLM would have it, where a known difference applies.
fn as_litellm(price: &ApiPrice, usage: &Usage, entry: &serde_json::Value) -> Option<(Difference, f64)> {
    let (mut price, mut usage) = (price.clone(), *usage);
    let difference = match price.provider.as_str() {
        "fireworks_ai" => {
            usage.service = Service::Standard;
            let base = &mut price.services.get_mut(&Service::Standard)?.base;
            base.cached_read = base
                .cached_read
                .or(base.input.map(|input| UsdPerMillionTokens(input.0.times(Decimal::new(5, 1)))));
            Difference::Fireworks
        }
        "perplexity" => {
            usage = Usage { uncached_input_tokens: usage.prompt_tokens(), cached_read_tokens: 0, ..usage };
            (usage.cache_write_tokens, usage.cache_write_1h_tokens) = (0, 0);
            Difference::Perplexity
        }
        _ => {
            let off_peak = entry.get("off_peak_pricing")?;
            let base = &mut price.services.get_mut(&Service::Standard)?.base;
            base.input = usd_per_token(off_peak, "input_cost_per_token");
            base.output = usd_per_token(off_peak, "output_cost_per_token");
            base.cached_read = usd_per_token(off_peak, "cache_read_input_token_cost");
            Difference::OffPeak
        }
    };
    Some((difference, bill(&price, &usage)))
}

/// Tokens only: LiteLLM's function under test leaves the fee of a request to another.
fn bill(price: &ApiPrice, usage: &Usage) -> f64 {
    let cost = api_cost(price, usage);
    assert!(!cost.is_incomplete(), "{}: {:?}", price.key(), cost.notes);
    (cost.usd - cost.dimension(Dimension::Requests)).to_f64()
}

fn same(ours: f64, theirs: f64) -> bool {
    (ours - theirs).abs() <= 1e-9 * theirs.abs()
}

#[test]
fn four_hundred_bills_equal_litellms() {
    let recorded: Recorded = serde_json::from_str(include_str!("fixtures/litellm_costs.json")).unwrap();
    let entries: serde_json::Value =
        serde_json::from_str(include_str!("fixtures/litellm_prices.json")).unwrap();
    let book = book();
    let (mut equal, mut explained) = (0, BTreeMap::<Difference, u32>::new());
    for pair in &recorded.pairs {
        let price = book
            .find_api(&pair.provider, &pair.key)
            .unwrap_or_else(|| panic!("{} was not imported", pair.key));
        let usage = Usage {
            requests: 1,
            uncached_input_tokens: pair.uncached_input_tokens,
            cached_read_tokens: pair.cached_read_tokens,
            cache_write_tokens: pair.cache_write_tokens,
            cache_write_1h_tokens: pair.cache_write_1h_tokens,
            output_tokens: pair.output_tokens,
            reasoning_tokens: pair.reasoning_tokens,
            tool_calls: 0,
            service: pair.service,
        };
        let (ours, theirs) = (bill(price, &usage), pair.litellm_input_usd + pair.litellm_output_usd);
        if same(ours, theirs) {
            equal += 1;
            continue;
        }
        match as_litellm(price, &usage, &entries[&pair.key]) {
            Some((difference, ours)) if same(ours, theirs) => *explained.entry(difference).or_default() += 1,
            other => panic!("ours {ours}, theirs {theirs}, explained as {other:?}: {pair:?}"),
        }
    }
    assert_eq!(equal, 390);
    let list = [(Difference::Fireworks, 7), (Difference::Perplexity, 2), (Difference::OffPeak, 1)];
    assert_eq!(explained, BTreeMap::from(list));
}
