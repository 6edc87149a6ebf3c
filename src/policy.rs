//! The product file's retries, success criteria and spend cap, in front of a target.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use breakeven_bench::{
    criteria::{Criteria, Schema},
    policy::{Meter, RetryPolicy, WithPolicy},
    target::{
        Target,
        http::{Api, ApiKey, Client, Endpoint, HttpTarget, Sending, Wording},
    },
};
use breakeven_planner::{
    Product,
    product::{FallbackTable, SuccessTable},
};

use crate::console;

/// Millionths of a dollar in a dollar: the meter's unit.
const MICRO: f64 = 1e6;

/// A target with its policy, and the meter that counts what it spends.
type Applied = (Arc<dyn Target>, Option<Arc<Meter>>);

/// Refuses criteria that the in-process engine cannot be held to: it writes past its model's own end and calls no tools, so that
/// every request would count as failed.
pub(crate) fn check_for_engine(product: &Product) -> Result<()> {
    let reads_answer = |table: &SuccessTable| !table.stop_reasons.is_empty() || table.tool.is_some();
    match product.segments.iter().find(|segment| segment.success.as_ref().is_some_and(reads_answer)) {
        None => Ok(()),
        Some(segment) => bail!(
            "segment `{}`: success.stop_reasons and tool: the in-process engine writes exactly as many tokens as asked and calls no \
             tools; measure a server (`breakeven serve`, then --target), or leave them out",
            segment.name
        ),
    }
}

/// The target with the policy, where the file has one, and the meter that counts what it spends.
///
/// `file` is the product file, beside which its schemas are looked for; `wording` writes the fallback's prompts.
pub(crate) fn applied(
    product: &Product,
    file: &Path,
    target: Arc<dyn Target>,
    wording: &Wording,
) -> Result<Applied> {
    let bench = &product.bench;
    let asks = product.segments.iter().any(|segment| segment.success.is_some());
    if bench.retries.is_none() && bench.spend.is_none() && bench.fallback.is_none() && !asks {
        return Ok((target, None));
    }
    let criteria = product.segments.iter().map(|segment| {
        let table = segment.success.clone().unwrap_or_default();
        criteria(&table, file).with_context(|| format!("segment `{}`, success", segment.name))
    });
    let meter = bench.spend.as_ref().map(|spend| {
        let micro = |usd: f64| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a price from 0 up; `as` saturates"
            )]
            let micro = (usd * MICRO).round() as u64;
            micro
        };
        Arc::new(Meter::new(
            micro(spend.usd_per_million_input_tokens.0.to_f64()),
            micro(spend.usd_per_million_output_tokens.0.to_f64()),
            spend.cap_usd.map(|cap| micro(cap.get())),
        ))
    });
    let retries = bench.retries.as_ref().map(|table| RetryPolicy {
        most_retries: table.most,
        causes: table.causes.iter().copied().collect(),
        backoff: table.backoff.0,
        longest_backoff: table.longest_backoff.0.max(Duration::from_millis(1)),
    });
    let policy = WithPolicy {
        target,
        fallback: bench.fallback.as_ref().map(|table| fallback(table, wording)).transpose()?,
        retries,
        criteria: criteria.collect::<Result<_>>()?,
        meter: meter.clone(),
    };
    Ok((Arc::new(policy), meter))
}

/// Environment variable of the fallback's key.
const FALLBACK_KEY_VARIABLE: &str = "BREAKEVEN_FALLBACK_API_KEY";

fn fallback(table: &FallbackTable, wording: &Wording) -> Result<Arc<dyn Target>> {
    let endpoint = Endpoint::parse(&table.target).context("bench.fallback.target")?;
    let key = match std::env::var(FALLBACK_KEY_VARIABLE) {
        Ok(text) if !text.trim().is_empty() => Some(ApiKey::new(&text).context(FALLBACK_KEY_VARIABLE)?),
        Ok(_) | Err(_) => None,
    };
    let api = if table.completions { Api::Completions } else { Api::Chat };
    let client = Client::new(endpoint, key).context("bench.fallback.target")?;
    let sending = Sending { api, model: table.model.clone(), extra_body: serde_json::Map::new() };
    Ok(Arc::new(HttpTarget::new(client, sending, Arc::clone(wording))))
}

/// A schema beside the product file, else from the working directory.
fn schema(path: &Path, product: &Path) -> Result<Schema> {
    let beside = product.parent().map(|folder| folder.join(path)).filter(|path| path.exists());
    let path = beside.as_deref().unwrap_or(path);
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("json_schema: cannot read `{}`", path.display()))?;
    Schema::parse(&text)
        .map_err(|wrong| anyhow::anyhow!("json_schema: `{}` is no JSON Schema: {wrong}", path.display()))
}

fn criteria(table: &SuccessTable, file: &Path) -> Result<Criteria> {
    Ok(Criteria {
        matches: table.matches.as_deref().map(Criteria::pattern).transpose().context("matches")?,
        schema: table.json_schema.as_deref().map(|path| schema(path, file)).transpose()?,
        json: table.json,
        keys: table.keys.clone(),
        least_tokens: table.least_tokens,
        most_tokens: table.most_tokens,
        stop_reasons: table.stop_reasons.clone(),
        tool: table.tool.clone(),
    })
}

/// What was spent so far, and of what cap.
pub(crate) fn spent(meter: &Meter) -> String {
    let usd = |units: u64| units as f64 / MICRO;
    let cap = meter.cap.map_or_else(String::new, |cap| format!(" of {:.2}", usd(cap)));
    format!("USD {:.4}{cap}", usd(meter.used()))
}

/// Says what was spent.
pub(crate) fn say_spent(meter: Option<&Meter>) {
    if let Some(meter) = meter {
        let cap = if meter.is_spent() { "; the cap was reached and the rest was not sent" } else { "" };
        console::note(&format!("Spent: {} at the prices of [bench.spend]{cap}", spent(meter)));
    }
}
