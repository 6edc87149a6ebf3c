//! The stages of a product file as a graph, checked once: what it holds can be solved and priced.

use breakeven_hardware::Usd;
use serde::Deserialize;

use super::{
    attempts::{Attempts, all_succeed},
    measured::MeasuredCalls,
};
use crate::{
    cost::typed_at,
    plan::{LineItem, Provenance},
    product::{
        OnlyFor, ProductError,
        stage::{Quantiles, StageKind, StageTable},
    },
};

/// A million, of which tokens are priced.
const MILLION: f64 = 1e6;
const MINUTES_AN_HOUR: f64 = 60.0;
/// How far from 1 the sum of a stage's probabilities may be: rounding of decimals.
const ROUNDING: f64 = 1e-9;

/// Where a visit leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// To the stage of that place in the file.
    Stage(usize),
    /// Done.
    Success,
    /// Given up.
    Failure,
    /// Handed over to people outside the workflow.
    Escalated,
}

/// Prices of a model's tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ModelPrice {
    /// USD of a million prompt tokens.
    pub usd_per_million_input: f64,
    /// USD of a million answer tokens.
    pub usd_per_million_output: f64,
    /// USD of a call, whatever its tokens.
    pub usd_per_call: f64,
}

/// One stage, in numbers. Amounts are of one attempt or visit.
#[expect(clippy::struct_excessive_bools, reason = "independent facts of a stage, not a state")]
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// Its name.
    pub id: String,
    /// What happens there.
    pub kind: StageKind,
    /// The line of the bill.
    pub line: LineItem,
    /// Whether the model under comparison answers.
    pub option: bool,
    /// Whether its tokens are those of the product's segments.
    pub of_segments: bool,
    /// Whether reaching it means that a person takes over.
    pub escalation: bool,
    /// Calls of a visit.
    pub calls: f64,
    /// Whether they are made at once.
    pub parallel: bool,
    /// Attempts of a call.
    pub attempts: Attempts,
    /// Share of the retries that the infrastructure causes, the product the rest; 0 where nothing is tried again.
    pub infrastructure_share: f64,
    /// Where the failing shares of infrastructure and product were measured; typed where absent.
    pub failures_measured: [Option<Provenance>; 2],
    /// Mean share of its tokens that an attempt spends.
    pub token_share: f64,
    /// Prompt tokens of a retry over those of a first attempt.
    pub retried_prompt_ratio: f64,
    /// Prompt tokens of a first attempt.
    pub input_tokens: f64,
    /// Answer tokens of an attempt.
    pub output_tokens: f64,
    /// USD of an attempt, whatever its tokens.
    pub usd_per_attempt: f64,
    /// USD of a prompt token.
    pub usd_per_input_token: f64,
    /// USD of an answer token.
    pub usd_per_output_token: f64,
    /// A person's minutes on a visit.
    pub minutes: f64,
    /// USD of such a minute.
    pub usd_per_minute: f64,
    /// Seconds of an attempt.
    pub latency: Option<Quantiles>,
    /// Whether those are the measurement's.
    pub latency_measured: bool,
    /// Seconds before the first retry, and the most that doubling leads to.
    pub backoff_seconds: (f64, f64),
    /// Where visits lead, failed ones included; the probabilities sum to 1.
    pub exits: Vec<(Target, f64)>,
}

/// The workflow of one kind of option.
#[derive(Debug, Clone, PartialEq)]
pub struct Workflow {
    stages: Vec<Stage>,
}

/// A stage that is refused.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) index: usize,
    /// Text to look for within the stage's lines, so that the error names the right one.
    pub(crate) at: String,
    pub(crate) message: String,
}

fn refused(index: usize, at: impl Into<String>, message: impl Into<String>) -> Refused {
    Refused { index, at: at.into(), message: message.into() }
}

#[derive(Deserialize)]
struct Stages {
    #[serde(rename = "stage", default)]
    stages: Vec<StageTable>,
}

/// The `[[stage]]` tables of a product file's text.
///
/// # Errors
/// One message with file, line, value and expectation.
pub fn read_stages(text: &str, file: &str) -> Result<Vec<StageTable>, ProductError> {
    let read: Stages = toml::from_str(text).map_err(|e| ProductError::new(&e, text, file))?;
    Ok(read.stages)
}

impl Stage {
    /// Where its failing share of the infrastructure, or of the product, comes from.
    pub(crate) fn failures_from(&self, infrastructure: bool) -> Provenance {
        let [of_infrastructure, of_product] = &self.failures_measured;
        let measured = if infrastructure { of_infrastructure } else { of_product };
        measured.clone().unwrap_or_else(|| typed_at(&format!("stage.{}.retries", self.id), None))
    }
}

impl Workflow {
    /// The workflow of a product file's text for one kind of option. `price_of` gives the price of a model by the name that a
    /// stage gives it, `"option"` or `"provider/model"`, and the mean prompt tokens of a call.
    ///
    /// # Errors
    /// One message with file, line, value and expectation: probabilities that do not sum to 1, a stage that nothing leads to, a
    /// loop that never ends, a stage without a price.
    pub fn read(
        text: &str,
        file: &str,
        kind: OnlyFor,
        price_of: impl Fn(&str, f64) -> Option<ModelPrice>,
    ) -> Result<Self, ProductError> {
        let tables = read_stages(text, file)?;
        Self::of(&tables, kind, None, &price_of)
            .map_err(|e| ProductError::of_table("stage", e.index, &e.at, e.message, text, file))
    }

    /// The same from tables. `segments` are the mean prompt and answer tokens of the product's segments, for calls of the option
    /// that give none of their own.
    pub(crate) fn of(
        tables: &[StageTable],
        kind: OnlyFor,
        segments: Option<(f64, f64)>,
        price_of: &impl Fn(&str, f64) -> Option<ModelPrice>,
    ) -> Result<Self, Refused> {
        for (index, table) in tables.iter().enumerate() {
            let id = table.id.as_str();
            if matches!(id, "success" | "failure" | "escalated" | "") {
                return Err(refused(
                    index,
                    "id",
                    format!("expected a name that is no end of the workflow, found `{id}`"),
                ));
            }
            if tables.iter().take(index).any(|other| other.id == table.id) {
                return Err(refused(
                    index,
                    "id",
                    format!("expected stages of different names, found `{id}` twice"),
                ));
            }
        }
        let of_kind = |kind: OnlyFor| -> Result<Self, Refused> {
            let stages = tables.iter().enumerate();
            let stages =
                stages.map(|(index, table)| stage_of(tables, index, table, kind, segments, price_of));
            Ok(Self { stages: stages.collect::<Result<_, _>>()? })
        };
        let workflow = of_kind(kind)?;
        workflow.check_ends()?;
        let other = of_kind(if kind == OnlyFor::Api { OnlyFor::SelfHost } else { OnlyFor::Api });
        let elsewhere = other.map(|other| other.reached()).unwrap_or_default();
        let mut reached = workflow.reached().into_iter().enumerate();
        // A stage of one kind of option alone is none that nothing leads to.
        if let Some((index, _)) = reached.find(|(index, seen)| !seen && elsewhere.get(*index) != Some(&true))
        {
            let message = "expected a stage that a branch leads to, found none that does";
            return Err(refused(index, "id", message));
        }
        Ok(workflow)
    }

    /// Its stages, in the order of the file; a request begins at the first.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// Gives calls of the option's model the time of a measured request, where their stage says none and they are as long as the
    /// product's segments.
    pub(crate) fn measured_latency(&mut self, latency: Quantiles) {
        let untimed = |stage: &&mut Stage| stage.option && stage.of_segments && stage.latency.is_none();
        for stage in self.stages.iter_mut().filter(untimed) {
            stage.latency = Some(latency);
            stage.latency_measured = true;
        }
    }

    /// Marks the failing shares that are the measured ones.
    pub(crate) fn measured_failures(&mut self, measured: &MeasuredCalls, tables: &[StageTable]) {
        for (stage, table) in self.stages.iter_mut().zip(tables) {
            stage.failures_measured =
                [true, false].map(|kind| measured.replaces(table, kind).then(|| measured.from(kind)));
        }
    }

    fn leads(&self, from: usize, to: usize) -> bool {
        let exits = self.stages.get(from).map(|stage| stage.exits.as_slice()).unwrap_or_default();
        exits.iter().any(|(target, p)| *target == Target::Stage(to) && *p > 0.0)
    }

    /// Marks what is connected to what is marked.
    fn spread(mut seen: Vec<bool>, way: impl Fn(usize, usize) -> bool) -> Vec<bool> {
        // No path is longer than the stages.
        for _ in 0..seen.len() {
            let joined = |to: usize| seen.iter().enumerate().any(|(from, known)| *known && way(from, to));
            seen = (0..seen.len()).map(|to| seen.get(to) == Some(&true) || joined(to)).collect();
        }
        seen
    }

    /// Which stages a request may come to.
    fn reached(&self) -> Vec<bool> {
        let first = (0..self.stages.len()).map(|index| index == 0).collect();
        Self::spread(first, |from, to| self.leads(from, to))
    }

    /// From every stage an end is reached.
    fn check_ends(&self) -> Result<(), Refused> {
        let ending = |stage: &Stage| {
            stage.exits.iter().any(|(target, p)| !matches!(target, Target::Stage(_)) && *p > 0.0)
        };
        let ends = Self::spread(self.stages.iter().map(ending).collect(), |from, to| self.leads(to, from));
        if let Some(index) = ends.iter().position(|seen| !seen) {
            let message =
                "expected a way to `success`, `failure` or `escalated`, found a loop that never ends";
            return Err(refused(index, "branches", message));
        }
        Ok(())
    }
}

fn target(tables: &[StageTable], index: usize, name: &str) -> Result<Target, Refused> {
    Ok(match name {
        "success" => Target::Success,
        "failure" => Target::Failure,
        "escalated" => Target::Escalated,
        id => Target::Stage(tables.iter().position(|table| table.id == id).ok_or_else(|| {
            let ids: Vec<&str> = tables.iter().map(|table| table.id.as_str()).collect();
            let message = format!(
                "expected `success`, `failure`, `escalated` or a stage ({}), found `{id}`",
                ids.join(", ")
            );
            refused(index, format!("\"{id}\""), message)
        })?),
    })
}

/// Branches of one kind of option; their probabilities sum to 1.
fn branches(
    tables: &[StageTable],
    index: usize,
    table: &StageTable,
    kind: OnlyFor,
) -> Result<Vec<(Target, f64)>, Refused> {
    let of_kind = || table.branches.iter().filter(|branch| branch.only.is_none_or(|only| only == kind));
    let typed: f64 =
        of_kind().filter_map(|branch| branch.probability).map(breakeven_measurement::Fraction::get).sum();
    let open = of_kind().filter(|branch| branch.probability.is_none()).count();
    if typed > 1.0 + ROUNDING {
        return Err(refused(
            index,
            "branches",
            format!("expected probabilities that sum to 1, found {typed}"),
        ));
    }
    if open > 1 {
        let message = format!("expected at most one branch without a probability, found {open}");
        return Err(refused(index, "branches", message));
    }
    if open == 0 && typed < 1.0 - ROUNDING {
        let message = format!(
            "expected probabilities that sum to 1, or one branch without its own that takes the rest, found {typed}"
        );
        return Err(refused(index, "branches", message));
    }
    let rest = (1.0 - typed).max(0.0);
    of_kind()
        .map(|branch| {
            let p = branch.probability.map_or(rest, breakeven_measurement::Fraction::get);
            Ok((target(tables, index, &branch.to)?, p))
        })
        .collect()
}

/// Mean tokens of a call, and whether they are those of the product's segments.
fn tokens(
    index: usize,
    table: &StageTable,
    segments: Option<(f64, f64)>,
) -> Result<((f64, f64), bool), Refused> {
    let mean = |tokens: Option<crate::product::stage::StageTokens>| {
        tokens.map_or(0.0, crate::product::stage::StageTokens::mean)
    };
    match (table.input_tokens, table.output_tokens, segments) {
        (None, None, Some(means)) if table.is_option() => Ok((means, true)),
        (Some(_), Some(_), _) => Ok(((mean(table.input_tokens), mean(table.output_tokens)), false)),
        _ if table.model.is_some() || table.is_priced_by_token() => {
            let message =
                "expected input_tokens and output_tokens of a stage priced by tokens, found not both";
            Err(refused(index, "id", message))
        }
        _ => Ok(((mean(table.input_tokens), mean(table.output_tokens)), false)),
    }
}

/// Prices of a stage: USD of an attempt, of a prompt token, of an answer token.
fn prices(
    index: usize,
    table: &StageTable,
    (prompt, answer): (f64, f64),
    price_of: &impl Fn(&str, f64) -> Option<ModelPrice>,
) -> Result<(f64, f64, f64), Refused> {
    let usd = |price: Option<crate::product::Price>| price.map_or(Usd::ZERO, |p| p.0).to_f64();
    let by_token = table.is_priced_by_token();
    let person = table.minutes_per_visit.is_some() && table.loaded_usd_per_hour.is_some();
    if table.kind == StageKind::Human && !person {
        let message =
            "expected a price: minutes_per_visit and loaded_usd_per_hour of the person, found not both";
        return Err(refused(index, "kind", message));
    }
    if table.minutes_per_visit.is_some() != table.loaded_usd_per_hour.is_some() {
        let message = "expected minutes_per_visit with loaded_usd_per_hour, found one of them";
        let key = if table.minutes_per_visit.is_some() { "minutes_per_visit" } else { "loaded_usd_per_hour" };
        return Err(refused(index, key, message));
    }
    let per_call = usd(table.usd_per_call);
    if table.model.is_some() && (table.usd_per_call.is_some() || table.minutes_per_visit.is_some()) {
        let message = "expected the model's own price alone, found usd_per_call or minutes_per_visit beside it; give those a stage of their own";
        return Err(refused(index, "model", message));
    }
    for (tokens, price, key) in [
        (prompt, table.usd_per_million_input_tokens, "usd_per_million_input_tokens"),
        (answer, table.usd_per_million_output_tokens, "usd_per_million_output_tokens"),
    ] {
        if by_token && tokens > 0.0 && price.is_none() {
            let message = format!(
                "expected {key} beside the other price (0 where they cost nothing), found none for {tokens:.0} tokens a call"
            );
            return Err(refused(index, "id", message));
        }
    }
    match &table.model {
        Some(_) if by_token => {
            let message = "expected a model of a price sheet or the price of its tokens, found both";
            Err(refused(index, "model", message))
        }
        Some(model) => {
            let message = format!(
                "expected \"option\" or a \"provider/model\" that a price sheet has, found \"{model}\""
            );
            let price = price_of(model, prompt).ok_or_else(|| refused(index, "model", message))?;
            Ok((
                per_call + price.usd_per_call,
                price.usd_per_million_input / MILLION,
                price.usd_per_million_output / MILLION,
            ))
        }
        None if by_token => Ok((
            per_call,
            usd(table.usd_per_million_input_tokens) / MILLION,
            usd(table.usd_per_million_output_tokens) / MILLION,
        )),
        None if table.usd_per_call.is_some() || table.kind == StageKind::Human => Ok((per_call, 0.0, 0.0)),
        None => {
            let message = "expected a price: model, usd_per_call (0 where it costs nothing) or usd_per_million_input_tokens, found none";
            Err(refused(index, "id", message))
        }
    }
}

fn stage_of(
    tables: &[StageTable],
    index: usize,
    table: &StageTable,
    kind: OnlyFor,
    segments: Option<(f64, f64)>,
    price_of: &impl Fn(&str, f64) -> Option<ModelPrice>,
) -> Result<Stage, Refused> {
    let mut attempts = Attempts::SURE;
    let mut infrastructure_share = 0.0;
    let (mut token_share, mut ratio, mut backoff) = (1.0, 1.0, (0.0, 0.0));
    if let Some(r) = &table.retries {
        let (infrastructure, product) = (r.infrastructure.get(), r.product.get());
        if infrastructure + product > 1.0 + ROUNDING {
            let found = infrastructure + product;
            let message = format!("expected shares of failing attempts that sum to 1 at most, found {found}");
            return Err(refused(index, "retries", message));
        }
        let of = |tried: bool, share: f64| if tried { (share, 0.0) } else { (0.0, share) };
        let (first, second) = (of(r.of_infrastructure, infrastructure), of(r.of_product, product));
        attempts = Attempts { retried: first.0 + second.0, lost: first.1 + second.1, most: r.most };
        if attempts.retried > 0.0 {
            infrastructure_share = first.0 / attempts.retried;
        }
        token_share = 1.0
            - infrastructure * (1.0 - r.infrastructure_token_share.get())
            - product * (1.0 - r.product_token_share.get());
        ratio = r.retried_prompt_ratio.get();
        let seconds = |text: Option<crate::product::TextDuration>| text.map(|t| t.0.as_secs_f64());
        let first = seconds(r.backoff).unwrap_or(0.0);
        backoff = (first, seconds(r.longest_backoff).unwrap_or(f64::INFINITY));
    }
    let calls = table.calls_per_visit.get();
    let success = all_succeed(calls, attempts.success());
    let mut exits: Vec<(Target, f64)> =
        branches(tables, index, table, kind)?.into_iter().map(|(to, p)| (to, p * success)).collect();
    exits.push((target(tables, index, table.on_failure.as_deref().unwrap_or("failure"))?, 1.0 - success));
    let ((input_tokens, output_tokens), of_segments) = tokens(index, table, segments)?;
    let (usd_per_attempt, usd_per_input_token, usd_per_output_token) =
        prices(index, table, (input_tokens, output_tokens), price_of)?;
    Ok(Stage {
        id: table.id.clone(),
        kind: table.kind,
        line: table.line(),
        option: table.is_option(),
        of_segments,
        escalation: table.is_escalation(),
        calls,
        parallel: table.parallel,
        attempts,
        infrastructure_share,
        failures_measured: [None, None],
        token_share,
        retried_prompt_ratio: ratio,
        input_tokens,
        output_tokens,
        usd_per_attempt,
        usd_per_input_token,
        usd_per_output_token,
        minutes: table.minutes_per_visit.map_or(0.0, crate::product::NonNegative::get),
        usd_per_minute: table.loaded_usd_per_hour.map_or(0.0, |price| price.0.to_f64() / MINUTES_AN_HOUR),
        latency: table.latency.map(|latency| latency.0),
        latency_measured: false,
        backoff_seconds: backoff,
        exits,
    })
}
