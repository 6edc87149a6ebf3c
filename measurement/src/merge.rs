//! Several generators' measurements of one load added up to the measurement of the whole load.
//!
//! Counts and histograms add exactly, so percentiles of the merged series are those of all requests together; no
//! percentile is ever averaged. What does not belong together is refused.

use std::{collections::BTreeSet, fmt::Debug, time::Duration};

use breakeven_models::{ModelRecord, facts::WeightsOrigin};

use crate::{
    findings::findings_of_all,
    level::{LevelResult, Rates, Resources, SegmentResult},
    quantity::RequestRate,
    run::{Generator, Measurement, Status, Target},
    validity::Finding,
};

/// One measurement and what to call it in a message: its file.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// Its file, as the user named it.
    pub name: &'a str,
    /// What it holds.
    pub measurement: &'a Measurement,
}

/// Why measurements were not merged.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// Fewer than two.
    #[error("expected at least two measurements to merge, found {0}")]
    TooFew(usize),
    /// They did not measure the same thing.
    #[error(
        "`{first}` and `{other}` differ in {what}: {first_value} against {other_value}; only parts of one load merge"
    )]
    Differ {
        /// What differs.
        what: String,
        /// The first file.
        first: String,
        /// The file that differs from it.
        other: String,
        /// What the first says.
        first_value: String,
        /// What the other says.
        other_value: String,
    },
    /// An in-process engine is one replica; two of them are not one target under twice the load.
    #[error(
        "`{name}` measured the engine inside its own process, which no other generator can load; merge measurements of \
         one endpoint"
    )]
    OwnEngine {
        /// The file.
        name: String,
    },
    /// The same requests would count twice.
    #[error("{what} is in `{first}` and in `{other}`: its requests would count twice")]
    Twice {
        /// A run, a shard or a seed.
        what: String,
        /// One file.
        first: String,
        /// The other.
        other: String,
    },
}

/// Merges measurements that several generators took of one target at the same time.
///
/// Shards (`--shard`) add up to the load they were thinned from. Whole generators with seeds of their own add up to
/// the sum of their rates. The result does not depend on the order, except for which machine is named first.
///
/// # Errors
/// Where the parts are fewer than two, measured different things, or hold the same requests.
pub fn merge(parts: &[Part<'_>]) -> Result<Measurement, MergeError> {
    let [first, others @ ..] = parts else { return Err(MergeError::TooFew(0)) };
    if others.is_empty() {
        return Err(MergeError::TooFew(1));
    }
    for part in parts {
        if matches!(part.measurement.target, Target::Engine(_)) {
            return Err(MergeError::OwnEngine { name: part.name.to_owned() });
        }
    }
    for other in others {
        check_same(first, other)?;
    }
    let generators = all_generators(parts)?;
    let apart = apart(&generators);
    let sharded = generators.iter().any(|(_, generator)| generator.shard.is_some());
    let mut merged = first.measurement.clone();
    for (index, level) in merged.levels.iter_mut().enumerate() {
        let of_others = others.iter().filter_map(|part| part.measurement.levels.get(index));
        let same_windows = of_others.clone().all(|other| other.window == level.window);
        for other in of_others {
            add_level(level, other, sharded);
        }
        if same_windows {
            // Exactly, whatever the order of the parts.
            level.rates = Rates::over(&level.overall, level.window);
        }
        finish_level(level, apart);
    }
    merged.generators_are(generators.into_iter().map(|(_, generator)| generator).collect());
    Ok(merged)
}

impl Measurement {
    /// Makes this the measurement of several generators together.
    fn generators_are(&mut self, mut generators: Vec<Generator>) {
        generators.sort_by(|a, b| (a.shard, a.started, &a.run_id).cmp(&(b.shard, b.started, &b.run_id)));
        let ids: Vec<&str> = generators.iter().map(|g| g.run_id.as_str()).collect();
        self.run_id = format!("merged {}", ids.join(" + "));
        self.started = generators.iter().map(|g| g.started).min().unwrap_or(self.started);
        self.status = status_of(&generators);
        self.shard = None;
        self.self_check = None;
        // A search of one generator's own says nothing of the whole load.
        self.search = None;
        // Nor does a sweep: its concurrency was that of one generator.
        self.sweep = Vec::new();
        // Each generator saw a part of the steps' requests only.
        self.steps = None;
        self.merged_from = generators;
    }
}

/// The runs in a measurement: those it was merged from, or itself.
fn generators_of(measurement: &Measurement) -> Vec<Generator> {
    if !measurement.merged_from.is_empty() {
        return measurement.merged_from.clone();
    }
    vec![Generator {
        run_id: measurement.run_id.clone(),
        started: measurement.started,
        status: measurement.status.clone(),
        seed: measurement.seed,
        shard: measurement.shard,
        machine: measurement.machine.clone(),
        self_check: measurement.self_check,
    }]
}

/// Every run of every part with the part's name; refuses what would count twice.
fn all_generators(parts: &[Part<'_>]) -> Result<Vec<(String, Generator)>, MergeError> {
    let mut all: Vec<(String, Generator)> = Vec::new();
    for part in parts {
        for generator in generators_of(part.measurement) {
            for (name, earlier) in &all {
                let what = if earlier.shard.is_some() && earlier.shard == generator.shard {
                    generator.shard.map(|shard| format!("shard {shard}"))
                } else if earlier.run_id == generator.run_id && earlier.shard == generator.shard {
                    Some(format!("run {}", earlier.run_id))
                } else if earlier.shard.is_none() && earlier.seed == generator.seed {
                    Some(format!("seed {}", earlier.seed))
                } else {
                    None
                };
                if let Some(what) = what {
                    let (first, other) = (name.clone(), part.name.to_owned());
                    return Err(MergeError::Twice { what, first, other });
                }
            }
            all.push((part.name.to_owned(), generator));
        }
    }
    Ok(all)
}

/// Time between the first generator's start and the last's.
fn apart(generators: &[(String, Generator)]) -> Duration {
    let starts = || generators.iter().map(|(_, generator)| generator.started);
    let (Some(first), Some(last)) = (starts().min(), starts().max()) else { return Duration::ZERO };
    Duration::try_from(last.duration_since(first)).unwrap_or(Duration::ZERO)
}

fn status_of(generators: &[Generator]) -> Status {
    let mut reasons = Vec::new();
    if let Some(of) = generators.iter().find_map(|g| g.shard).map(crate::Shard::of) {
        let present: BTreeSet<u32> =
            generators.iter().filter_map(|g| g.shard).map(crate::Shard::index).collect();
        let missing: Vec<String> = (0..of).filter(|i| !present.contains(i)).map(|i| i.to_string()).collect();
        if !missing.is_empty() {
            reasons.push(format!("shards {} of {of} are missing", missing.join(", ")));
        }
    }
    for generator in generators {
        if let Status::Incomplete { reason } = &generator.status {
            let part = generator.shard.map_or(generator.run_id.clone(), |shard| format!("shard {shard}"));
            reasons.push(format!("{part}: {reason}"));
        }
    }
    if reasons.is_empty() { Status::Complete } else { Status::Incomplete { reason: reasons.join("; ") } }
}

fn check_same(first: &Part<'_>, other: &Part<'_>) -> Result<(), MergeError> {
    let differ = |what: &str, first_value: String, other_value: String| MergeError::Differ {
        what: what.to_owned(),
        first: first.name.to_owned(),
        other: other.name.to_owned(),
        first_value,
        other_value,
    };
    let (a, b) = (first.measurement, other.measurement);
    same(&a.target, &b.target).map_err(|(a, b)| differ("target", a, b))?;
    let models = [&a.model, &b.model].map(|model| model.as_ref().map(identity));
    if models[0] != models[1] {
        let [a, b] = models.map(|model| model.unwrap_or_else(|| "none named".to_owned()));
        return Err(differ("model", a, b));
    }
    for (i, (sa, sb)) in a.workload.segments.iter().zip(&b.workload.segments).enumerate() {
        same(sa, sb).map_err(|(a, b)| differ(&format!("workload, segment {}", i + 1), a, b))?;
    }
    same(&a.workload, &b.workload).map_err(|(a, b)| differ("workload", a, b))?;
    same(&a.slo, &b.slo).map_err(|(a, b)| differ("SLO", a, b))?;
    let of = |m: &Measurement| {
        let shard = generators_of(m).iter().find_map(|g| g.shard);
        shard.map_or("whole".to_owned(), |shard| format!("a shard of {}", shard.of()))
    };
    if of(a) != of(b) {
        return Err(differ("sharding", of(a), of(b)));
    }
    if of(a) != "whole" {
        same(&a.seed, &b.seed).map_err(|(a, b)| differ("seed", a, b))?;
    }
    let names = |m: &Measurement| m.levels.iter().map(|level| level.name.to_string()).collect::<Vec<_>>();
    if names(a) != names(b) {
        return Err(differ("levels", names(a).join(", "), names(b).join(", ")));
    }
    for (la, lb) in a.levels.iter().zip(&b.levels) {
        let what = |field: &str| format!("{field} of level {}", la.name);
        same(&la.arrivals, &lb.arrivals).map_err(|(a, b)| differ(&what("arrivals"), a, b))?;
        // Whole runs end their warm-up where each of them settled; shards see a part of the series, so theirs is given.
        if of(a) != "whole" {
            same(&la.warmup, &lb.warmup).map_err(|(a, b)| differ(&what("warm-up"), a, b))?;
            same(&la.target_rate, &lb.target_rate).map_err(|(a, b)| differ(&what("rate"), a, b))?;
            same(&la.window, &lb.window).map_err(|(a, b)| differ(&what("window"), a, b))?;
        }
        let segments = |l: &LevelResult| l.segments.iter().map(|s| s.name.clone()).collect::<Vec<_>>();
        same(&segments(la), &segments(lb)).map_err(|(a, b)| differ(&what("segments"), a, b))?;
    }
    Ok(())
}

fn same<T: PartialEq + Debug>(a: &T, b: &T) -> Result<(), (String, String)> {
    if a == b { Ok(()) } else { Err((format!("{a:?}"), format!("{b:?}"))) }
}

/// What makes two model records the same model: not where the file lay.
fn identity(model: &ModelRecord) -> String {
    let weights = match &model.weights {
        WeightsOrigin::File { sha256, .. } => format!("weights {}", sha256.get(..12).unwrap_or(sha256)),
        WeightsOrigin::Random { seed } => format!("random weights of seed {seed}"),
    };
    format!("{} {} with {weights}", model.name, model.quantization)
}

/// Adds a level; counts and histograms exactly.
fn add_level(into: &mut LevelResult, other: &LevelResult, sharded: bool) {
    // Taken apart by name so that a new field cannot be forgotten here.
    let LevelResult {
        name: _,
        arrivals: _,
        target_rate,
        warmup,
        window,
        rates,
        overall,
        segments,
        resources,
        validity,
        headlines: _,
    } = other;
    // They come from attempts, which are no longer at hand.
    into.headlines = Vec::new();
    // Of equal windows this is the rate of all counts; where each run's began when it settled, each has its own.
    into.rates = into.rates.zip(*rates).map(|(a, b)| a.plus(&b));
    // The shortest decides whether the generators began too far apart.
    into.warmup = into.warmup.min(*warmup);
    if !sharded {
        let sum = into.target_rate.per_second() + target_rate.per_second();
        into.target_rate = RequestRate::new(sum).unwrap_or(into.target_rate);
    }
    into.window = into.window.max(*window);
    into.overall.merge(overall);
    for (SegmentResult { load, .. }, other) in into.segments.iter_mut().zip(segments) {
        load.merge(&other.load);
    }
    into.resources = add_resources(&into.resources, resources);
    into.validity.findings.extend(validity.findings.iter().cloned());
}

/// What the generators' machines used together. The largest of peaks and shares, the sum of what adds.
fn add_resources(a: &Resources, b: &Resources) -> Resources {
    Resources {
        // Of the target, told by each generator's own target; means of different moments do not add.
        mean_batch_occupancy: None,
        peak_queue: a.peak_queue.max(b.peak_queue),
        peak_kv_tokens: a.peak_kv_tokens.max(b.peak_kv_tokens),
        peak_memory: a.peak_memory.max(b.peak_memory),
        mean_cpu_cores: a.mean_cpu_cores.zip(b.mean_cpu_cores).map(|(a, b)| a + b),
        cpu_steal: match (a.cpu_steal, b.cpu_steal) {
            (Some(a), Some(b)) => Some(if a < b { b } else { a }),
            (a, b) => a.or(b),
        },
        energy_joules: a.energy_joules.zip(b.energy_joules).map(|(a, b)| a + b),
        // Of different machines: all are kept.
        gpus: a.gpus.iter().chain(&b.gpus).cloned().collect(),
    }
}

fn finish_level(level: &mut LevelResult, apart: Duration) {
    let mut findings = findings_of_all(level);
    if apart > level.warmup {
        findings.push(Finding::GeneratorsApart {
            apart_seconds: apart.as_secs_f64(),
            warmup_seconds: level.warmup.as_secs_f64(),
            window_seconds: level.window.as_secs_f64(),
        });
    }
    level.validity = findings.into();
}
