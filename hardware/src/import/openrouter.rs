//! OpenRouter's models list: `{"data": [{"id", "context_length", "pricing": {"prompt": "0.0000005", ...}}]}`, dollars a token as text.
//!
//! Source: OpenRouter's API reference, "List available models".

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::json::{Array, JsonFile, Object};
use super::{ImportReport, ImportSource, Imported};
use crate::money::{Usd, UsdPerMillionTokens};
use crate::sheet::{ApiPrice, PriceBook, Schedule, Service, SheetError, TokenRates};

const DATASET: &str = "OpenRouter models list";

pub(super) fn import(source: &ImportSource<'_>, bytes: &[u8]) -> Result<Imported, SheetError> {
    let json = JsonFile::new(source.file, bytes)?;
    let root: Object<'_> = json.root("a JSON object with a list `data`")?;
    let models: Array<'_> = match root.get("data") {
        Some(raw) => json.read(raw, "a list of models")?,
        None => return Err(SheetError::NoColumn { file: source.file.to_owned(), column: "data".to_owned() }),
    };
    let mut report = ImportReport::default();
    let mut prices = BTreeMap::new();
    for item in &models.0 {
        report.rows += 1;
        let model: Object<'_> = json.read(item, "a model")?;
        let (Some(id), Some(raw)) = (model.text("id"), model.get("pricing")) else {
            return Err(json.bad("data", item, "a model with `id` and `pricing`"));
        };
        let pricing: Object<'_> = json.read(raw, "an object of prices")?;
        // The router itself has no price of its own and says so with -1.
        if pricing.text("prompt").is_some_and(|text| text.starts_with('-')) {
            report.skip("price depends on the model it routes to");
            continue;
        }
        let fee = |key: &str| pricing.get(key).map_or(Ok(None), |raw| json.price(key, raw));
        let token = |key: &str| pricing.get(key).map_or(Ok(None), |raw| json.token_price(key, raw));
        // A cache or reasoning price of zero in this list means "not priced apart", not "free".
        let extra = |key: &str| -> Result<Option<UsdPerMillionTokens>, SheetError> {
            Ok(token(key)?.filter(|price| !price.is_zero()).map(per_million))
        };
        let base = TokenRates {
            input: token("prompt")?.map(per_million),
            output: token("completion")?.map(per_million),
            reasoning: extra("internal_reasoning")?,
            cached_read: extra("input_cache_read")?,
            cache_write: extra("input_cache_write")?,
            cache_write_1h: None,
        };
        if base.input.is_none() {
            report.skip("has no price a token");
            continue;
        }
        for (key, raw) in &pricing.0 {
            let known = [
                "prompt",
                "completion",
                "request",
                "internal_reasoning",
                "input_cache_read",
                "input_cache_write",
                "web_search",
            ];
            if !known.contains(&key.as_ref()) && !matches!(raw.get(), "\"0\"" | "0" | "null") {
                report.ignore(key.as_ref());
            }
        }
        let price = ApiPrice {
            provider: "openrouter".to_owned(),
            model: id,
            services: BTreeMap::from([(Service::Standard, Schedule { base, tiers: Vec::new() })]),
            usd_per_request: fee("request")?.filter(|fee| !fee.is_zero()).map(Usd),
            usd_per_tool_call: fee("web_search")?.filter(|fee| !fee.is_zero()).map(Usd),
            max_input_tokens: model.get("context_length").and_then(|raw| raw.get().parse().ok()),
            max_output_tokens: None,
            deprecated_on: None,
            converted: None,
            origin: source.origin(json.line(item), DATASET, Some("https://openrouter.ai/models".to_owned())),
        };
        if prices.insert(price.key(), price).is_some() {
            return Err(json.bad("id", item, "every model once"));
        }
        report.taken += 1;
    }
    let book = PriceBook { compute: Vec::new(), api: prices.into_values().collect() };
    Ok(Imported { book, report })
}

fn per_million(usd_per_token: Decimal) -> UsdPerMillionTokens {
    UsdPerMillionTokens(Usd(usd_per_token.saturating_mul(Decimal::from(1_000_000)).normalize()))
}
