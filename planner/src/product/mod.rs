//! The product file: what the product is, its SLO, its traffic and its money, parsed once.

mod bench;
pub mod capacity_tables;
pub mod decision_tables;
mod error;
pub mod latency;
pub mod lever;
pub mod machine;
mod session;
pub mod stack;
pub mod stage;
mod supply;
mod text;

use breakeven_hardware::sheet::Term;
use breakeven_measurement::{Fraction, Lengths, PromptText, Segment, Slo, Workload};
use serde::{Deserialize, Deserializer, de};

pub use bench::{BenchTable, FallbackTable, RetryTable, SpendTable, SuccessTable};
pub use error::ProductError;
pub(crate) use error::line_of;
pub use session::SessionTable;
pub use supply::{LimitsTable, OwnedTable, ProvisionedTable};
pub use text::{NonNegative, Positive, Price, TextDuration};

use crate::{plan::LineItem, uncertainty::lift};
use capacity_tables::{CapacityTable, GrowthTable, PurchaseTable, RepeatsTable, ReplicaTable, SpikeTable};

/// A parsed product file. Unknown keys are errors, so that a typing mistake cannot silently mean a default.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// Name of the product.
    pub name: String,
    /// Which model to run ourselves.
    pub model: ModelChoice,
    /// What a good request is.
    pub slo: SloTable,
    /// Traffic segments; at least one.
    #[serde(rename = "segment", deserialize_with = "at_least_one_segment")]
    pub segments: Vec<SegmentTable>,
    /// How much traffic, and when.
    pub traffic: Traffic,
    /// What succeeds.
    pub success: Success,
    /// How we would run it.
    #[serde(default)]
    pub fleet: FleetPolicy,
    /// Other machines that were measured, to compare with the one of `[fleet]`.
    #[serde(rename = "machine", default, deserialize_with = "machine::machines")]
    pub machines: Vec<machine::MachineTable>,
    /// Managed APIs to compare with.
    #[serde(rename = "api", default)]
    pub apis: Vec<ApiChoice>,
    /// The rest of the bill.
    #[serde(rename = "cost", default)]
    pub costs: Vec<CostEntry>,
    /// The rest of the bill, by drivers: each table joins `costs` when the file is parsed.
    #[serde(default)]
    pub stack: stack::StackTables,
    /// The workflow of a request; a request is one call of the model where there is none.
    #[serde(rename = "stage", default)]
    pub stages: Vec<stage::StageTable>,
    /// What the workflow asks of the option's model, once prices are known.
    #[serde(skip)]
    pub(crate) loads: Option<crate::workflow::load::Loads>,
    /// What waiting costs, and other targets to look at; the SLO alone where left out.
    pub latency: Option<latency::LatencyTable>,
    /// How to measure.
    #[serde(default)]
    pub bench: BenchTable,
    /// How the draws are made.
    pub uncertainty: Option<decision_tables::UncertaintyTable>,
    /// Draws at most, whatever is asked for: for an answer that another will replace. No key of the file, where `[uncertainty]` also
    /// asks for draws of every scenario.
    #[serde(skip)]
    pub most_draws: Option<u32>,
    /// Scenarios; the three defaults where there is none.
    #[serde(rename = "scenario", default)]
    pub scenarios: Vec<decision_tables::ConditionTable>,
    /// Stresses; the defaults where there is none.
    #[serde(rename = "stress", default)]
    pub stresses: Vec<decision_tables::ConditionTable>,
    /// The months ahead; this month alone where left out.
    pub horizon: Option<decision_tables::HorizonTable>,
    /// Ways to split the bill.
    #[serde(rename = "allocation", default)]
    pub allocations: Vec<decision_tables::AllocationTable>,
    /// Switches: what each would change and cost. The plan is that of all of them off.
    #[serde(rename = "lever", default)]
    pub levers: Vec<lever::LeverTable>,
    /// Prompt and answer tokens of the segments over those that were measured, where a lever changes them.
    #[serde(skip)]
    pub(crate) longer: Option<(f64, f64)>,
    /// The segments that were measured, where a lever changes them.
    #[serde(skip)]
    pub(crate) before_levers: Option<Vec<SegmentTable>>,
    /// What a lever makes of the typed retries a request, as a factor.
    #[serde(skip)]
    pub(crate) retrying_over: Option<f64>,
    /// Numbers typed as distributions, with the text they stand in.
    #[serde(skip)]
    pub uncertain: lift::Uncertain,
}

/// Which model to run ourselves.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelChoice {
    /// A registry name, a path to a GGUF file or folder, or `hf:owner/name[@revision][:file]` of the hub.
    pub name: String,
    /// Line of the file that names it, for errors found when it is opened.
    #[serde(skip)]
    pub line: usize,
}

/// Reads no more than the places that are needed once the file is parsed: of the model's name and of the repeats by wait.
#[derive(Deserialize)]
struct Places {
    model: NamePlace,
    latency: Option<RepeatsPlace>,
}

#[derive(Deserialize)]
struct RepeatsPlace {
    repeats: Option<toml::Spanned<de::IgnoredAny>>,
}

#[derive(Deserialize)]
struct NamePlace {
    name: toml::Spanned<String>,
}

/// `[slo]`.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SloTable {
    /// Largest TTFT.
    pub ttft: Option<TextDuration>,
    /// Largest TPOT.
    pub tpot: Option<TextDuration>,
    /// Largest E2E latency.
    pub e2e: Option<TextDuration>,
    /// Share of all requests that must meet every target.
    pub attainment: Fraction,
}

/// `[[segment]]`.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SegmentTable {
    /// Name.
    pub name: String,
    /// Relative share of requests.
    pub weight: Positive,
    /// Prompt lengths, in tokens of the benchmarked model.
    pub input_tokens: Lengths,
    /// Answer lengths.
    pub output_tokens: Lengths,
    /// Share of the prompt common to all requests of the segment.
    pub shared_prefix: Option<Fraction>,
    /// How many different shared prefixes there are; one where left out.
    pub prefix_pool: Option<std::num::NonZeroU32>,
    /// What the prompts are written from; everyday support requests where left out.
    #[serde(default)]
    pub text: PromptText,
    /// Conversations instead of single requests.
    pub session: Option<SessionTable>,
    /// What makes an answer a success; where left out, that it came whole.
    pub success: Option<SuccessTable>,
}

/// `[traffic]`.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Traffic {
    /// Requests a month of 730.5 hours, retries not included.
    pub requests_per_month: Positive,
    /// Relative load of the 24 hours of a day; flat where left out.
    pub hour_of_day: Option<[NonNegative; 24]>,
    /// Relative load Monday to Sunday; flat where left out.
    pub day_of_week: Option<[NonNegative; 7]>,
    /// Peak minute over the mean of its hour.
    #[serde(default = "one")]
    pub burst_factor: Positive,
    /// Share of the requests that can wait for a quiet hour of the week (batch, async).
    #[serde(default = "none")]
    pub deferrable_share: Fraction,
    /// Growth and season; none where left out.
    pub growth: Option<GrowthTable>,
    /// Launches and campaigns.
    #[serde(rename = "spike", default)]
    pub spikes: Vec<SpikeTable>,
    /// Timeouts that are asked again.
    pub repeats: Option<RepeatsTable>,
}

fn none() -> Fraction {
    Fraction::ZERO
}

fn one() -> Positive {
    Positive::try_from(1.0).expect("1 is above 0")
}

/// `[success]`.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Success {
    /// Share of requests that succeed, self-hosted. With `[[stage]]`: of those that the workflow ends in `success` without an
    /// escalation, the share that is right.
    pub probability: Fraction,
    /// Extra attempts per request. With `[[stage]]`: for each attempt of the stages, beside the retries that they make themselves.
    #[serde(default)]
    pub retries_per_request: NonNegative,
    /// What a request that succeeds is worth, for the margin.
    pub value_usd_per_success: Option<Price>,
    /// What a request is worth that an escalation brings to `success`; nothing where left out.
    pub value_usd_per_escalated_success: Option<Price>,
}

/// `[fleet]`.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FleetPolicy {
    /// Replicas that may be down without missing the SLO.
    pub replicas_lost: u32,
    /// Provisioning, weight load and warm-up.
    pub scale_up_lag: TextDuration,
    /// How the machines are paid.
    #[serde(deserialize_with = "term")]
    #[schemars(with = "String")]
    pub term: Term,
    /// Other ways to pay for the same machines, each an option of the plan; their prices are the sheet's, or those of `[fleet.purchase]`.
    #[serde(deserialize_with = "machine::terms")]
    #[schemars(with = "Vec<String>")]
    pub other_terms: Vec<Term>,
    /// Instance of the price sheet that is like the measured machine.
    pub instance: Option<String>,
    /// Hourly price where no sheet has one.
    pub usd_per_hour: Option<Price>,
    /// Where that figure comes from.
    pub usd_per_hour_note: Option<String>,
    /// What buying and running one server costs, for `term = "owned"`.
    pub owned: Option<OwnedTable>,
    /// What the fleet is sized to survive beside `replicas_lost`.
    pub capacity: CapacityTable,
    /// The scheduler of a replica, where the measured server does not say.
    pub replica: ReplicaTable,
    /// What may be bought; the term above alone where left out.
    pub purchase: Option<PurchaseTable>,
    /// Share of requests that succeed on our own replicas, where it is another than `success.probability`, which APIs without a share of
    /// their own keep.
    pub success_probability: Option<Fraction>,
}

impl Default for FleetPolicy {
    fn default() -> Self {
        Self {
            replicas_lost: 1,
            scale_up_lag: TextDuration(std::time::Duration::from_secs(300)),
            term: Term::OnDemand,
            other_terms: Vec::new(),
            instance: None,
            usd_per_hour: None,
            usd_per_hour_note: None,
            owned: None,
            capacity: CapacityTable::default(),
            replica: ReplicaTable::default(),
            purchase: None,
            success_probability: None,
        }
    }
}

/// `[[api]]`.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiChoice {
    /// Provider in the price sheet.
    pub provider: String,
    /// Model in the price sheet.
    pub model: String,
    /// Share of requests that succeed with it, as `success.probability`; the product's own where left out.
    pub success_probability: Option<Fraction>,
    /// Tokens of the same text in its tokenizer, over ours; 1 where left out.
    pub tokens_ratio: Option<Positive>,
    /// What the provider lets through; nothing is checked where left out.
    pub limits: Option<LimitsTable>,
    /// Throughput bought by the unit, which then replaces the price of tokens.
    pub provisioned: Option<ProvisionedTable>,
    /// The provider's prompt cache: what of the segments' shared prefixes is billed at its cached prices; full prices where left out.
    pub prompt_cache: Option<supply::PromptCacheTable>,
    /// Share of requests that can wait for a batch, billed at the price row's batch prices; none where left out.
    pub batch_share: Option<Fraction>,
    /// How long it lets wait for the first token, for the curves of `[latency]`; where left out, what waiting costs is left out for it.
    pub ttft: Option<latency::TypedWaits>,
}

/// `[[cost]]`: one contribution to one line of the bill.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CostEntry {
    /// Which line.
    pub line: LineItem,
    /// A fixed amount a month.
    pub usd_per_month: Option<Price>,
    /// An amount a request.
    pub usd_per_request: Option<Price>,
    /// An amount for each request that does not succeed.
    pub usd_per_failure: Option<Price>,
    /// The kind of option it applies to; all where left out.
    pub only: Option<OnlyFor>,
    /// Where the figure comes from.
    pub note: Option<String>,
    /// How it was worked, where it comes from a table of `[stack]`.
    #[serde(skip)]
    pub worked: Option<crate::stack::Worked>,
}

/// Which options a cost applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnlyFor {
    /// Our own replicas.
    SelfHost,
    /// Managed APIs.
    Api,
}

fn term<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Term, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
}

fn at_least_one_segment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SegmentTable>, D::Error> {
    let segments = Vec::<SegmentTable>::deserialize(deserializer)?;
    if segments.is_empty() {
        return Err(de::Error::custom("expected at least one [[segment]], found none"));
    }
    let mut names: Vec<&str> = segments.iter().map(|s| s.name.as_str()).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair.first() == pair.last()).and_then(|p| p.first()) {
        return Err(de::Error::custom(format!(
            "expected segments of different names, found `{twice}` twice"
        )));
    }
    Ok(segments)
}

impl Product {
    /// Share of requests that succeed on our own replicas.
    pub(crate) fn own_success(&self) -> Fraction {
        self.fleet.success_probability.unwrap_or(self.success.probability)
    }

    /// Parses a product file.
    ///
    /// # Errors
    /// One message with file, line, value and expectation.
    pub fn parse(text: &str, file: &str) -> Result<Self, ProductError> {
        let at = |error: &toml::de::Error| ProductError::new(error, text, file);
        // Numbers typed as distributions become their likely values, every byte else in its place.
        let (likely, uncertain) = lift::lift(text, file)?;
        let mut product: Self = toml::from_str(&likely).map_err(|e| at(&e))?;
        let places: Places = toml::from_str(&likely).map_err(|e| at(&e))?;
        product.model.line = line_of(text, places.model.name.span().start);
        if let (Some(table), Some(repeats)) =
            (&mut product.latency, places.latency.and_then(|latency| latency.repeats))
        {
            table.repeats_place = format!("{file}, line {}", line_of(text, repeats.span().start));
        }
        let of_stage = |e: crate::workflow::graph::Refused| {
            ProductError::of_table("stage", e.index, &e.at, e.message, text, file)
        };
        if !product.stages.is_empty() {
            crate::workflow::bill::check(&product).map_err(of_stage)?;
            for (index, stage) in product.stages.iter_mut().enumerate() {
                let at = ProductError::of_table("stage", index, "model", String::new(), text, file);
                stage.place = format!("{}, line {}: `{}`", at.file, at.line, at.found);
            }
        }
        product.uncertain = uncertain;
        product.uncertain.check_ends(file)?;
        let entries =
            crate::stack::entries(&product.stack).map_err(|e| ProductError::of_stack(&e, text, file))?;
        product.costs.extend(entries);
        // Levers, other machines and other terms change the text and read it again.
        let changed = !product.machines.is_empty() || !product.fleet.other_terms.is_empty();
        if changed || !product.levers.is_empty() {
            product.uncertain.keep(text);
            crate::levers::check(&product, text, file)?;
        }
        Ok(product)
    }

    /// What a good request is.
    pub fn slo(&self) -> Slo {
        let duration = |text: Option<TextDuration>| text.map(|t| t.0);
        Slo {
            ttft: duration(self.slo.ttft),
            tpot: duration(self.slo.tpot),
            e2e: duration(self.slo.e2e),
            attainment: self.slo.attainment,
        }
    }

    /// What the benchmark sends.
    pub fn workload(&self) -> Workload {
        workload_of(&self.segments)
    }

    /// What it sends of the file without its levers.
    pub(crate) fn measured_workload(&self) -> Workload {
        workload_of(self.before_levers.as_ref().unwrap_or(&self.segments))
    }
}

fn workload_of(segments: &[SegmentTable]) -> Workload {
    let segments = segments
        .iter()
        .map(|s| Segment {
            name: s.name.clone(),
            weight: s.weight.get(),
            input_tokens: s.input_tokens,
            output_tokens: s.output_tokens,
            shared_prefix: s.shared_prefix.unwrap_or(Fraction::ZERO),
            prefix_pool: s.prefix_pool.map_or(1, std::num::NonZeroU32::get),
            text: s.text,
            session: s.session.map(SessionTable::session),
        })
        .collect();
    Workload { segments }
}
