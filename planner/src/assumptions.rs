//! Everything typed into the product file, for the plan to show beside its answer.

use breakeven_hardware::api_limits::PeakMinute;

use crate::{
    measured_retries::PATH,
    plan::Assumption,
    product::{OnlyFor, Product, stage::StageTable},
};

/// For listing limits, whatever the traffic.
const NO_TRAFFIC: PeakMinute = PeakMinute { requests: 0.0, input_tokens: 0.0, output_tokens: 0.0 };

/// Whether a measured figure stands in for the typed one.
fn retries_note(product: &Product) -> Option<&'static str> {
    let loads = product.loads.as_ref().filter(|_| product.stages.is_empty())?;
    if loads.own.retries.is_some() {
        return Some("for APIs alone: those of our own replicas were measured");
    }
    let typed = product.success.retries_per_request.get() > 0.0 && !product.uncertain.holds(PATH);
    typed.then_some("for our own replicas too: the measurement counted none, or too few requests; [bench.retries] makes them")
}

/// Everything typed rather than measured or looked up.
pub(crate) fn assumptions(product: &Product) -> Vec<Assumption> {
    let typed = |path: &str, value: String, note: Option<&str>| Assumption {
        path: path.to_owned(),
        value,
        note: note.map(str::to_owned),
        default: false,
    };
    let (traffic, fleet) = (&product.traffic, &product.fleet);
    let mut list = vec![
        typed(
            "traffic.requests_per_month",
            crate::decision::thousands(traffic.requests_per_month.get()),
            None,
        ),
        typed("traffic.burst_factor", format!("{} x the hour's mean", traffic.burst_factor.get()), None),
        typed("success.probability", product.success.probability.to_string(), None),
        typed(PATH, product.success.retries_per_request.get().to_string(), retries_note(product)),
        typed("fleet.replicas_lost", fleet.replicas_lost.to_string(), None),
        typed("fleet.scale_up_lag", format!("{} s", fleet.scale_up_lag.0.as_secs_f64()), None),
        typed("fleet.term", fleet.term.to_string(), None),
    ];
    if let Some(share) = fleet.success_probability {
        list.push(typed("fleet.success_probability", share.to_string(), None));
    }
    for (path, price) in [
        ("success.value_usd_per_success", product.success.value_usd_per_success),
        ("success.value_usd_per_escalated_success", product.success.value_usd_per_escalated_success),
    ] {
        list.extend(price.map(|price| typed(path, crate::decision::dollars(price.0), None)));
    }
    if let Some(price) = fleet.usd_per_hour {
        let value = format!("{} an hour", crate::decision::dollars(price.0));
        list.push(typed("fleet.usd_per_hour", value, fleet.usd_per_hour_note.as_deref()));
    }
    if let Some(owned) = &fleet.owned {
        let h = &owned.0;
        let value = format!(
            "{} + {} x {} a server, {} months at {} % a year, {} % residual, {} to {} W, PUE {}",
            h.usd_per_server,
            h.accelerators_per_server,
            h.usd_per_accelerator,
            h.amortisation_months,
            h.discount_rate_per_year * 100.0,
            h.residual_share * 100.0,
            h.idle_watts_per_server,
            h.load_watts_per_server,
            h.pue
        );
        list.push(typed("fleet.owned", value, None));
    }
    if let Some(table) = &product.latency {
        for (path, curve) in
            [("latency.abandonment", &table.abandonment), ("latency.repeats", &table.repeats)]
        {
            if !curve.is_none() {
                list.push(typed(path, curve.to_string(), table.note.as_deref()));
            }
        }
    }
    for segment in &product.segments {
        let (input, output) = (segment.input_tokens, segment.output_tokens);
        let value = format!(
            "weight {}, input median {} p90 {}, output median {} p90 {} tokens",
            segment.weight.get(),
            input.median(),
            input.p90(),
            output.median(),
            output.p90()
        );
        list.push(typed(&format!("segment.{}", segment.name), value, None));
    }
    for api in &product.apis {
        let path = format!("api.{}/{}", api.provider, api.model);
        if let Some(success) = api.success_probability {
            list.push(typed(&format!("{path}.success_probability"), success.to_string(), None));
        }
        if let Some(waits) = api.ttft {
            let value = format!("median {:.3} s, p95 {:.3} s", waits.median(), waits.p95());
            list.push(typed(&format!("{path}.ttft"), value, None));
        }
        if let Some(cache) = &api.prompt_cache {
            let value = format!(
                "{} of requests find their shared prefix, of {} tokens or more, in the provider's cache",
                cache.hit_share, cache.least_tokens
            );
            list.push(typed(&format!("{path}.prompt_cache"), value, cache.note.as_deref()));
        }
        if let Some(share) = api.batch_share {
            list.push(typed(&format!("{path}.batch_share"), share.to_string(), None));
        }
        for used in api.limits.unwrap_or_default().limits().check(&NO_TRAFFIC) {
            let limit = format!("{:.0} {:?} a minute", used.allowed_per_minute, used.limit);
            list.push(typed(&format!("{path}.limits"), limit, None));
        }
        if let Some(table) = &api.provisioned {
            let price = format!("{} a unit-hour", crate::decision::dollars(table.usd_per_unit_hour.0));
            list.push(typed(&format!("{path}.provisioned"), price, table.note.as_deref()));
        }
        let note = api.tokens_ratio.is_none().then_some("default: its tokenizer is taken to be ours");
        let ratio = api.tokens_ratio.map_or(1.0, crate::product::Positive::get);
        list.push(Assumption {
            default: api.tokens_ratio.is_none(),
            ..typed(&format!("{path}.tokens_ratio"), ratio.to_string(), note)
        });
    }
    list.extend(
        product
            .stages
            .iter()
            .map(|stage| typed(&format!("stage.{}", stage.id), stage_in_words(stage), stage.note.as_deref())),
    );
    // What the stages come to is no assumption of its own.
    let of_stage =
        |cost: &crate::product::CostEntry| cost.worked.as_ref().is_some_and(|worked| worked.of_stage);
    for (index, cost) in product.costs.iter().enumerate().filter(|(_, cost)| !of_stage(cost)) {
        let parts = [
            cost.usd_per_month.map(|p| format!("{} a month", crate::decision::dollars(p.0))),
            cost.usd_per_request.map(|p| format!("{} a request", crate::decision::dollars(p.0))),
            cost.usd_per_failure.map(|p| format!("{} a failure", crate::decision::dollars(p.0))),
        ];
        let value: Vec<String> = parts.into_iter().flatten().collect();
        let value = format!("{}: {}", cost.line.label(), value.join(" + "));
        list.push(typed(&cost.path(index), value, cost.note.as_deref()));
    }
    list
}

/// A stage in one line.
fn stage_in_words(stage: &StageTable) -> String {
    let mut parts = vec![stage.kind.label().to_owned()];
    if let Some(model) = &stage.model {
        parts.push(format!("model {model}"));
    }
    if (stage.calls_per_visit.get() - 1.0).abs() > 0.0 {
        parts.push(format!("{} calls a visit", stage.calls_per_visit.get()));
    }
    if let (Some(input), Some(output)) = (stage.input_tokens, stage.output_tokens) {
        parts.push(format!("{:.0} + {:.0} tokens a call", input.mean(), output.mean()));
    }
    for (price, of) in [
        (stage.usd_per_call, "a call"),
        (stage.usd_per_million_input_tokens, "a million prompt tokens"),
        (stage.usd_per_million_output_tokens, "a million answer tokens"),
        (stage.loaded_usd_per_hour, "an hour"),
    ] {
        parts.extend(price.map(|price| format!("{} {of}", crate::decision::dollars(price.0))));
    }
    parts.extend(stage.minutes_per_visit.map(|minutes| format!("{} minutes a visit", minutes.get())));
    if let Some(retries) = &stage.retries {
        parts.push(format!(
            "{} of attempts fail by infrastructure and {} by product, {} retries at most, prompts x {}",
            retries.infrastructure,
            retries.product,
            retries.most,
            retries.retried_prompt_ratio.get()
        ));
    }
    let branches = stage.branches.iter().map(|branch| {
        let share = branch.probability.map_or_else(|| "the rest".to_owned(), |p| p.to_string());
        let only = match branch.only {
            None => "",
            Some(OnlyFor::SelfHost) => " (self_host)",
            Some(OnlyFor::Api) => " (api)",
        };
        format!("{share} to {}{only}", branch.to)
    });
    parts.push(branches.collect::<Vec<_>>().join(", "));
    parts.extend(stage.on_failure.as_ref().map(|to| format!("failed calls to {to}")));
    parts.join("; ")
}
