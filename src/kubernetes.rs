//! `breakeven kubernetes`: manifests.

use std::path::PathBuf;

use anyhow::Result;
use breakeven_measurement::file::write_atomically;
use breakeven_report::kubernetes::deployment::{Names, manifests, to_yaml};
use clap::{Args, Subcommand, ValueEnum};

use crate::{
    console::{self, Answer},
    kubernetes_job::{BenchJobArguments, bench_job},
    plan,
};

#[derive(Debug, Args)]
pub(crate) struct KubernetesArguments {
    #[command(subcommand)]
    part: KubernetesPart,
}

#[derive(Debug, Subcommand)]
enum KubernetesPart {
    /// A plan's fleet as a Deployment with an HPA, or with a KEDA `ScaledObject`
    ///
    /// Thresholds, fewest and most replicas, stabilisation and pre-warm schedule are those that the plan's simulation chose; a
    /// comment beside each says where it comes from.
    #[command(
        after_help = "Example: breakeven kubernetes deployment plan.json --image registry.example/bot:1 --keda > bot.yaml"
    )]
    Deployment(DeploymentArguments),
    /// An Indexed Job whose pods together send a load that one machine cannot generate
    ///
    /// Each pod sends its shard of the same schedule and writes its measurement; `breakeven merge` adds them up exactly.
    #[command(
        after_help = "Example: breakeven kubernetes bench-job product.toml --image registry.example/breakeven:1 --target http://bot:8000/v1 \
                      --rates 300,700,1200 --shards 8 --claim results > job.yaml"
    )]
    BenchJob(BenchJobArguments),
}

#[derive(Debug, Args)]
struct DeploymentArguments {
    /// Plan whose fleet to deploy
    plan: PathBuf,
    /// Container image of the server
    #[arg(long)]
    image: String,
    /// Argument of the container (may be given more than once)
    #[arg(long = "arg", value_name = "ARGUMENT", allow_hyphen_values = true)]
    arguments: Vec<String>,
    /// Name of the Deployment; the product's where left out
    #[arg(long)]
    name: Option<String>,
    /// Namespace
    #[arg(long)]
    namespace: Option<String>,
    /// Port that the server listens on
    #[arg(long, default_value_t = 8000)]
    port: u16,
    /// Path that answers once the server can serve
    #[arg(long, default_value = "/health")]
    health_path: String,
    /// NVIDIA accelerators of a replica
    #[arg(long, default_value_t = 0)]
    gpus: u32,
    /// A KEDA `ScaledObject` with the pre-warm schedule, instead of the HPA
    #[arg(long)]
    keda: bool,
    /// The server, for the names of its metrics
    #[arg(long, value_enum, default_value_t = ServerName::Breakeven)]
    server: ServerName,
    /// Prometheus that KEDA asks
    #[arg(long, default_value = "http://prometheus-server.monitoring.svc")]
    prometheus: String,
    /// Time zone of the product's hours
    #[arg(long, default_value = "Etc/UTC")]
    time_zone: String,
    /// Where to write it; printed where left out
    #[arg(long)]
    out: Option<PathBuf>,
}

/// A server and how it names its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ServerName {
    /// `breakeven serve`
    Breakeven,
    /// vLLM
    Vllm,
    /// `SGLang`
    Sglang,
    /// llama.cpp's server
    LlamaCpp,
}

impl ServerName {
    /// Metrics of requests that run and that wait, from each server's documentation.
    fn metrics(self) -> (&'static str, &'static str) {
        match self {
            Self::Breakeven => ("breakeven_num_requests_running", "breakeven_num_requests_waiting"),
            Self::Vllm => ("vllm:num_requests_running", "vllm:num_requests_waiting"),
            Self::Sglang => ("sglang:num_running_reqs", "sglang:num_queue_reqs"),
            Self::LlamaCpp => ("llamacpp:requests_processing", "llamacpp:requests_deferred"),
        }
    }
}

pub(crate) fn kubernetes(arguments: &KubernetesArguments) -> Result<Answer> {
    match &arguments.part {
        KubernetesPart::Deployment(deployment) => deploy(deployment),
        KubernetesPart::BenchJob(job) => bench_job(job),
    }
}

fn deploy(arguments: &DeploymentArguments) -> Result<Answer> {
    let plan = plan::read(&arguments.plan)?;
    let (running, waiting) = arguments.server.metrics();
    let names = Names {
        name: dns_name(arguments.name.as_deref().unwrap_or(&plan.product)),
        namespace: arguments.namespace.clone(),
        image: arguments.image.clone(),
        arguments: arguments.arguments.clone(),
        port: arguments.port,
        health_path: arguments.health_path.clone(),
        gpus: arguments.gpus,
        prometheus: arguments.prometheus.clone(),
        metrics: (running.to_owned(), waiting.to_owned()),
        time_zone: arguments.time_zone.clone(),
    };
    let text = to_yaml(&manifests(&plan, &names)?, arguments.keda);
    match &arguments.out {
        Some(out) => {
            write_atomically(out, text.as_bytes())?;
            console::note(&format!("Written to {}", out.display()));
        }
        None => console::print(&text)?,
    }
    Ok(Answer::Yes)
}

/// A name as Kubernetes takes it (RFC 1123): lower case letters, digits and hyphens, at most 63, no hyphen at the ends.
pub(crate) fn dns_name(name: &str) -> String {
    let kept: String = name
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(63)
        .collect();
    let kept = kept.trim_matches('-');
    if kept.is_empty() { "server".to_owned() } else { kept.to_owned() }
}
