//! The simulator against queues that have an exact answer, and against itself.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

use std::time::Duration;

use breakeven_measurement::{Fraction, Quantile, Slo};
use breakeven_planner::{
    queueing::{erlang::Mmc, kimura::Mgc},
    simulator::{
        Autoscaler, Failure, Outcome, Prefix, ReplicaSettings, Request, Router, ScaleOn, Scenario, simulate,
    },
    step_model::StepModel,
};
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp1, Gamma, LogNormal};

fn slo() -> Slo {
    let attainment = Fraction::new(0.9).unwrap();
    Slo { ttft: Some(Duration::from_secs(1)), tpot: None, e2e: None, attainment }
}

fn replica(max_sequences: u32, token_budget: u32) -> ReplicaSettings {
    ReplicaSettings {
        max_sequences,
        token_budget,
        chunked_prefill: true,
        kv_tokens: None,
        prefix_cache_tokens: 0,
    }
}

/// Service as long as its answer: every step takes a millisecond, whatever is in it.
const STEP: f64 = 1e-3;

/// `slots` servers with one queue: one replica whose steps take the same time whatever is in them.
fn slots(slots: u32) -> Scenario {
    let step = StepModel::new(STEP, 0.0, 0.0, 0.0).unwrap();
    Scenario { warmup_seconds: 200.0, ..Scenario::fixed(step, replica(slots, 1_000_000), 1, slo()) }
}

#[derive(Debug, Clone, Copy)]
enum Service {
    Constant,
    Gamma(f64),
    Exponential,
    LogNormal(f64),
}

impl Service {
    fn scv(self) -> f64 {
        match self {
            Self::Constant => 0.0,
            Self::Gamma(scv) | Self::LogNormal(scv) => scv,
            Self::Exponential => 1.0,
        }
    }

    fn draw(self, rng: &mut ChaCha8Rng) -> f64 {
        match self {
            Self::Constant => 1.0,
            Self::Gamma(scv) => Gamma::new(1.0 / scv, scv).unwrap().sample(rng),
            Self::Exponential => Exp1.sample(rng),
            Self::LogNormal(scv) => {
                let variance = (1.0 + scv).ln();
                LogNormal::new(-variance / 2.0, variance.sqrt()).unwrap().sample(rng)
            }
        }
    }
}

/// Poisson requests with service of mean one second: 1,000 steps of one token each.
fn requests(rate: f64, count: u32, service: Service, seed: u64) -> Vec<Request> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut now = 0.0;
    (0..count)
        .map(|_| {
            let gap: f64 = Exp1.sample(&mut rng);
            now += gap / rate;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some thousands")]
            let output_tokens = (service.draw(&mut rng) / STEP).round().max(1.0) as u32;
            Request { at_seconds: now, prompt_tokens: 1, output_tokens, prefix: None }
        })
        .collect()
}

fn p(series: &breakeven_measurement::LatencySeries, q: f64) -> f64 {
    series.quantile(q).and_then(Quantile::finite).unwrap().as_secs_f64()
}

fn assert_little(outcome: &Outcome) {
    assert!(outcome.little_gap < 1e-9, "L and λW differ by {}", outcome.little_gap);
}

/// Mean wait over several seeds, and the standard error of that mean.
fn mean_wait(scenario: &Scenario, rate: f64, service: Service) -> (f64, f64) {
    let waits: Vec<f64> = (0..8)
        .map(|seed| {
            let outcome = simulate(scenario, requests(rate, 100_000, service, seed)).unwrap();
            assert_little(&outcome);
            // Arrivals wait for the step in progress: half a step on average, which no queue has.
            outcome.mean_wait_seconds.unwrap()
        })
        .collect();
    let n = waits.len() as f64;
    let mean = waits.iter().sum::<f64>() / n;
    let variance = waits.iter().map(|w| (w - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}

fn assert_near(name: &str, (mean, error): (f64, f64), exact: f64) {
    // Four standard errors, and the step that a request may wait for.
    assert!((mean - exact).abs() < 4.0 * error + STEP, "{name}: {mean} ± {error}, exactly {exact}");
    assert!(error < 0.05 * exact + STEP, "{name}: too noisy to say anything: {error} of {exact}");
}

#[test]
fn one_slot_and_exponential_service_is_m_m_1() {
    for rho in [0.5, 0.8] {
        let exact = rho / (1.0 - rho);
        assert_near("M/M/1", mean_wait(&slots(1), rho, Service::Exponential), exact);
    }
}

#[test]
fn one_slot_and_constant_service_is_m_d_1() {
    for rho in [0.5, 0.8] {
        // Pollaczek–Khinchine.
        let exact = rho / (2.0 * (1.0 - rho));
        assert_near("M/D/1", mean_wait(&slots(1), rho, Service::Constant), exact);
    }
}

#[test]
fn several_slots_and_exponential_service_are_m_m_c() {
    for (c, rho) in [(4, 0.7), (8, 0.85)] {
        let rate = rho * f64::from(c);
        let exact = Mmc::new(c, rate, 1.0).unwrap();
        assert_near("M/M/c", mean_wait(&slots(c), rate, Service::Exponential), exact.mean_wait_seconds);
        let outcome = simulate(&slots(c), requests(rate, 400_000, Service::Exponential, 99)).unwrap();
        let beyond = exact.waits_longer_than(p(&outcome.wait, 0.95));
        assert!((beyond - 0.05).abs() < 0.006, "{c} slots: {beyond} of arrivals wait longer than the p95");
    }
}

#[test]
fn kimura_is_within_a_tenth_of_the_simulated_p95_wait() {
    let services = [
        Service::Constant,
        Service::Gamma(0.5),
        Service::Exponential,
        Service::LogNormal(1.0),
        Service::Gamma(2.0),
    ];
    for c in [4, 16] {
        for rho in [0.7, 0.85] {
            for service in services {
                let rate = rho * f64::from(c);
                let outcome = simulate(&slots(c), requests(rate, 600_000, service, 6)).unwrap();
                assert_little(&outcome);
                let seen = p(&outcome.wait, 0.95);
                let kimura = Mgc::new(c, rate, 1.0, service.scv()).unwrap();
                let kimura = kimura.wait_quantile_seconds(0.95).unwrap();
                assert!(
                    (kimura / seen - 1.0).abs() < 0.10,
                    "{c} slots, {rho}, {service:?}: {kimura} for {seen}"
                );
            }
        }
    }
}

/// A step model with all four parts, and prompts and answers of many lengths.
fn realistic(count: u32, rate: f64, seed: u64) -> Vec<Request> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut now = 0.0;
    (0..count)
        .map(|_| {
            let gap: f64 = Exp1.sample(&mut rng);
            now += gap / rate;
            Request {
                at_seconds: now,
                prompt_tokens: rng.random_range(1..600),
                output_tokens: rng.random_range(1..120),
                prefix: rng
                    .random_bool(0.5)
                    .then(|| Prefix { id: rng.random_range(0..12), tokens: rng.random_range(16..300) }),
            }
        })
        .collect()
}

fn engine() -> StepModel {
    StepModel::new(4e-3, 1e-4, 5e-4, 2e-7).unwrap()
}

fn fleet(replicas: u32) -> Scenario {
    Scenario::fixed(engine(), replica(16, 128), replicas, slo())
}

#[test]
fn skipping_ahead_changes_nothing() {
    // Worked token by token by hand: prompts of 3 and 2, answers of 4 and 2, budget 2 and two slots; 1 s a step, plus 0.1 s a
    // token of context. Step 1: 2 of the first prompt (context 2). Step 2: its last token and 1 of the second prompt
    // (3 + 1). Step 3: decode (4 + ...).
    let step = StepModel::new(1.0, 0.0, 0.0, 0.1).unwrap();
    let scenario = Scenario::fixed(step, replica(2, 2), 1, slo());
    let request = |at_seconds, prompt_tokens, output_tokens| Request {
        at_seconds,
        prompt_tokens,
        output_tokens,
        prefix: None,
    };
    let outcome = simulate(&scenario, [request(0.0, 3, 4), request(0.5, 2, 2)]).unwrap();
    // 1: context 2, 1.2 s. 2: 3 and 1, 1.4 s, first token of A at 2.6. 3: A decodes (4) and B's last prompt token (2): 1.6 s,
    // first token of B at 4.2. 4: A 5, B 3: 1.8 s, B done at 6.0. 5: A 6: 1.6 s, done at 7.6.
    assert_eq!((outcome.completed, outcome.steps), (2, 5));
    assert!((outcome.horizon_seconds - 7.6).abs() < 1e-9, "{}", outcome.horizon_seconds);
    assert!((outcome.mean_e2e_seconds.unwrap() - f64::midpoint(7.6, 5.5)).abs() < 1e-9);
    assert!((p(&outcome.ttft, 0.5) - 2.6).abs() < 3e-3 && (p(&outcome.ttft, 1.0) - 3.7).abs() < 4e-3);
}

#[test]
fn the_same_requests_give_the_same_outcome() {
    let scenario = Scenario { timeline_seconds: Some(60.0), ..fleet(3) };
    let once = simulate(&scenario, realistic(5_000, 12.0, 1)).unwrap();
    assert_eq!(once, simulate(&scenario, realistic(5_000, 12.0, 1)).unwrap());
    assert_ne!(once, simulate(&scenario, realistic(5_000, 12.0, 2)).unwrap());
    assert_eq!(once.timeline.iter().map(|point| point.requests).sum::<u64>(), 5_000);
}

#[test]
fn a_tight_kv_memory_preempts_and_still_answers_everyone() {
    let mut scenario = fleet(1);
    scenario.replica.kv_tokens = Some(900);
    let outcome = simulate(&scenario, realistic(3_000, 3.0, 4)).unwrap();
    assert_little(&outcome);
    assert!(outcome.preemptions > 0, "900 tokens for sixteen sequences must preempt");
    assert_eq!((outcome.completed, outcome.refused), (3_000, 0));
    let roomy = simulate(&fleet(1), realistic(3_000, 3.0, 4)).unwrap();
    assert!(p(&outcome.e2e, 0.95) > p(&roomy.e2e, 0.95));
    scenario.replica.kv_tokens = Some(300);
    let small = simulate(&scenario, realistic(3_000, 0.5, 4)).unwrap();
    assert!(small.refused > 0 && small.completed + small.refused == 3_000);
    assert_eq!(small.ttft.infinite(), small.refused, "a refused request is infinitely slow");
}

#[test]
fn a_prefix_cache_saves_prefill_and_affinity_saves_more() {
    let mut scenario = fleet(4);
    scenario.router = Router::RoundRobin;
    let without = simulate(&scenario, realistic(4_000, 20.0, 6)).unwrap();
    scenario.replica.prefix_cache_tokens = 700;
    let with = simulate(&scenario, realistic(4_000, 20.0, 6)).unwrap();
    scenario.router = Router::PrefixAffine;
    let affine = simulate(&scenario, realistic(4_000, 20.0, 6)).unwrap();
    assert_eq!(without.cached_tokens, 0);
    assert!(with.cached_tokens > 0 && affine.cached_tokens > with.cached_tokens * 3 / 2);
    assert!(with.mean_e2e_seconds < without.mean_e2e_seconds);
}

#[test]
fn the_least_loaded_replica_is_a_better_choice_than_the_next() {
    let mut scenario = fleet(4);
    let least = simulate(&scenario, realistic(20_000, 26.0, 8)).unwrap();
    scenario.router = Router::RoundRobin;
    let turns = simulate(&scenario, realistic(20_000, 26.0, 8)).unwrap();
    // Counting requests looks at all of a request's life, not at its first token.
    assert!(least.mean_e2e_seconds < turns.mean_e2e_seconds);
}

#[test]
fn whole_prompts_stall_decoding_where_chunks_do_not() {
    let requests: Vec<Request> = (0..400)
        .map(|i| Request {
            at_seconds: f64::from(i) * 0.6,
            prompt_tokens: if i % 5 == 0 { 3_000 } else { 20 },
            output_tokens: 60,
            prefix: None,
        })
        .collect();
    let chunked = simulate(&fleet(1), requests.clone()).unwrap();
    let mut scenario = fleet(1);
    scenario.replica.chunked_prefill = false;
    let whole = simulate(&scenario, requests).unwrap();
    assert_little(&whole);
    assert_eq!(whole.completed, 400);
    assert!(whole.steps < chunked.steps);
    assert!(p(&whole.ttft, 0.95) < p(&chunked.ttft, 0.95), "prompts first: they answer sooner");
}

#[test]
fn a_lost_replica_slows_and_everyone_is_answered() {
    let requests = realistic(6_000, 20.0, 9);
    let calm = simulate(&fleet(3), requests.clone()).unwrap();
    let mut scenario = fleet(3);
    scenario.timeline_seconds = Some(30.0);
    scenario.cold_start_seconds = 20.0;
    scenario.failures = vec![Failure { replica: 1, at_seconds: 60.0, down_seconds: 40.0 }];
    let outcome = simulate(&scenario, requests.clone()).unwrap();
    assert_little(&outcome);
    assert!(outcome.rerouted > 0 && outcome.completed == 6_000);
    assert!(p(&outcome.ttft, 0.99) > p(&calm.ttft, 0.99));
    // Down from 60 to 120 s: two of three serve in the points from 60 and 90 s.
    let ready: Vec<f64> = outcome.timeline.iter().map(|point| point.mean_ready).collect();
    assert!((ready[1] - 3.0).abs() < 1e-9 && (ready[2] - 2.0).abs() < 1e-9, "{ready:?}");
    assert!((ready[3] - 2.0).abs() < 1e-9 && (ready[4] - 3.0).abs() < 1e-9, "{ready:?}");
    scenario.failures =
        (0..3).map(|replica| Failure { replica, at_seconds: 60.0, down_seconds: f64::INFINITY }).collect();
    let dead = simulate(&scenario, requests).unwrap();
    assert!(dead.completed < 6_000 && dead.completed + dead.ttft.infinite() == 6_000);
    assert_eq!(p(&dead.ttft, 0.1).total_cmp(&1e6), std::cmp::Ordering::Less);
    assert_eq!(dead.ttft.quantile(0.99), Some(Quantile::Infinite));
}

#[test]
fn an_autoscaler_follows_the_load_and_costs_less_than_its_peak() {
    // Ten minutes of little, ten of much, ten of little.
    let (mut rng, mut now, mut requests) = (ChaCha8Rng::seed_from_u64(3), 0.0, Vec::new());
    while now < 1_800.0 {
        let rate = if (600.0..1_200.0).contains(&now) { 30.0 } else { 4.0 };
        let gap: f64 = Exp1.sample(&mut rng);
        now += gap / rate;
        requests.push(Request { at_seconds: now, prompt_tokens: 300, output_tokens: 60, prefix: None });
    }
    for on in [ScaleOn::Utilization(0.6), ScaleOn::Concurrency(5.0), ScaleOn::Queue(0.5)] {
        let mut scenario = fleet(1);
        scenario.cold_start_seconds = 45.0;
        scenario.timeline_seconds = Some(300.0);
        scenario.autoscaler =
            Some(Autoscaler { on, every_seconds: 15.0, cool_down_seconds: 120.0, min: 1, max: 8 });
        let outcome = simulate(&scenario, requests.clone()).unwrap();
        assert_little(&outcome);
        assert_eq!(outcome.completed, requests.len() as u64);
        let ready: Vec<f64> = outcome.timeline.iter().map(|point| point.mean_ready).collect();
        assert!(outcome.peak_replicas > 1, "{on:?}: {ready:?}");
        assert!(ready[3] > ready[1] && ready[5] < ready[3], "{on:?}: {ready:?}");
        let always = f64::from(outcome.peak_replicas) * outcome.horizon_seconds / 3_600.0;
        assert!(outcome.replica_hours < 0.9 * always, "{on:?}: {} of {always}", outcome.replica_hours);
    }
}

#[test]
fn nonsense_is_refused_with_what_was_expected() {
    let mut scenario = fleet(1);
    scenario.replica.token_budget = 4;
    let error = simulate(&scenario, []).unwrap_err().to_string();
    assert_eq!(error, "expected the token budget to be at least the number of sequences, found 4");
    let back =
        [5.0, 4.0].map(|at_seconds| Request { at_seconds, prompt_tokens: 1, output_tokens: 1, prefix: None });
    assert!(simulate(&fleet(1), back).is_err());
    assert_eq!(simulate(&fleet(1), []).unwrap().requests, 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn everyone_is_answered_and_little_s_law_holds(
        replicas in 1u32..6, rate in 0.5f64..60.0, seed in any::<u64>(), kv in prop_oneof![Just(None), (750u64..4_000).prop_map(Some)],
        chunked in any::<bool>(), cache in 0u64..2_000, router in 0u8..3, fail_at in prop_oneof![Just(None), (0.0f64..60.0).prop_map(Some)],
    ) {
        let mut scenario = fleet(replicas);
        scenario.replica.kv_tokens = kv;
        scenario.replica.chunked_prefill = chunked;
        scenario.replica.prefix_cache_tokens = cache;
        scenario.router = [Router::RoundRobin, Router::LeastLoaded, Router::PrefixAffine][usize::from(router)];
        scenario.failures = fail_at
            .map(|at_seconds| Failure { replica: 0, at_seconds, down_seconds: 5.0 })
            .into_iter()
            .collect();
        let outcome = simulate(&scenario, realistic(600, rate, seed)).unwrap();
        prop_assert_eq!(outcome.completed, 600);
        prop_assert!(outcome.little_gap < 1e-9, "{}", outcome.little_gap);
        prop_assert!(outcome.mean_batch.unwrap() <= 16.0 + 1e-9);
        let utilization = outcome.utilization.unwrap().get();
        prop_assert!(utilization > 0.0 && utilization <= 1.0);
    }

    #[test]
    fn more_replicas_never_raise_p99(replicas in 1u32..6, rate in 4.0f64..40.0, seed in any::<u64>()) {
        let at = |replicas| {
            let outcome = simulate(&fleet(replicas), realistic(3_000, rate, seed)).unwrap();
            (p(&outcome.ttft, 0.99), p(&outcome.e2e, 0.99))
        };
        let (few, more) = (at(replicas), at(replicas + 1));
        // Beyond noise: a step more, or a hundredth.
        prop_assert!(more.0 <= few.0 * 1.02 + 0.05 && more.1 <= few.1 * 1.02 + 0.05, "{:?} {:?}", few, more);
    }

    #[test]
    fn more_load_never_lowers_p99(replicas in 1u32..5, rate in 4.0f64..30.0, seed in any::<u64>()) {
        let at = |rate| {
            let outcome = simulate(&fleet(replicas), realistic(3_000, rate, seed)).unwrap();
            (p(&outcome.ttft, 0.99), p(&outcome.e2e, 0.99))
        };
        let (less, more) = (at(rate), at(rate * 1.3));
        prop_assert!(more.0 >= less.0 * 0.98 - 0.05 && more.1 >= less.1 * 0.98 - 0.05, "{:?} {:?}", less, more);
    }
}
