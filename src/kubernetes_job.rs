//! `breakeven kubernetes bench-job`: a load that one machine cannot generate.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use breakeven_bench::target::http::Endpoint;
use breakeven_measurement::file::write_atomically;
use breakeven_report::kubernetes::job::{BenchJob, to_yaml};
use clap::Args;

use crate::{
    console::{self, Answer},
    kubernetes::dns_name,
    plan::read_product,
};

#[derive(Debug, Args)]
pub(crate) struct BenchJobArguments {
    /// Product file; the Job carries a copy
    product: PathBuf,
    /// Container image that holds `breakeven`
    #[arg(long)]
    image: String,
    /// Base address of the server under load, as the pods see it
    #[arg(long, value_name = "URL")]
    target: String,
    /// Baseline, expected and stress rate of all pods together, in requests per second
    #[arg(long, value_delimiter = ',', value_name = "RATES")]
    rates: Vec<f64>,
    /// Pods; each sends its share of the same schedule
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    shards: u32,
    /// `PersistentVolumeClaim` that the measurements are written to (many writers, or one node)
    #[arg(long)]
    claim: String,
    /// Secret whose `key` is the server's API key
    #[arg(long)]
    key_secret: Option<String>,
    /// Cores of each pod
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=256))]
    cores: u32,
    /// Name of the Job; the product's where left out
    #[arg(long)]
    name: Option<String>,
    /// Namespace
    #[arg(long)]
    namespace: Option<String>,
    /// Where to write it; printed where left out
    #[arg(long)]
    out: Option<PathBuf>,
}

pub(crate) fn bench_job(arguments: &BenchJobArguments) -> Result<Answer> {
    let product = read_product(&arguments.product)?;
    Endpoint::parse(&arguments.target).context("--target")?;
    let rates = match arguments.rates.as_slice() {
        [low, middle, high] if [low, middle, high].iter().all(|rate| rate.is_finite() && **rate > 0.0) => {
            [*low, *middle, *high]
        }
        other => bail!(
            "--rates: expected three numbers above 0, baseline, expected and stress in requests per second, found {other:?}; shards \
             cannot search for a rate, `breakeven bench` on one machine can"
        ),
    };
    let text = fs::read_to_string(&arguments.product)
        .with_context(|| format!("cannot read product file `{}`", arguments.product.display()))?;
    let yaml = to_yaml(&BenchJob {
        name: dns_name(arguments.name.as_deref().unwrap_or(&format!("{} bench", product.name))),
        namespace: arguments.namespace.clone(),
        image: arguments.image.clone(),
        product: text,
        target: arguments.target.clone(),
        rates,
        shards: arguments.shards,
        claim: arguments.claim.clone(),
        key_secret: arguments.key_secret.clone(),
        cores: arguments.cores,
    });
    match &arguments.out {
        Some(out) => {
            write_atomically(out, yaml.as_bytes())?;
            console::note(&format!("Written to {}", out.display()));
        }
        None => console::print(&yaml)?,
    }
    Ok(Answer::Yes)
}
