//! The arguments, and nothing but the arguments.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
    #[command(after_help = "Example: breakeven bench support-bot.toml --out lab/measurement.json")]
    Bench(BenchArguments),
    /// Plan from a measurement made here or elsewhere
    #[command(
        after_help = "Example: breakeven plan support-bot.toml --measurement lab/measurement.json --out plan.json"
    )]
    Plan(PlanArguments),
    /// Print a plan, or write it as a self-contained HTML page
    #[command(after_help = "Example: breakeven report plan.json --html report.html")]
    Report(ReportArguments),
    /// Write a commented product file to start from
    #[command(after_help = "Example: breakeven init sales-copilot --out my-product.toml")]
    Init(InitArguments),
    /// Print what this machine is
    #[command(after_help = "Example: breakeven hardware")]
    Hardware,
    /// List the built-in prices with source and date
    #[command(after_help = "Example: breakeven prices --find h100")]
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
pub(crate) struct BenchArguments {
    /// Product file
    pub(crate) product: PathBuf,
    /// Where to write the measurement
    #[arg(long, default_value = "measurement.json")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) measuring: Measuring,
}

/// How to measure.
#[derive(Debug, Args)]
pub(crate) struct Measuring {
    /// About 30 seconds instead of two minutes, with wider error bars
    #[arg(long)]
    pub(crate) quick: bool,
    /// Requests per second of baseline, expected and stress, instead of a search
    #[arg(long, value_delimiter = ',', num_args = 1, value_name = "LOW,MIDDLE,HIGH")]
    pub(crate) rates: Vec<f64>,
    /// Weights: real ones, random ones where no source has the real, or random ones always
    #[arg(long, value_enum, default_value_t = Weights::RealOrRandom)]
    pub(crate) weights: Weights,
    /// Seed of schedules, lengths, prompts and random weights, instead of the product file's
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Compute threads; all cores where left out
    #[arg(long)]
    pub(crate) threads: Option<usize>,
    /// Never use the network
    #[arg(long)]
    pub(crate) offline: bool,
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
    /// Drafts messages and enriches leads
    SalesCopilot,
    /// Reads alerts and proposes actions
    ItOperations,
}

#[derive(Debug, Args)]
pub(crate) struct PricesArguments {
    /// Only rows that contain this text
    #[arg(long)]
    pub(crate) find: Option<String>,
}
