//! The stages of a product in its bill: what each costs a request beside the option's model, and what the workflow asks of that model.

use std::borrow::Cow;

use breakeven_hardware::{ApiPrice, PriceBook, Service, Usd};
use breakeven_measurement::Measurement;
use jiff::civil::Date;

use super::{
    Expected, StageExpected, Workflow,
    graph::{ModelPrice, Refused, Stage},
    load::{Load, Loads, segment_tokens, tokens, visits_from},
    measured::MeasuredCalls,
};
use crate::{
    capacity::PlanError,
    cost::{api_provenance, input, typed_at},
    plan::{Input, LineItem},
    product::{CostEntry, OnlyFor, Price, Product, stage::StageTable},
    stack::Worked,
    waiting::{own_asked, waited},
};

/// What stages are priced with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sheets<'a> {
    pub(crate) prices: &'a PriceBook,
    pub(crate) as_of: Date,
    pub(crate) measurement: &'a Measurement,
}

/// Checks everything of the stages that needs no price sheet.
pub(crate) fn check(product: &Product) -> Result<(), Refused> {
    let free = ModelPrice { usd_per_million_input: 0.0, usd_per_million_output: 0.0, usd_per_call: 0.0 };
    for kind in [OnlyFor::SelfHost, OnlyFor::Api] {
        let workflow = Workflow::of(&product.stages, kind, Some(segment_means(product)), &|_, _| Some(free))?;
        solved(&workflow, kind)?;
    }
    Ok(())
}

/// Attempts that are made of our own model a request, in requests as they were measured: those of the stages, each as often as its user
/// asks. `None` where the workflow has no solution, which a parsed product's has, or where waits make every request be asked again.
pub fn measured_requests(product: &Product, measurement: &Measurement) -> Option<f64> {
    let asked = own_asked(product, measurement)?;
    if product.stages.is_empty() {
        return Some(asked);
    }
    let free = ModelPrice { usd_per_million_input: 0.0, usd_per_million_output: 0.0, usd_per_call: 0.0 };
    let means = Some(segment_means(product));
    let tables = own_tables(product, measurement);
    let workflow = Workflow::of(&tables, OnlyFor::SelfHost, means, &|_, _| Some(free)).ok()?;
    let expected = workflow.expected()?;
    let lengths = segment_tokens(product, measurement);
    Some(Load::of(workflow, expected, &lengths, product, measurement).in_all() * asked)
}

/// The stages of our own replicas: with what was measured of their calls.
fn own_tables<'a>(product: &'a Product, measurement: &Measurement) -> Cow<'a, [StageTable]> {
    match MeasuredCalls::of(product, measurement) {
        Some(measured) => Cow::Owned(measured.stages(&product.stages)),
        None => Cow::Borrowed(&product.stages),
    }
}

/// Mean prompt and answer tokens of a request of the segments.
fn segment_means(product: &Product) -> (f64, f64) {
    let workload = product.workload();
    (workload.mean_input_tokens(), workload.mean_output_tokens())
}

fn solved(workflow: &Workflow, kind: OnlyFor) -> Result<Expected, Refused> {
    let whole = |message: &str| Refused { index: 0, at: "id".to_owned(), message: message.to_owned() };
    let expected = workflow.expected().ok_or_else(|| {
        whole("expected a way to an end, found a loop that ends less often than once in 10^14 rounds")
    })?;
    let asked =
        workflow.stages().iter().zip(&expected.stages).any(|(stage, row)| stage.option && row.visits > 0.0);
    if !asked {
        let kind = match kind {
            OnlyFor::SelfHost => "self_host",
            OnlyFor::Api => "api",
        };
        return Err(whole(&format!(
            "expected a stage with model = \"option\" that requests come to, found none for options of kind {kind}"
        )));
    }
    Ok(expected)
}

/// The product with its stages in its costs, and with its load.
///
/// # Errors
/// A model that no price sheet has, or a stage whose figures multiply to more than can be counted.
pub(crate) fn with_stages(mut product: Product, sheets: &Sheets<'_>) -> Result<Product, PlanError> {
    if product.loads.is_some() {
        return Ok(product);
    }
    if product.stages.is_empty() {
        let plain = Loads::measured(&product, sheets.measurement);
        product.loads = Some(waited(plain, &product, sheets.measurement)?);
        return Ok(product);
    }
    let lengths = segment_tokens(&product, sheets.measurement);
    let means = tokens(&lengths);
    let ours = own_tables(&product, sheets.measurement);
    let of_kind = |kind: OnlyFor| -> Result<(Workflow, Expected), Refused> {
        let price_of = |model: &str, prompt: f64| model_price(sheets, model, prompt);
        let tables = if kind == OnlyFor::SelfHost { ours.as_ref() } else { product.stages.as_slice() };
        let workflow = Workflow::of(tables, kind, Some(means), &price_of)?;
        let expected = solved(&workflow, kind)?;
        Ok((workflow, expected))
    };
    let place = |refused: Refused| {
        let table = product.stages.get(refused.index);
        let place = table
            .map(|table| table.place.as_str())
            .filter(|place| !place.is_empty() && refused.at == "model");
        let name = table.map_or_else(String::new, |table| format!("stage `{}`", table.id));
        PlanError::Stage(format!("{}: {}", place.unwrap_or(&name), refused.message))
    };
    let mut own = of_kind(OnlyFor::SelfHost).map_err(place)?;
    if let Some(latency) = super::latency::measured(sheets.measurement) {
        own.0.measured_latency(latency);
    }
    if let Some(measured) = MeasuredCalls::of(&product, sheets.measurement) {
        own.0.measured_failures(&measured, &product.stages);
    }
    let api = of_kind(OnlyFor::Api).map_err(place)?;
    let mut entries = Vec::new();
    for (index, table) in product.stages.iter().enumerate() {
        let of = |(workflow, expected): &(Workflow, Expected), only| {
            entries_of(sheets, index, table, workflow, expected, only)
        };
        let (ours, theirs) = (of(&own, None)?, of(&api, None)?);
        if ours == theirs {
            entries.extend(ours);
        } else {
            entries.extend(of(&own, Some(OnlyFor::SelfHost))?);
            entries.extend(of(&api, Some(OnlyFor::Api))?);
        }
    }
    let load = |(workflow, expected)| Load::of(workflow, expected, &lengths, &product, sheets.measurement);
    let loads = Loads { own: load(own), api: load(api), apis: Vec::new() };
    product.loads = Some(waited(loads, &product, sheets.measurement)?);
    product.costs.extend(entries);
    Ok(product)
}

/// The sheet's row of `provider/model`; a model's name may begin with its provider.
fn row<'a>(sheets: &Sheets<'a>, model: &str) -> Option<&'a ApiPrice> {
    let (provider, name) = model.split_once('/')?;
    let found = sheets.prices.find_api(provider, name).or_else(|| sheets.prices.find_api(provider, model))?;
    (!found.is_withdrawn(sheets.as_of)).then_some(found)
}

fn model_price(sheets: &Sheets<'_>, model: &str, prompt: f64) -> Option<ModelPrice> {
    if model == crate::product::stage::OPTION {
        // Its calls are on the option's own bill.
        return Some(ModelPrice {
            usd_per_million_input: 0.0,
            usd_per_million_output: 0.0,
            usd_per_call: 0.0,
        });
    }
    let price = row(sheets, model)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count from 0 up; a float cast saturates"
    )]
    let (rates, _) = price.rates(Service::Standard, prompt.ceil().max(0.0) as u64);
    // A rate that is missing is refused where it would be needed ([`check_rates`]).
    let usd =
        |rate: Option<breakeven_hardware::UsdPerMillionTokens>| rate.map_or(0.0, |rate| rate.0.to_f64());
    Some(ModelPrice {
        usd_per_million_input: usd(rates.input),
        usd_per_million_output: usd(rates.output),
        usd_per_call: price.usd_per_request.map_or(0.0, Usd::to_f64),
    })
}

/// Refuses what a sheet's row cannot price: tokens without a rate, a prompt longer than the model takes, and retries whose longer prompt
/// falls into another price tier than the first, which one rate a stage cannot hold.
fn check_rates(sheets: &Sheets<'_>, table: &StageTable, stage: &Stage) -> Result<(), PlanError> {
    let model = table.model.as_deref().filter(|_| !stage.option);
    let Some((model, price)) = model.and_then(|model| Some((model, row(sheets, model)?))) else {
        return Ok(());
    };
    let refuse = |message: String| Err(PlanError::Stage(format!("stage `{}`: {message}", stage.id)));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count from 0 up; a float cast saturates"
    )]
    let whole = |tokens: f64| tokens.ceil().max(0.0) as u64;
    let again = if stage.attempts.mean() > 1.0 { stage.retried_prompt_ratio.max(1.0) } else { 1.0 };
    let longest = whole(stage.input_tokens * again);
    if let Some(most) = price.max_input_tokens.filter(|most| longest > *most) {
        return refuse(format!("expected prompts of at most {most} tokens for {model}, found {longest}"));
    }
    let (first, _) = price.rates(Service::Standard, whole(stage.input_tokens));
    for (tokens, rate, of) in
        [(stage.input_tokens, first.input, "prompt"), (stage.output_tokens, first.output, "answer")]
    {
        if tokens > 0.0 && rate.is_none() && price.usd_per_request.is_none() {
            return refuse(format!(
                "expected a price of {of} tokens in the row of {model}, found none; type the stage's own prices"
            ));
        }
    }
    let (retried, _) = price.rates(Service::Standard, longest);
    if (first.input, first.output) != (retried.input, retried.output) {
        return refuse(format!(
            "expected first prompts ({} tokens) and retried ones ({longest}) in one price tier of {model}, found two; give retries a stage of their own",
            whole(stage.input_tokens)
        ));
    }
    Ok(())
}

/// What a stage costs a request, first attempts and people apart from retries; nothing where it costs nothing.
fn entries_of(
    sheets: &Sheets<'_>,
    index: usize,
    table: &StageTable,
    workflow: &Workflow,
    expected: &Expected,
    only: Option<OnlyFor>,
) -> Result<Vec<CostEntry>, PlanError> {
    let (Some(stage), Some(found)) = (workflow.stages().get(index), expected.stages.get(index)) else {
        return Ok(Vec::new());
    };
    check_rates(sheets, table, stage)?;
    let sheet = table.model.as_deref().filter(|_| !stage.option).and_then(|model| row(sheets, model));
    let path = format!("stage.{}", stage.id);
    let visits =
        input("visits a request", format!("{:.6}", found.visits), visits_from(workflow, expected, index));
    let prices = prices(stage, table, &path, sheet, sheets.as_of);
    let entry = |line,
                 usd: f64,
                 path: String,
                 formula,
                 given: Vec<Input>,
                 asked_again|
     -> Result<Option<CostEntry>, PlanError> {
        if usd <= 0.0 {
            return Ok(None);
        }
        let price = Price::try_from(usd).map_err(|_| {
            PlanError::Stage(format!(
                "stage `{}`: expected figures that multiply to less than 7.9e28 USD a request, found {usd:e} USD",
                stage.id
            ))
        })?;
        Ok(Some(CostEntry {
            line,
            usd_per_month: None,
            usd_per_request: Some(price),
            usd_per_failure: None,
            only,
            note: table.note.clone(),
            worked: Some(Worked {
                path,
                formula,
                drivers: Vec::new(),
                given,
                of_stage: true,
                asked_again,
                api_priced: sheet.is_some(),
                grows_per_year: 0.0,
            }),
        }))
    };
    // People take a case once, however often it is asked for; calls are made each time.
    let people_usd = found.minutes * stage.usd_per_minute;
    let rest = found.usd - people_usd;
    // What rounding leaves of a difference is no call.
    let calls_usd = if rest > found.usd * 1e-12 { rest } else { 0.0 };
    let mut people = vec![visits.clone()];
    if stage.minutes > 0.0 {
        people.push(input(
            "minutes a visit",
            stage.minutes,
            typed_at(&format!("{path}.minutes_per_visit"), table.note.clone()),
        ));
        people.push(input(
            "USD of an hour",
            stage.usd_per_minute * 60.0,
            typed_at(&format!("{path}.loaded_usd_per_hour"), table.note.clone()),
        ));
    }
    let mut first = vec![visits.clone()];
    first.extend(prices.clone());
    let mut again = vec![visits, retries(stage, found, &path, table)];
    again.extend(prices);
    let formula =
        "requests x visits x calls x (price of a call + prompt tokens x price + answer tokens x price)";
    let of_people = "requests x visits x minutes / 60 x loaded hour";
    let retried = "requests x retries x (price of a call + longer prompt x price + answer tokens x price)";
    let all = [
        entry(stage.line, calls_usd, path.clone(), formula, first, true)?,
        entry(stage.line, people_usd, path.clone(), of_people, people, false)?,
        entry(LineItem::Retries, found.retried_usd, format!("{path}.retries"), retried, again, true)?,
    ];
    Ok(all.into_iter().flatten().collect())
}

/// Calls, tokens and prices of a stage.
fn prices(
    stage: &Stage,
    table: &StageTable,
    path: &str,
    sheet: Option<&ApiPrice>,
    as_of: Date,
) -> Vec<Input> {
    let typed = |key: &str| typed_at(&format!("{path}.{key}"), table.note.clone());
    let from = |key: &str| sheet.map_or_else(|| typed(key), |price| api_provenance(price, as_of));
    let mut all = vec![input("calls a visit", stage.calls, typed("calls_per_visit"))];
    if stage.usd_per_attempt > 0.0 {
        all.push(input("USD of a call", stage.usd_per_attempt, from("usd_per_call")));
    }
    for (name, tokens, price, key, price_key) in [
        (
            "prompt",
            stage.input_tokens,
            stage.usd_per_input_token,
            "input_tokens",
            "usd_per_million_input_tokens",
        ),
        (
            "answer",
            stage.output_tokens,
            stage.usd_per_output_token,
            "output_tokens",
            "usd_per_million_output_tokens",
        ),
    ] {
        if price > 0.0 {
            let spent = tokens * stage.token_share;
            all.push(input(&format!("{name} tokens of an attempt"), format!("{spent:.1}"), typed(key)));
            all.push(input(
                &format!("USD of a million {name} tokens"),
                format!("{:.6}", price * 1e6),
                from(price_key),
            ));
        }
    }
    all
}

fn retries(stage: &Stage, found: &StageExpected, path: &str, table: &StageTable) -> Input {
    let typed = |key: &str| typed_at(&format!("{path}.retries.{key}"), table.note.clone());
    let product = found.retries - found.infrastructure_retries;
    input(
        "retries a request",
        format!("{:.6}", found.retries),
        crate::plan::Provenance::Computed {
            formula: "calls x (q + ... + q^most), q the share of attempts that fail and are tried again"
                .to_owned(),
            inputs: vec![
                input(
                    "for the infrastructure's failures",
                    format!("{:.6}", found.infrastructure_retries),
                    typed("infrastructure"),
                ),
                input("for the product's failures", format!("{product:.6}"), typed("product")),
                input("most", stage.attempts.most, typed("most")),
                input(
                    "prompt of a retry over a first attempt's",
                    stage.retried_prompt_ratio,
                    typed("retried_prompt_ratio"),
                ),
            ],
        },
    )
}
