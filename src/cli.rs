//! The arguments, and nothing but the arguments.

use std::path::PathBuf;

use breakeven_measurement::Shard;
use breakeven_planner::product::TextDuration;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    endpoint::EndpointArguments, fit::FitArguments, hardware::HardwareArguments, history::HistoryArguments,
    load::LoadArguments, prices::PricesArguments, repeat::RepeatArguments, schema::SchemaArguments,
    serve::ServeArguments, ui::UiArguments,
};

/// Should we run this model ourselves, on what hardware, and what does it really cost against a managed API?
#[derive(Debug, Parser)]
#[command(name = "breakeven", bin_name = "breakeven", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Measure this machine, plan, and report: the whole path
    ///
    /// Writes measurement.json, plan.json and report.html into the output folder.
    #[command(after_help = "Example: breakeven run examples/support-bot.toml --quick")]
    Run(RunArguments),
    /// Measure only: find the rate this machine carries, then run baseline, expected and stress
    #[command(
        after_help = "Example: breakeven bench support-bot.toml --out lab/measurement.json\n         breakeven bench support-bot.toml --target http://127.0.0.1:8080/v1 --launch 'llama-server -m model.gguf'\n         breakeven bench --self-check"
    )]
    Bench(BenchArguments),
    /// Plan from a measurement made here or elsewhere
    #[command(
        after_help = "Example: breakeven plan support-bot.toml --measurement lab/measurement.json --out plan.json"
    )]
    Plan(PlanArguments),
    /// Simulate replicas under the product's traffic, hour by hour, and what a lost replica does
    ///
    /// On the step model that the measurement holds. Exit code 1 where the SLO is missed.
    #[command(
        after_help = "Example: breakeven simulate support-bot.toml --measurement m.json --rate 4 --replicas 3 --fail 1@13:00"
    )]
    Simulate(crate::simulate::SimulateArguments),
    /// Read results of AIPerf, GuideLLM, vllm bench serve, inference-perf, llama-bench or a CSV as a measurement
    ///
    /// Marked with the tool and its definitions; what it does not report is absent.
    #[command(
        after_help = "Example: breakeven import artifacts/profile_export_aiperf.json --product support-bot.toml --out m.json"
    )]
    Import(crate::import::ImportArguments),
    /// Write Kubernetes manifests from a plan
    #[command(
        after_help = "Example: breakeven kubernetes deployment plan.json --image registry.example/bot:1 --out bot.yaml"
    )]
    Kubernetes(crate::kubernetes::KubernetesArguments),
    /// Print a plan, or write it as an HTML page, a workbook or billing rows
    #[command(
        after_help = "Example: breakeven report plan.json --html report.html --xlsx report.xlsx --focus forecast.csv"
    )]
    Report(ReportArguments),
    /// Compare two measurements: exit code 1 where B is shown to be worse by more than the threshold
    ///
    /// Every change has an interval; "no difference shown" is an answer. Exit code 2 where the two cannot be compared.
    #[command(after_help = "Example: breakeven compare main.json branch.json --threshold 5%")]
    Compare(CompareArguments),
    /// Show where a number of a plan comes from, down to measurement run, price row or assumption
    #[command(after_help = "Example: breakeven explain plan.json options.self_host.usd_per_month")]
    Explain(crate::explain::ExplainArguments),
    /// Rank the levers of a product file by the money they save at an unchanged success rate, alone and together
    ///
    /// A lever is a `[[lever]]` table: assumptions that it changes by their paths, and what it costs itself. Every setting is costed in
    /// full for every option. Exit code 1 where no option can be had.
    #[command(
        after_help = "Example: breakeven levers examples/support-bot-workflow.toml --measurement measurement.json\n         breakeven levers support-bot.toml --measurement measurement.json --option self_host --format json"
    )]
    Levers(crate::levers::LeversArguments),
    /// Compare two plans line by line: exit code 1 where a success costs more by over the threshold
    #[command(after_help = "Example: breakeven diff plan-before.json plan-after.json --threshold 5%")]
    Diff(crate::diff::DiffArguments),
    /// Put production usage beside the plan: unit economics, what changed, and the month forecast anew
    ///
    /// Reads OpenTelemetry `GenAI` spans and LiteLLM spend logs (JSON lines), CSV and Parquet in one pass. Exit code 1 with
    /// `--fail-on-flags` where something is over its threshold.
    #[command(
        after_help = "Example: breakeven actuals spend-logs.jsonl --plan plan.json\n         breakeven actuals usage.parquet --plan plan.json --fail-on-flags --format markdown"
    )]
    Actuals(crate::actuals::ActualsArguments),
    /// Add up what several generators measured of one load
    ///
    /// Counts and latency histograms add exactly. Measurements of another model, workload, SLO, target or level are
    /// refused, and so are the same requests twice.
    #[command(after_help = "Example: breakeven merge shard-0.json shard-1.json --out measurement.json")]
    Merge(MergeArguments),
    /// Serve the in-process engine over OpenAI's HTTP interface
    ///
    /// Chat and plain completions, streamed or whole; /v1/models, /health and Prometheus /metrics.
    #[command(after_help = "Example: breakeven serve smollm2-135m-instruct --listen 127.0.0.1:8000")]
    Serve(ServeArguments),
    /// Write a journal's attempts or a measurement's levels as CSV, Parquet or an HdrHistogram log
    #[command(
        after_help = "Example: breakeven export attempts.jsonl --parquet attempts.parquet --hlog latency.hlog"
    )]
    Export(ExportArguments),
    /// Write a commented product file to start from
    #[command(after_help = "Example: breakeven init sales-copilot --out my-product.toml")]
    Init(InitArguments),
    /// Print what this machine is, and how fast
    #[command(after_help = "Example: breakeven hardware --roofline")]
    Hardware(HardwareArguments),
    /// Say which devices hold a model, and how fast they could at best run it (estimated)
    ///
    /// Exit code 1 where none of them holds it.
    #[command(after_help = "Example: breakeven fit llama-3.1-70b --quantization fp8 --compute fp8")]
    Fit(FitArguments),
    /// Keep measurements and plans in a database; list, tag and compare machines side by side
    #[command(
        after_help = "Example: breakeven history add measurement.json --plan plan.json --tag candidate\n         breakeven history compare --tag candidate"
    )]
    History(HistoryArguments),
    /// Open a local page: change an assumption, and the plan, its charts and intervals follow
    ///
    /// Serves this machine only, loads nothing from elsewhere. Ctrl-C ends it.
    #[command(after_help = "Example: breakeven ui support-bot.toml --measurement measurement.json")]
    Ui(UiArguments),
    /// Print the JSON Schema of product.toml, measurement.json or plan.json
    #[command(after_help = "Example: breakeven schema product > product.schema.json")]
    Schema(SchemaArguments),
    /// List, check, import and compare price sheets
    #[command(after_help = "Example: breakeven prices list --find h100")]
    Prices(PricesArguments),
}

#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// Product file
    pub(crate) product: PathBuf,
    /// Folder for measurement.json, plan.json and report.html
    #[arg(long, default_value = "breakeven-out")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) measuring: Measuring,
    #[command(flatten)]
    pub(crate) planning: Planning,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct BenchArguments {
    #[command(subcommand)]
    pub(crate) part: Option<BenchPart>,
    /// Product file
    #[arg(required_unless_present = "self_check")]
    pub(crate) product: Option<PathBuf>,
    /// Measure the load generator itself on this machine, and nothing else
    #[arg(long, conflicts_with = "product")]
    pub(crate) self_check: bool,
    /// Where to write the measurement
    #[arg(long, default_value = "measurement.json")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) measuring: Measuring,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BenchPart {
    /// The engine alone: prefill and decode speed by prompt length and batch, with the roofline share beside each
    ///
    /// In llama-bench's and llama-batched-bench's terms: B sequences of P tokens are prefilled (`S_PP`), then decode T
    /// tokens each together (`S_TG`). No sampling, no queue, no load.
    #[command(after_help = "Example: breakeven bench engine --batch 1,8,32 --json engine.json")]
    Engine(BenchEngineArguments),
}

#[derive(Debug, Args)]
pub(crate) struct BenchEngineArguments {
    /// A built-in model, a GGUF file or folder, or hf:owner/name[@revision][:file] of the hub
    #[arg(long, default_value = breakeven_models::registry::DEFAULT_MODEL)]
    pub(crate) model: String,
    /// Prompt tokens of each sequence
    #[arg(long, value_delimiter = ',', default_value = "128,512")]
    pub(crate) prompt: Vec<usize>,
    /// Sequences side by side
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8,16,32,64")]
    pub(crate) batch: Vec<usize>,
    /// Tokens each sequence decodes
    #[arg(long, default_value_t = 32)]
    pub(crate) decode: usize,
    /// Times each point is run, fewer where that takes over 15 seconds; the median is shown
    #[arg(long, default_value_t = 3)]
    pub(crate) repeat: usize,
    /// Most tokens of one step
    #[arg(long, default_value_t = 128)]
    pub(crate) step_tokens: usize,
    /// Compute threads; all cores where left out
    #[arg(long)]
    pub(crate) threads: Option<usize>,
    /// Weights: real ones, random ones where no source has the real, or random ones always
    #[arg(long, value_enum, default_value_t = Weights::RealOrRandom)]
    pub(crate) weights: Weights,
    /// Storage type of random weights, as GGUF names it
    #[arg(long, default_value = "Q4_1")]
    pub(crate) quantization: String,
    /// Seed of random weights
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Never use the network
    #[arg(long)]
    pub(crate) offline: bool,
    /// candle's own kernels instead of the packed ones
    #[arg(long)]
    pub(crate) candle: bool,
    /// Also write everything as JSON; `-` prints it instead of the table
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct CompareArguments {
    /// Measurement to compare against
    pub(crate) a: PathBuf,
    /// Measurement to judge
    pub(crate) b: PathBuf,
    /// Worsening that fails: per cent of a latency or rate, points of a share
    #[arg(long, default_value = "5%", value_parser = percentage)]
    pub(crate) threshold: f64,
    /// Compare invalid levels and incomplete runs too
    #[arg(long)]
    pub(crate) allow_invalid: bool,
    /// How to print it
    #[arg(long, value_enum, default_value_t = CompareFormat::Terminal)]
    pub(crate) format: CompareFormat,
}

/// How to print a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompareFormat {
    /// A table for a terminal
    Terminal,
    /// Markdown for a pull request
    Markdown,
    /// Every number, for a program
    Json,
}

/// `5%`, `5 %` or `0.05`, as a share.
pub(crate) fn percentage(text: &str) -> Result<f64, String> {
    let (number, scale) = match text.trim().strip_suffix('%') {
        Some(percent) => (percent.trim(), 0.01),
        None => (text.trim(), 1.0),
    };
    match number.parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(value * scale),
        _ => Err(format!("expected a percentage such as 5%, found `{text}`")),
    }
}

#[derive(Debug, Args)]
pub(crate) struct ExportArguments {
    /// A journal (attempts.jsonl: one row an attempt) or a measurement (one row a latency series)
    pub(crate) file: PathBuf,
    /// Write CSV with a header
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,
    /// Write Parquet
    #[arg(long, value_name = "FILE")]
    pub(crate) parquet: Option<PathBuf>,
    /// Write latencies as an HdrHistogram V2 interval log: of a journal second by second, of a measurement by level
    #[arg(long, value_name = "FILE")]
    pub(crate) hlog: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct MergeArguments {
    /// Measurements to add up: all shards of one load, or generators with seeds of their own
    #[arg(required = true, num_args = 2..)]
    pub(crate) measurements: Vec<PathBuf>,
    /// Where to write the merged measurement
    #[arg(long)]
    pub(crate) out: PathBuf,
}

/// How to measure.
#[derive(Debug, Args)]
pub(crate) struct Measuring {
    /// About 30 seconds instead of two minutes, with wider error bars
    #[arg(long)]
    pub(crate) quick: bool,
    /// About how long search and levels take in all (`10min`), instead of two minutes
    #[arg(long, value_name = "TIME", conflicts_with = "quick")]
    pub(crate) time: Option<TextDuration>,
    /// Requests per second of baseline, expected and stress, instead of a search
    #[arg(long, value_delimiter = ',', num_args = 1, value_name = "LOW,MIDDLE,HIGH")]
    pub(crate) rates: Vec<f64>,
    /// Weights: real ones, random ones where no source has the real, or random ones always
    #[arg(long, value_enum, default_value_t = Weights::RealOrRandom)]
    pub(crate) weights: Weights,
    /// Go on with the run that was interrupted, from the journal beside the measurement: finished levels are kept.
    /// Refused where the file, seed, model or settings are not the same
    #[arg(long)]
    pub(crate) resume: bool,
    /// Send only part INDEX of COUNT of the load, counted from 0: the parts together send every arrival once, and
    /// `breakeven merge` adds them up. Needs --rates, those of the whole load
    #[arg(long, value_name = "INDEX/COUNT", requires = "rates")]
    pub(crate) shard: Option<Shard>,
    /// Seed of schedules, lengths, prompts and random weights, instead of the product file's
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Compute threads; all cores where left out
    #[arg(long)]
    pub(crate) threads: Option<usize>,
    /// Never use the network
    #[arg(long)]
    pub(crate) offline: bool,
    #[command(flatten)]
    pub(crate) repeat: RepeatArguments,
    #[command(flatten)]
    pub(crate) load: LoadArguments,
    #[command(flatten)]
    pub(crate) endpoint: EndpointArguments,
}

/// Which weights to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Weights {
    /// Real ones, else random ones, said plainly
    RealOrRandom,
    /// Real ones or an error
    Real,
    /// Seeded noise in the model's shapes
    Random,
}

/// How to plan.
#[derive(Debug, Args)]
pub(crate) struct Planning {
    /// Plan on invalid levels and incomplete runs, and have the report say so
    #[arg(long)]
    pub(crate) allow_invalid: bool,
    /// Day to judge prices against (YYYY-MM-DD); today where left out
    #[arg(long)]
    pub(crate) as_of: Option<jiff::civil::Date>,
    /// Your own price sheet, laid over the built-in one (CSV or TOML; may be given more than once)
    #[arg(long = "prices", value_name = "SHEET")]
    pub(crate) sheets: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArguments {
    /// Product file
    pub(crate) product: PathBuf,
    /// Measurement to plan from
    #[arg(long)]
    pub(crate) measurement: PathBuf,
    /// Where to write the plan
    #[arg(long, default_value = "plan.json")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) planning: Planning,
}

#[derive(Debug, Args)]
pub(crate) struct ReportArguments {
    /// Plan to report
    pub(crate) plan: PathBuf,
    /// Also write a self-contained HTML page
    #[arg(long)]
    pub(crate) html: Option<PathBuf>,
    /// Also write a workbook with live formulas: change a cell of its assumptions and the totals follow
    #[arg(long)]
    pub(crate) xlsx: Option<PathBuf>,
    /// Also write a forecast of months, options and lines as CSV in the FinOps FOCUS format, version 1.4
    #[arg(long)]
    pub(crate) focus: Option<PathBuf>,
    /// Months of that forecast
    #[arg(long, default_value_t = breakeven_report::focus::MONTHS, value_parser = clap::value_parser!(u16).range(1..=120))]
    pub(crate) focus_months: u16,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Terminal)]
    pub(crate) format: Format,
}

/// How to print a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Tables for a terminal
    Terminal,
    /// Markdown for a pull request
    Markdown,
}

#[derive(Debug, Args)]
pub(crate) struct InitArguments {
    /// Which product to start from
    pub(crate) pattern: Pattern,
    /// Where to write it; the pattern's name and `.toml` where left out
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
}

/// A product to start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pattern {
    /// Answers customers' questions
    SupportBot,
    /// The same stage by stage, with levers
    SupportBotWorkflow,
    /// Drafts messages and enriches leads
    SalesCopilot,
    /// Reads alerts and proposes actions
    ItOperations,
}
