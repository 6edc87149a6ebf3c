//! What is simulated.

use breakeven_measurement::Slo;

use crate::step_model::StepModel;

/// One fleet and what happens to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// How long a step of a replica takes.
    pub step: StepModel,
    /// What a replica's scheduler may do.
    pub replica: ReplicaSettings,
    /// Replicas ready at the start.
    pub replicas: u32,
    /// Who takes a request.
    pub router: Router,
    /// Seconds from asking for a replica until it serves: provisioning, weights, warm-up.
    pub cold_start_seconds: f64,
    /// Replicas that go down, and when.
    pub failures: Vec<Failure>,
    /// Changes the number of replicas; fixed where absent.
    pub autoscaler: Option<Autoscaler>,
    /// What a good request is.
    pub slo: Slo,
    /// Requests that arrive before this are served but not counted, seconds.
    pub warmup_seconds: f64,
    /// Width of the timeline's points in seconds; no timeline where absent.
    pub timeline_seconds: Option<f64>,
}

/// A replica's continuous-batching scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplicaSettings {
    /// Most sequences in a step, prompts included.
    pub max_sequences: u32,
    /// Most tokens worked on in a step: one for each decoding sequence, the rest for prompts in order of arrival.
    pub token_budget: u32,
    /// Prompts are cut to what the budget leaves (Sarathi-Serve, arXiv:2403.02310); otherwise whole prompts run in steps of
    /// their own while decoding stands still.
    pub chunked_prefill: bool,
    /// Tokens that the KV memory holds; without limit where absent. A prompt is admitted when it fits whole; when decoding
    /// outgrows the memory, the latest sequence is thrown out and computed again (vLLM's recompute preemption).
    pub kv_tokens: Option<u64>,
    /// Tokens of shared prefixes kept beside the KV memory, least recently used thrown out first; 0 for no prefix cache.
    pub prefix_cache_tokens: u64,
}

/// Which replica takes a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Router {
    /// Each in turn.
    RoundRobin,
    /// The one with the fewest requests, waiting and running.
    LeastLoaded,
    /// The one that a request's prefix always goes to (rendezvous hashing), unless it has over a quarter more than its share
    /// of requests (bounded loads, Mirrokni et al. 2018); then, and without a prefix, the least loaded.
    PrefixAffine,
}

/// A replica goes down: its requests start again elsewhere, and their latency counts from their arrival.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Failure {
    /// Which replica, from 0.
    pub replica: u32,
    /// When, in seconds.
    pub at_seconds: f64,
    /// Seconds until its machine is back; the cold start comes on top. For ever where infinite.
    pub down_seconds: f64,
}

/// What the autoscaler watches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ScaleOn {
    /// Busy share of the ready replicas since the last look, towards this share.
    Utilization(f64),
    /// Requests waiting a ready replica, towards this number.
    Queue(f64),
    /// Requests waiting and running a ready replica, towards this number.
    Concurrency(f64),
}

/// A horizontal autoscaler: wanted = ceil(present · metric / target), unless within a tenth of the target (the rule of
/// Kubernetes' HPA).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Autoscaler {
    /// What it watches, and the target.
    pub on: ScaleOn,
    /// Seconds between looks.
    pub every_seconds: f64,
    /// Replicas go down only to the most wanted within this many seconds (HPA's stabilisation window).
    pub cool_down_seconds: f64,
    /// Fewest replicas.
    pub min: u32,
    /// Most replicas.
    pub max: u32,
}

/// Why a scenario cannot be simulated.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SimulationError {
    /// A setting that makes no sense.
    #[error("expected {what} to be {expected}, found {value}")]
    Setting {
        /// Which.
        what: &'static str,
        /// What was expected of it.
        expected: &'static str,
        /// Its value.
        value: f64,
    },
    /// A request arrives before the one ahead of it.
    #[error("expected arrivals in order of time, found {at} s after {before} s")]
    Order {
        /// Its arrival, seconds.
        at: f64,
        /// The arrival ahead of it, seconds.
        before: f64,
    },
    /// A trace that cannot be read.
    #[error("line {line} of the trace: expected {expected}, found `{found}`")]
    Trace {
        /// Line, from 1.
        line: usize,
        /// What was expected there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
}

impl Scenario {
    /// A fixed fleet without failures.
    pub fn fixed(step: StepModel, replica: ReplicaSettings, replicas: u32, slo: Slo) -> Self {
        Self {
            step,
            replica,
            replicas,
            router: Router::LeastLoaded,
            cold_start_seconds: 0.0,
            failures: Vec::new(),
            autoscaler: None,
            slo,
            warmup_seconds: 0.0,
            timeline_seconds: None,
        }
    }

    /// Refuses what cannot be simulated.
    pub fn check(&self) -> Result<(), SimulationError> {
        let require = |ok: bool, what, expected, value| {
            if ok { Ok(()) } else { Err(SimulationError::Setting { what, expected, value }) }
        };
        let replica = &self.replica;
        let (sequences, budget) = (replica.max_sequences, replica.token_budget);
        require(sequences > 0, "max sequences", "at least 1", f64::from(sequences))?;
        let expected = "at least the number of sequences";
        require(budget >= sequences, "the token budget", expected, f64::from(budget))?;
        require(self.replicas <= 100_000, "replicas", "at most 100,000", f64::from(self.replicas))?;
        let at_least_zero =
            [("the cold start", self.cold_start_seconds), ("the warm-up", self.warmup_seconds)];
        for (what, value) in at_least_zero {
            require(value.is_finite() && value >= 0.0, what, "0 or more seconds", value)?;
        }
        if let Some(width) = self.timeline_seconds {
            require(width.is_finite() && width > 0.0, "the timeline's width", "above 0 seconds", width)?;
        }
        for failure in &self.failures {
            let at = failure.at_seconds;
            require(at.is_finite() && at >= 0.0, "the time of a failure", "0 or more seconds", at)?;
            require(
                failure.down_seconds >= 0.0,
                "the length of a failure",
                "0 or more seconds",
                failure.down_seconds,
            )?;
            require(
                failure.replica < self.most_replicas(),
                "the replica that fails",
                "one of the fleet's, counted from 0",
                f64::from(failure.replica),
            )?;
        }
        let Some(scaler) = &self.autoscaler else {
            return require(self.replicas > 0, "replicas", "at least 1", 0.0);
        };
        let (ScaleOn::Utilization(target) | ScaleOn::Queue(target) | ScaleOn::Concurrency(target)) =
            scaler.on;
        require(target.is_finite() && target > 0.0, "the autoscaler's target", "above 0", target)?;
        require(
            scaler.every_seconds > 0.0,
            "the autoscaler's period",
            "above 0 seconds",
            scaler.every_seconds,
        )?;
        require(
            scaler.cool_down_seconds >= 0.0,
            "the cool-down",
            "0 or more seconds",
            scaler.cool_down_seconds,
        )?;
        require(scaler.min > 0, "the fewest replicas", "at least 1", f64::from(scaler.min))?;
        let most = scaler.max;
        require(
            (scaler.min..=100_000).contains(&most),
            "the most replicas",
            "from the fewest to 100,000",
            f64::from(most),
        )
    }

    /// Replicas that may ever run at once.
    pub(crate) fn most_replicas(&self) -> u32 {
        self.autoscaler.map_or(self.replicas, |scaler| scaler.max.max(self.replicas))
    }
}
