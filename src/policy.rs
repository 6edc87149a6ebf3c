//! The product file's retries, success criteria and spend cap, in front of a target.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use breakeven_bench::{
    criteria::Criteria,
    policy::{Meter, RetryPolicy, WithPolicy},
    target::Target,
};
use breakeven_planner::{Product, product::SuccessTable};

use crate::console;

/// Millionths of a dollar in a dollar: the meter's unit.
const MICRO: f64 = 1e6;

/// A target with its policy, and the meter that counts what it spends.
type Applied = (Arc<dyn Target>, Option<Arc<Meter>>);

/// Refuses criteria that the in-process engine cannot be held to: it hands back token times and counts and no answer, so that
/// every request would count as failed.
pub(crate) fn check_for_engine(product: &Product) -> Result<()> {
    let reads_answer = |table: &SuccessTable| {
        let SuccessTable { matches, json, keys, least_tokens: _, most_tokens: _, stop_reasons, tool } = table;
        matches.is_some() || *json || !keys.is_empty() || !stop_reasons.is_empty() || tool.is_some()
    };
    match product.segments.iter().find(|segment| segment.success.as_ref().is_some_and(reads_answer)) {
        None => Ok(()),
        Some(segment) => bail!(
            "segment `{}`: success.matches, json, keys, stop_reasons and tool read the answer, which the in-process engine does \
             not hand back; measure a server (`breakeven serve`, then --target), or leave them out",
            segment.name
        ),
    }
}

/// The target with the policy, where the file has one, and the meter that counts what it spends.
pub(crate) fn applied(product: &Product, target: Arc<dyn Target>) -> Result<Applied> {
    let bench = &product.bench;
    let asks = product.segments.iter().any(|segment| segment.success.is_some());
    if bench.retries.is_none() && bench.spend.is_none() && !asks {
        return Ok((target, None));
    }
    let criteria = product.segments.iter().map(|segment| {
        let table = segment.success.clone().unwrap_or_default();
        criteria(&table).with_context(|| format!("segment `{}`, success.matches", segment.name))
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
        fallback: None,
        retries,
        criteria: criteria.collect::<Result<_>>()?,
        meter: meter.clone(),
    };
    Ok((Arc::new(policy), meter))
}

fn criteria(table: &SuccessTable) -> Result<Criteria> {
    Ok(Criteria {
        matches: table.matches.as_deref().map(Criteria::pattern).transpose()?,
        json: table.json,
        keys: table.keys.clone(),
        least_tokens: table.least_tokens,
        most_tokens: table.most_tokens,
        stop_reasons: table.stop_reasons.clone(),
        tool: table.tool.clone(),
    })
}

/// Says what was spent.
pub(crate) fn say_spent(meter: Option<&Meter>) {
    if let Some(meter) = meter {
        let usd = meter.used() as f64 / MICRO;
        let cap = if meter.is_spent() { "; the cap was reached and the rest was not sent" } else { "" };
        console::note(&format!("Spent: USD {usd:.4} at the prices of [bench.spend]{cap}"));
    }
}
