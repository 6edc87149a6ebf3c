//! LiteLLM's model price map: one JSON object, one entry a model, dollars a token.
//!
//! The meaning of its keys is that of LiteLLM's own cost function, `litellm_core_utils/llm_cost_calc/utils.py` of release
//! 1.109.1, which the recorded oracle in `tests/litellm_oracle.rs` holds us to.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use rust_decimal::Decimal;
use serde_json::value::RawValue;

use super::json::{Array, JsonFile, Object};
use super::{ImportReport, ImportSource, Imported};
use crate::money::{Usd, UsdPerMillionTokens};
use crate::sheet::{ApiPrice, PriceBook, Schedule, Service, SheetError, Tier, TokenRates};

const DATASET: &str = "LiteLLM model price map (MIT)";

/// Kinds of entry that are billed by the text token.
const MODES: [&str; 5] = ["chat", "responses", "completion", "embedding", "moderation"];

/// Providers whose tier begins at the threshold itself, not one token above it.
const INCLUSIVE_PROVIDERS: [&str; 1] = ["xai"];

pub(super) fn import(source: &ImportSource<'_>, bytes: &[u8]) -> Result<Imported, SheetError> {
    let json = JsonFile::new(source.file, bytes)?;
    let root: Object<'_> = json.root("a JSON object with one entry a model")?;
    if let Some((key, raw)) = root.repeated() {
        return Err(json.bad(key, raw, "one entry a model"));
    }
    let names: BTreeSet<&str> = root.0.iter().map(|(name, _)| name.as_ref()).collect();
    let mut report = ImportReport::default();
    let mut prices = BTreeMap::new();
    let mut lines = LineCounter { text: json.text.as_bytes(), offset: 0, line: 1 };
    for (name, raw) in &root.0 {
        report.rows += 1;
        if name == "sample_spec" {
            report.skip("the map's own description of its keys");
            continue;
        }
        let line = lines.line_at(json.offset(raw));
        let entry: Object<'_> = json.read(raw, "an object of prices")?;
        match Model::read(&json, &entry, &mut report)? {
            Err(reason) => report.skip(reason),
            Ok(model) => {
                let bare = name.strip_prefix(&model.provider).and_then(|rest| rest.strip_prefix('/'));
                // Some maps list a model with and without its provider, at different prices; then each keeps its full name.
                let bare = bare.filter(|bare| !names.contains(bare)).unwrap_or(name).trim();
                if bare.is_empty() {
                    report.skip("names no model");
                    continue;
                }
                let price = model.price(bare, source, line);
                match prices.entry(price.key()) {
                    Entry::Vacant(free) => {
                        free.insert(price);
                        report.taken += 1;
                    }
                    // Names that differ only in the white space around them.
                    Entry::Occupied(_) => report.skip("names a model again"),
                }
            }
        }
    }
    let book = PriceBook { compute: Vec::new(), api: prices.into_values().collect() };
    Ok(Imported { book, report })
}

/// Counts lines on the way through the file, so that all entries together cost one pass.
struct LineCounter<'a> {
    text: &'a [u8],
    offset: usize,
    line: u64,
}

impl LineCounter<'_> {
    fn line_at(&mut self, offset: usize) -> u64 {
        let passed = self.text.get(self.offset..offset).unwrap_or_default();
        self.line += passed.iter().map(|byte| u64::from(*byte == b'\n')).sum::<u64>();
        self.offset = offset.max(self.offset);
        self.line
    }
}

/// One entry as we understand it.
struct Model {
    provider: String,
    services: BTreeMap<Service, Schedule>,
    usd_per_request: Option<Usd>,
    usd_per_tool_call: Option<Usd>,
    max_input_tokens: Option<u64>,
    max_output_tokens: Option<u64>,
    deprecated_on: Option<jiff::civil::Date>,
    source_url: Option<String>,
}

impl Model {
    /// Reads an entry; the inner error is the reason to skip it.
    fn read(
        json: &JsonFile<'_>,
        entry: &Object<'_>,
        report: &mut ImportReport,
    ) -> Result<Result<Self, String>, SheetError> {
        if let Some((key, raw)) = entry.repeated() {
            return Err(json.bad(key, raw, "every key once"));
        }
        let mode = entry.text("mode");
        if let Some(mode) = mode.as_deref().filter(|mode| !MODES.contains(mode)) {
            return Ok(Err(format!("mode {mode} is not billed by the text token")));
        }
        let Some(provider) = entry.text("litellm_provider") else {
            return Ok(Err("names no provider".to_owned()));
        };
        let inclusive = INCLUSIVE_PROVIDERS.contains(&provider.as_str());
        let (mut services, mut ignored) = (BTreeMap::<Service, Schedule>::new(), Vec::new());
        for (key, raw) in &entry.0 {
            if let Some(slot) = Slot::parse(key, inclusive) {
                if let Some(price) = json.token_price(key, raw)? {
                    slot.put(&mut services, price);
                }
            } else if key.contains("cost_per") || key.ends_with("_cost") || key.contains("token_cost") {
                ignored.push(key.as_ref());
            }
        }
        if let Some(raw) = entry.get("tiered_pricing") {
            let standard = services.entry(Service::Standard).or_default();
            *standard = tiered(json, raw, standard.base)?;
        }
        let fee = |key: &str| entry.get(key).map_or(Ok(None), |raw| json.price(key, raw));
        let usd_per_request = fee("input_cost_per_request")?.map(Usd);
        let standard = services.get(&Service::Standard).map(|schedule| schedule.base).unwrap_or_default();
        if standard.input.is_none() && standard.output.is_none() {
            return Ok(Err("has no price a token".to_owned()));
        }
        for name in ignored.into_iter().filter(|name| *name != "input_cost_per_request") {
            if name != "search_context_cost_per_query" {
                report.ignore(name);
            }
        }
        for name in
            ["off_peak_pricing", "regional_processing_uplift_multiplier_eu", "provider_specific_entry"]
        {
            if entry.get(name).is_some() {
                report.ignore(name);
            }
        }
        Ok(Ok(Self {
            provider,
            services,
            usd_per_request,
            usd_per_tool_call: search_fee(json, entry)?,
            max_input_tokens: tokens(entry, "max_input_tokens").or_else(|| tokens(entry, "max_tokens")),
            max_output_tokens: tokens(entry, "max_output_tokens"),
            deprecated_on: entry.text("deprecation_date").and_then(|text| text.parse().ok()),
            source_url: entry.text("source").filter(|url| url.starts_with("http")),
        }))
    }

    fn price(self, model: &str, source: &ImportSource<'_>, line: u64) -> ApiPrice {
        ApiPrice {
            provider: self.provider,
            model: model.to_owned(),
            services: self.services,
            usd_per_request: self.usd_per_request,
            usd_per_tool_call: self.usd_per_tool_call,
            max_input_tokens: self.max_input_tokens,
            max_output_tokens: self.max_output_tokens,
            deprecated_on: self.deprecated_on,
            converted: None,
            origin: source.origin(line, DATASET, self.source_url),
        }
    }
}

/// A token count; the map writes some as floats and some as text, which say no number of tokens we can check against.
fn tokens(entry: &Object<'_>, key: &str) -> Option<u64> {
    entry.get(key)?.get().parse().ok()
}

/// The fee of a web search at medium context, the provider's default.
fn search_fee(json: &JsonFile<'_>, entry: &Object<'_>) -> Result<Option<Usd>, SheetError> {
    let Some(raw) = entry.get("search_context_cost_per_query") else { return Ok(None) };
    let fees: Object<'_> = json.read(raw, "an object of fees by context size")?;
    let key = "search_context_size_medium";
    Ok(fees.get(key).map_or(Ok(None), |raw| json.price(key, raw))?.map(Usd))
}

/// Where a price of the map belongs in our schedules.
struct Slot {
    kind: Kind,
    above_input_tokens: u64,
    service: Service,
}

#[derive(Clone, Copy)]
enum Kind {
    Input,
    Output,
    Reasoning,
    CachedRead,
    CacheWrite,
    CacheWrite1h,
}

/// Key stems, longer ones before those they begin with.
const KINDS: [(&str, Kind); 6] = [
    ("cache_creation_input_token_cost_above_1hr", Kind::CacheWrite1h),
    ("cache_creation_input_token_cost", Kind::CacheWrite),
    ("cache_read_input_token_cost", Kind::CachedRead),
    ("output_cost_per_reasoning_token", Kind::Reasoning),
    ("output_cost_per_token", Kind::Output),
    ("input_cost_per_token", Kind::Input),
];

impl Slot {
    /// `STEM[_above_Nk_tokens][_SERVICE]`.
    fn parse(key: &str, inclusive: bool) -> Option<Self> {
        let (kind, mut rest) =
            KINDS.iter().find_map(|(stem, kind)| Some((*kind, key.strip_prefix(stem)?)))?;
        let mut above_input_tokens = 0;
        if let Some(threshold) = rest.strip_prefix("_above_") {
            let (number, after) = threshold.split_once("_tokens")?;
            let (digits, scale) = number.strip_suffix('k').map_or((number, 1), |digits| (digits, 1_000));
            above_input_tokens =
                digits.parse::<u64>().ok()?.checked_mul(scale)?.saturating_sub(u64::from(inclusive));
            rest = after;
        }
        let service = match rest {
            "" => Service::Standard,
            "_batches" => Service::Batch,
            "_flex" => Service::Flex,
            "_priority" => Service::Priority,
            _ => return None,
        };
        Some(Self { kind, above_input_tokens, service })
    }

    fn put(&self, services: &mut BTreeMap<Service, Schedule>, usd_per_token: Decimal) {
        let schedule = services.entry(self.service).or_default();
        let rates = if self.above_input_tokens == 0 {
            &mut schedule.base
        } else {
            let at = schedule.tiers.partition_point(|tier| tier.above_input_tokens < self.above_input_tokens);
            if schedule.tiers.get(at).is_none_or(|tier| tier.above_input_tokens != self.above_input_tokens) {
                let tier = Tier { above_input_tokens: self.above_input_tokens, rates: TokenRates::default() };
                schedule.tiers.insert(at, tier);
            }
            match schedule.tiers.get_mut(at) {
                Some(tier) => &mut tier.rates,
                None => return,
            }
        };
        let price = Some(per_million(usd_per_token));
        match self.kind {
            Kind::Input => rates.input = price,
            Kind::Output => rates.output = price,
            Kind::Reasoning => rates.reasoning = price,
            Kind::CachedRead => rates.cached_read = price,
            Kind::CacheWrite => rates.cache_write = price,
            Kind::CacheWrite1h => rates.cache_write_1h = price,
        }
    }
}

fn per_million(usd_per_token: Decimal) -> UsdPerMillionTokens {
    UsdPerMillionTokens(Usd(usd_per_token.saturating_mul(Decimal::from(1_000_000)).normalize()))
}

/// `tiered_pricing`: ranges of prompt length, each with rates of its own that borrow nothing from a lower range.
fn tiered(json: &JsonFile<'_>, raw: &RawValue, model: TokenRates) -> Result<Schedule, SheetError> {
    let items: Array<'_> = json.read(raw, "an array of tiers")?;
    let mut tiers = Vec::new();
    for item in &items.0 {
        let tier: Object<'_> = json.read(item, "an object of prices with a range")?;
        let start = match tier.get("range") {
            // The map writes bounds as 256000 or 256000.0.
            Some(range) => json.read::<Array<'_>>(range, "two token counts")?.0.first().and_then(|raw| {
                let text = raw.get();
                text.strip_suffix(".0").unwrap_or(text).parse::<u64>().ok()
            }),
            None => None,
        };
        let Some(above_input_tokens) = start else {
            return Err(json.bad("tiered_pricing", item, "a tier with a range of token counts"));
        };
        let rate = |key: &str| -> Result<Option<UsdPerMillionTokens>, SheetError> {
            Ok(tier.get(key).map_or(Ok(None), |raw| json.token_price(key, raw))?.map(per_million))
        };
        let input = rate("input_cost_per_token")?;
        let output = rate("output_cost_per_token")?.or(model.output);
        let cache_write = rate("cache_creation_input_token_cost")?.or(input);
        let rates = TokenRates {
            input,
            output,
            reasoning: rate("output_cost_per_reasoning_token")?.or(output),
            cached_read: rate("cache_read_input_token_cost")?.or(input),
            cache_write,
            cache_write_1h: cache_write,
        };
        tiers.push(Tier { above_input_tokens, rates });
    }
    tiers.sort_by_key(|tier| tier.above_input_tokens);
    // The lowest range is the base: no prompt is shorter than its start.
    let base = if tiers.is_empty() { model } else { tiers.remove(0).rates };
    Ok(Schedule { base, tiers })
}
