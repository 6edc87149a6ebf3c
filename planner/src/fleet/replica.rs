//! The simulated replica: the measured step model and the scheduler's settings, and what it does at one rate.

use breakeven_measurement::{
    Fraction, LatencySeries, Measurement, Quantile, Slo, Workload, run::Target, step_fit::StepFit,
};

use crate::{
    product::capacity_tables::ReplicaTable,
    simulator::{
        Arrivals, Gaps, Outcome, RateProfile, ReplicaSettings, Request, Scenario, SimulationError, simulate,
    },
};

/// Seed of everything the plan simulates: two rates and two fleets are compared on common random numbers.
pub(crate) const SEED: u64 = 20_231_116;

/// One replica, ready to be simulated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SimulatedReplica {
    /// The step model with its residuals.
    pub fit: StepFit,
    /// Its scheduler.
    pub settings: ReplicaSettings,
}

impl SimulatedReplica {
    /// From a measurement; what the product file types goes before what was measured.
    ///
    /// # Errors
    /// Says what is missing and how to come by it.
    pub fn of(measurement: &Measurement, typed: &ReplicaTable) -> Result<Self, String> {
        let steps = measurement.steps.as_ref().ok_or(
            "the measurement holds no step model: nothing is simulated; measure again with this version",
        )?;
        let fit = steps.fit.ok_or_else(|| {
            let why = steps.refused.as_deref().unwrap_or("it was refused");
            format!("nothing is simulated: {why}")
        })?;
        Self::with_fit(fit, measurement, typed)
    }

    /// With another step model; the scheduler as in [`Self::of`].
    ///
    /// # Errors
    /// Says what is missing.
    pub fn with_fit(fit: StepFit, measurement: &Measurement, typed: &ReplicaTable) -> Result<Self, String> {
        let engine = match &measurement.target {
            Target::Engine(engine) => Some((engine.max_sequences, engine.step_token_budget)),
            Target::Endpoint { .. } | Target::Mock => None,
        };
        let max_sequences = typed.max_sequences.map(u32::from).or(engine.map(|e| e.0));
        let token_budget = typed.token_budget.map(u32::from).or(engine.map(|e| e.1));
        let (Some(max_sequences), Some(token_budget)) = (max_sequences, token_budget) else {
            return Err("the measured server does not say how it batches: nothing is simulated; set \
                        fleet.replica.max_sequences and fleet.replica.token_budget"
                .to_owned());
        };
        let settings = ReplicaSettings {
            max_sequences,
            token_budget: token_budget.max(max_sequences),
            chunked_prefill: true,
            kv_tokens: typed.kv_tokens,
            prefix_cache_tokens: typed.prefix_cache_tokens,
        };
        Ok(Self { fit, settings })
    }

    /// A fleet of these.
    pub fn fleet(&self, replicas: u32, slo: &Slo) -> Scenario {
        Scenario::fixed(self.fit.model, self.settings, replicas, slo.clone())
    }

    /// Requests per second completed flat out: `count` requests at once.
    ///
    /// # Errors
    /// Where the settings make no sense.
    pub fn saturated_per_second(
        &self,
        workload: &Workload,
        slo: &Slo,
        count: u32,
    ) -> Result<f64, SimulationError> {
        let drawn = poisson(workload, 1.0, f64::INFINITY, u64::from(count), SEED)?;
        let outcome = simulate(&self.fleet(1, slo), drawn.map(|r| Request { at_seconds: 0.0, ..r }))?;
        Ok(outcome.completed as f64 / outcome.horizon_seconds.max(f64::MIN_POSITIVE))
    }

    /// `count` Poisson requests on a fleet, the first tenth not counted.
    ///
    /// # Errors
    /// Where the settings make no sense.
    pub fn at_rate(
        &self,
        replicas: u32,
        workload: &Workload,
        slo: &Slo,
        rate: f64,
        count: u64,
    ) -> Result<Outcome, SimulationError> {
        let scenario = Scenario { warmup_seconds: 0.1 * count as f64 / rate, ..self.fleet(replicas, slo) };
        simulate(&scenario, poisson(workload, rate, f64::INFINITY, count, SEED)?)
    }
}

/// Poisson requests.
pub(crate) fn poisson(
    workload: &Workload,
    rate: f64,
    until: f64,
    count: u64,
    seed: u64,
) -> Result<Arrivals, SimulationError> {
    Arrivals::new(workload, RateProfile::Constant(rate), Gaps::Exponential, until, count, seed)
}

/// A quantile in seconds; `None` of nothing, and where the rank falls among failures.
pub(crate) fn quantile(series: &LatencySeries, q: f64) -> Option<f64> {
    series.quantile(q).and_then(Quantile::finite).map(|d| d.as_secs_f64())
}

/// Whether a share within the SLO is enough.
pub(crate) fn meets(goodput: Option<Fraction>, slo: &Slo) -> bool {
    goodput.is_some_and(|share| share >= slo.attainment)
}
