//! An Indexed Job: a load that one machine cannot generate, each pod sending its shard of the same schedule. Kubernetes
//! distributes; `breakeven merge` adds the shards up.

use super::yaml::{Entry, Node, entry, noted};

/// What the Job runs, and against whom.
#[derive(Debug, Clone, PartialEq)]
pub struct BenchJob {
    /// Name of the Job and of the `ConfigMap` that carries the product file (RFC 1123).
    pub name: String,
    /// Namespace; the current one where absent.
    pub namespace: Option<String>,
    /// Container image that holds `breakeven`.
    pub image: String,
    /// The product file's text.
    pub product: String,
    /// Base address of the server under load.
    pub target: String,
    /// Baseline, expected and stress, in requests per second of all pods together.
    pub rates: [f64; 3],
    /// Pods.
    pub shards: u32,
    /// `PersistentVolumeClaim` that the measurements are written to.
    pub claim: String,
    /// Secret whose `key` is the server's API key.
    pub key_secret: Option<String>,
    /// Whole cores that each pod has to itself.
    pub cores: u32,
}

/// Annotation that says which of the Job's pods one is (Kubernetes, *Jobs*, "Completion mode").
const INDEX: &str = "metadata.annotations['batch.kubernetes.io/job-completion-index']";

/// The `ConfigMap` with the product file, and the Job.
pub fn manifests(job: &BenchJob) -> [Node; 2] {
    [config_map(job), the_job(job)]
}

/// Both as one YAML stream.
pub fn to_yaml(job: &BenchJob) -> String {
    let [config, job] = manifests(job);
    format!("{}---\n{}", config.to_yaml(), job.to_yaml())
}

fn metadata(job: &BenchJob) -> Entry {
    let mut fields = vec![entry("name", job.name.clone())];
    fields.extend(job.namespace.as_ref().map(|namespace| entry("namespace", namespace.clone())));
    entry("metadata", fields)
}

fn config_map(job: &BenchJob) -> Node {
    Node::from(vec![
        entry("apiVersion", "v1"),
        entry("kind", "ConfigMap"),
        metadata(job),
        entry("data", vec![entry("product.toml", job.product.clone())]),
    ])
}

fn the_job(job: &BenchJob) -> Node {
    let mut environment = vec![Node::from(vec![
        entry("name", "SHARD"),
        entry("valueFrom", vec![entry("fieldRef", vec![entry("fieldPath", INDEX)])]),
    ])];
    environment.extend(job.key_secret.as_ref().map(|secret| {
        let reference = vec![entry("name", secret.clone()), entry("key", "key")];
        Node::from(vec![
            entry("name", "BREAKEVEN_API_KEY"),
            entry("valueFrom", vec![entry("secretKeyRef", reference)]),
        ])
    }));
    let rates = job.rates.map(|rate| rate.to_string()).join(",");
    let arguments = [
        "bench",
        "/product/product.toml",
        "--target",
        &job.target,
        "--rates",
        &rates,
        "--shard",
        &format!("$(SHARD)/{}", job.shards),
        "--out",
        "/results/shard-$(SHARD).json",
    ];
    let resources = vec![entry("cpu", job.cores.to_string()), entry("memory", "1Gi")];
    let mount = |name: &str, path: &str| Node::from(vec![entry("name", name), entry("mountPath", path)]);
    let container = vec![
        entry("name", "breakeven"),
        entry("image", job.image.clone()),
        entry("command", vec![Node::from("breakeven")]),
        entry("args", arguments.map(Node::from).to_vec()),
        entry("env", environment),
        noted(
            "resources",
            vec![entry("requests", resources.clone()), entry("limits", resources)],
            "whole cores of its own (guaranteed): the sender must not be late",
        ),
        entry("volumeMounts", vec![mount("product", "/product"), mount("results", "/results")]),
    ];
    let volumes = vec![
        Node::from(vec![entry("name", "product"), entry("configMap", vec![entry("name", job.name.clone())])]),
        Node::from(vec![
            entry("name", "results"),
            entry("persistentVolumeClaim", vec![entry("claimName", job.claim.clone())]),
        ]),
    ];
    let pod = vec![
        noted("restartPolicy", "Never", "a shard that begins again would no longer run beside the others"),
        entry("containers", vec![Node::from(container)]),
        entry("volumes", volumes),
    ];
    Node::from(vec![
        entry("apiVersion", "batch/v1"),
        entry("kind", "Job"),
        metadata(job),
        entry(
            "spec",
            vec![
                noted("completionMode", "Indexed", "each pod knows which shard it is"),
                noted("completions", job.shards, "one a shard"),
                noted("parallelism", job.shards, "all at once: together they are the load"),
                noted("backoffLimit", 0_u32, "a missing shard is said by `breakeven merge`, not made up for"),
                entry("template", vec![entry("spec", pod)]),
            ],
        ),
    ])
}
