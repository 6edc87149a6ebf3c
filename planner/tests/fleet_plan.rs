//! The fleet in the plan: purchase, growth, spikes, losses, and the simulator's part, on measurements made up for it.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

mod support;

use breakeven_hardware::Usd;
use breakeven_measurement::{
    FailureCause, LevelName, Measurement, StepEvidence,
    run::{EngineRecord, Target},
    step_fit::StepRow,
    steps::StepSource,
};
use breakeven_planner::{
    Plan,
    plan::{
        LineItem,
        fleet_plan::{Binding, FleetPlan, PurchaseKind},
    },
};

use support::{measurement, planned, product};

const SUCCESS: &str = "[success]\nprobability = 0.8\n";
/// A week whose working days are four times as busy by day.
const SHAPE: &str = "hour_of_day = [1,1,1,1,1,1,1,1,4,4,4,4,4,4,4,4,4,4,1,1,1,1,1,1]\n";

/// A measurement with a step log of a known model, on an engine of 32 places.
fn with_steps(mut measurement: Measurement) -> Measurement {
    let rows: Vec<StepRow> = (0..400_u32)
        .map(|i| {
            let (prefill_tokens, decoding_sequences) = (f64::from(i % 4) * 30.0, f64::from(i % 9));
            let context_tokens = decoding_sequences * f64::from(100 + i % 13);
            let seconds = 0.004 + 5e-4 * prefill_tokens + 1e-3 * decoding_sequences + 1e-6 * context_tokens;
            StepRow { steps: 1.0, prefill_tokens, decoding_sequences, context_tokens, seconds }
        })
        .collect();
    let levels = vec![LevelName::Baseline, LevelName::Expected];
    measurement.steps = StepEvidence::of(&rows, StepSource::EngineLog, levels);
    measurement.target = Target::Engine(EngineRecord {
        device: "cpu".to_owned(),
        backend: "packed".to_owned(),
        threads: 2,
        max_sequences: 32,
        max_context_tokens: 2_048,
        step_token_budget: 128,
        kv_memory: breakeven_hardware::Bytes::from_gib(4),
        load_seconds: 1.0,
    });
    measurement
}

fn fleet(plan: &Plan) -> &FleetPlan {
    plan.fleet_plan.as_ref().unwrap()
}

#[test]
fn without_new_keys_the_fleet_is_the_old_one_and_sums() {
    let product = product(3_000_000.0, &format!("{SHAPE}{SUCCESS}[fleet]\nusd_per_hour = 1.0\n"));
    let plan = planned(&product, &measurement(&product, 2.0)).unwrap();
    let found = fleet(&plan);
    let by_hour: Vec<u32> = found.hours.iter().map(|h| h.replicas).collect();
    assert_eq!(by_hour, plan.fleet.replicas_by_hour);
    assert_eq!(found.headroom.last().map(|s| s.replicas), plan.fleet.replicas);
    assert!(found.headroom.windows(2).all(|w| w[0].replicas <= w[1].replicas));
    // On demand alone: what the plan's own option costs, to a cent.
    let purchase = found.purchase.as_ref().unwrap();
    let own = plan.options.iter().find(|o| o.id == "self_host").unwrap();
    assert!((purchase.usd_per_month.to_f64() / own.usd_per_month.to_f64() - 1.0).abs() < 1e-6);
    assert_eq!(purchase.layers.iter().map(|l| l.usd_per_month).sum::<Usd>(), purchase.usd_per_month);
    assert!(found.simulation.is_none() && found.notes.iter().any(|n| n.contains("no step model")));
    assert!(!plan.options.iter().any(|o| o.id.starts_with("hybrid")));
}

#[test]
fn the_base_is_reserved_the_peak_rented_and_the_mix_an_option() {
    let extra = format!(
        "{SHAPE}{SUCCESS}[fleet]\nusd_per_hour = 1.0\nreplicas_lost = 0\n[fleet.purchase]\nreserved_1y_usd_per_hour = 0.6\n\
         reserved_3y_usd_per_hour = 0.5\nspot_usd_per_hour = 0.7\n"
    );
    let product = product(30_000_000.0, &extra);
    let plan = planned(&product, &measurement(&product, 2.0)).unwrap();
    let found = fleet(&plan);
    let purchase = found.purchase.as_ref().unwrap();
    let kinds: Vec<PurchaseKind> = purchase.layers.iter().map(|l| l.kind).collect();
    assert_eq!(kinds, [PurchaseKind::Reserved3y, PurchaseKind::OnDemand]);
    assert!(found.notes.iter().any(|n| n.contains("spot_interruptions_per_hour")), "{:?}", found.notes);
    // Longest needed first, reserved up to the price ratio of a half.
    assert!(found.load_duration.windows(2).all(|w| w[0].hours_share >= w[1].hours_share));
    for point in &found.load_duration {
        let reserved = point.hours_share.get() > 0.5;
        assert_eq!(point.bought == Some(PurchaseKind::Reserved3y), reserved, "{point:?}");
    }
    // Never dearer than any way alone.
    for (kind, alone) in &purchase.alone {
        assert!(purchase.usd_per_month <= *alone, "{kind:?}");
    }
    let mix = plan.options.iter().find(|o| o.id == "self_host_mix").unwrap();
    let own = plan.options.iter().find(|o| o.id == "self_host").unwrap();
    assert!(mix.usd_per_month < own.usd_per_month);
    assert_eq!(mix.lines.iter().map(|l| l.usd_per_month).sum::<Usd>(), mix.usd_per_month);
}

#[test]
fn a_hybrid_sends_the_peaks_to_an_api() {
    let extra = format!(
        "{SHAPE}{SUCCESS}[fleet]\nusd_per_hour = 4.0\nreplicas_lost = 1\n[fleet.purchase]\noverflow = true\n[[api]]\nprovider = \
         \"openai\"\nmodel = \"gpt-6-luna\"\nsuccess_probability = 0.9\n"
    );
    let product = product(30_000_000.0, &extra);
    let plan = planned(&product, &measurement(&product, 2.0)).unwrap();
    let hybrid = plan.options.iter().find(|o| o.id.starts_with("hybrid:")).unwrap();
    let own = plan.options.iter().find(|o| o.id == "self_host").unwrap();
    let purchase = fleet(&plan).purchase.as_ref().unwrap();
    assert!(
        purchase.overflow_requests_per_month > 0.0 && purchase.overflow_requests_per_month <= 30_000_000.1
    );
    assert!(hybrid.usd_per_month <= own.usd_per_month);
    let success = hybrid.success_probability.get();
    assert!(success > 0.8 && success <= 0.9 + 1e-9, "{success}");
    assert!(plan.decision.choice.is_some());
}

#[test]
fn growth_spikes_zones_and_surge_are_in_the_fleet() {
    let extra = format!(
        "{SHAPE}[traffic.growth]\nper_month = 0.1\nmonths = 24\n[[traffic.spike]]\nname = \"launch\"\nfactor = 3\nhours = 48\n\
         {SUCCESS}[fleet]\nusd_per_hour = 1.0\n[fleet.capacity]\nzones = 3\nupgrade_surge = 1\nmaximum_utilization = 0.8\n\
         [fleet.purchase]\nreserved_1y_usd_per_hour = 0.6\n"
    );
    let product = product(3_000_000.0, &extra);
    let plan = planned(&product, &measurement(&product, 2.0)).unwrap();
    let found = fleet(&plan);
    assert_eq!(found.months.len(), 24);
    let peaks = (found.months[0].peak_replicas, found.months[23].peak_replicas);
    assert!(peaks.1 > 3 * peaks.0, "1.1^23 is 9, and both round up: {peaks:?}");
    // What is committed for a year is never dearer than by the hour.
    for month in &found.months {
        assert!(month.usd.is_some());
    }
    let total: f64 = found.months.iter().map(|m| m.usd.unwrap().to_f64()).sum();
    let hourly: f64 = found.months.iter().map(|m| m.replica_hours).sum();
    assert!(total < hourly, "{total} {hourly}");
    assert!(
        found.spikes[0].replicas > plan.fleet.replicas.unwrap() && found.spikes[0].usd.unwrap() > Usd::ZERO
    );
    let because: Vec<&str> = found.headroom.iter().map(|s| s.because.as_str()).collect();
    assert!(
        because.contains(&"one of 3 zones lost") && because.contains(&"at most 80 % utilised"),
        "{because:?}"
    );
    assert_eq!(found.headroom.last().map(|s| s.replicas), plan.fleet.replicas);
}

#[test]
fn work_that_can_wait_lowers_the_peak() {
    let with = |share: f64| {
        let extra = format!("{SHAPE}deferrable_share = {share}\n{SUCCESS}[fleet]\nusd_per_hour = 1.0\n");
        let product = product(30_000_000.0, &extra);
        planned(&product, &measurement(&product, 2.0)).unwrap()
    };
    let (all_now, some_later) = (with(0.0), with(0.3));
    assert!(some_later.fleet.replicas < all_now.fleet.replicas);
    let total = |plan: &Plan| fleet(plan).hours.iter().map(|h| h.mean_per_second).sum::<f64>();
    assert!((total(&all_now) / total(&some_later) - 1.0).abs() < 1e-9, "no work is lost");
}

#[test]
fn the_simulator_s_part_is_there_with_a_step_model() {
    let extra = format!(
        "[traffic.repeats]\nafter = \"5 s\"\n{SUCCESS}[fleet]\nusd_per_hour = 1.0\nreplicas_lost = 1\nscale_up_lag = \"2 min\"\n"
    );
    let product = product(20_000_000.0, &extra);
    // 0.05 s of prompt and 0.05 s of answers a request, beside the steps: 7 a second is close to what one carries.
    let measured = with_steps(measurement(&product, 7.0));
    let plan = planned(&product, &measured).unwrap();
    let found = fleet(&plan);
    let check = found.simulation.as_ref().unwrap();
    let capacity = check.capacity_per_second.unwrap();
    assert!((3.0..12.0).contains(&capacity), "{capacity}");
    assert!(check.r_squared > 0.999 && check.fitted_on == ["baseline", "expected"]);
    assert_eq!(check.levels.iter().filter(|l| l.seen_by_fit).count(), 2);
    assert_eq!(check.levels.len(), 3);
    assert!(matches!(
        check.binds,
        Some(Binding::Compute | Binding::QueueingVariance | Binding::MemoryBandwidth)
    ));
    let loss = found.replica_loss.as_ref().unwrap();
    assert_eq!(Some(loss.replicas), plan.fleet.replicas);
    assert!(loss.goodput_before.unwrap() >= loss.goodput_during.unwrap());
    assert!(loss.goodput_without_spares.unwrap() <= loss.goodput_during.unwrap());
    assert!(loss.timeline.iter().any(|m| m.ready < f64::from(loss.replicas) - 0.5), "it is seen to be down");
    assert!(loss.spare_usd_per_month.unwrap() > Usd::ZERO);
    let scaling = found.autoscaling.as_ref().unwrap();
    assert!(scaling.requests_in_flight_per_replica >= 1.0 && scaling.tried.len() == 5);
    assert!(
        scaling.minimum_replicas <= scaling.maximum_replicas && scaling.prewarm.is_empty(),
        "a flat week"
    );
    let retries = found.retries.as_ref().unwrap();
    assert!(retries.unstable_above_per_second > retries.demand_per_second);
    assert!(retries.attempts_per_second.unwrap() >= retries.demand_per_second * 0.999);
    // The same inputs, the same plan.
    assert!(planned(&product, &measured).unwrap() == plan);
    let text = serde_json::to_string(&plan).unwrap();
    let read = serde_json::from_str::<Plan>(&text).unwrap().fleet_plan.unwrap();
    assert_eq!(read.replica_loss.unwrap().timeline.len(), loss.timeline.len());
}

#[test]
fn the_simulator_is_asked_for_attempts() {
    let product = product(26_298_000.0, &format!("{SHAPE}{SUCCESS}[fleet]\nusd_per_hour = 1.0\n"));
    let once = with_steps(measurement(&product, 4.0));
    let mut retried = once.clone();
    for level in &mut retried.levels {
        level.overall.retries = [(FailureCause::ServerError, 100)].into();
    }
    let (once, retried) = (planned(&product, &once).unwrap(), planned(&product, &retried).unwrap());
    // 100 retries of 200 requests. The fleet's hours count requests with them, as the capacity does.
    let ramp = |plan: &Plan| fleet(plan).autoscaling.as_ref().unwrap().ramp_per_second;
    let per_hour = fleet(&retried).hours.iter().map(|h| h.mean_per_second);
    let (low, high) = (per_hour.clone().fold(f64::INFINITY, f64::min), per_hour.fold(0.0, f64::max));
    let (from, to) = ramp(&retried);
    assert!((from / (1.5 * low) - 1.0).abs() < 1e-9 && (to / (1.5 * high) - 1.0).abs() < 1e-9, "{from} {to}");
    assert!((ramp(&once).1 / high - 1.0).abs() < 1e-9);
    // A measured level carried its retries too, and what it completed is requests.
    let figure = |plan: &Plan, name: &str| {
        let simulation = fleet(plan).simulation.clone().unwrap();
        let level = simulation.levels.into_iter().find(|level| level.level == "expected").unwrap();
        level.figures.into_iter().find(|figure| figure.name == name).unwrap().simulated.unwrap()
    };
    let (calm, busy) = (figure(&once, "TTFT p50"), figure(&retried, "TTFT p50"));
    assert!(busy > calm * 1.05, "{calm} {busy}");
    let (calm, busy) = (figure(&once, "completed per second"), figure(&retried, "completed per second"));
    assert!((busy / calm - 1.0).abs() < 0.1, "{calm} {busy}");
}

#[test]
fn a_server_that_does_not_say_how_it_batches_is_asked_for_in_words() {
    let product = product(1_000_000.0, &format!("{SUCCESS}[fleet]\nusd_per_hour = 1.0\n"));
    let mut measured = with_steps(measurement(&product, 5.0));
    measured.target = Target::Mock;
    let plan = planned(&product, &measured).unwrap();
    assert!(fleet(&plan).notes.iter().any(|n| n.contains("fleet.replica.max_sequences")));
}

#[test]
fn tighter_targets_cost_more_and_pay_by_those_who_stay() {
    let latency = "[latency]\ntimes = [4, 0.4]\nabandonment = [{ after = \"200 ms\", share = 0 }, { after = \"1 s\", share = 0.5 }]\n";
    let product = |latency: &str| {
        let text = format!(
            "[success]\nprobability = 0.8\nvalue_usd_per_success = 0.02\n[fleet]\nusd_per_hour = 1.0\nreplicas_lost = 0\n{latency}"
        );
        product(30_000_000.0, &text)
    };
    let of = |text: &str| {
        let product = product(text);
        planned(&product, &with_steps(measurement(&product, 2.0))).unwrap()
    };
    let plan = of(latency);
    let frontier = fleet(&plan).latency.as_ref().unwrap();
    let [loose, slo, tight] = frontier.points.as_slice() else { panic!("{frontier:?}") };
    // The SLO itself is the plan's own bill, but for what was lost to the measured waits: what is lost under each target stands beside it.
    let own = plan.options.iter().find(|o| o.id == "self_host").unwrap();
    let measured = own.lines.iter().find(|line| line.line == LineItem::CostOfLatency).unwrap();
    assert_eq!(slo.usd_per_month, Some(own.usd_per_month - measured.usd_per_month));
    assert!((slo.capacity_per_second.unwrap() / 2.0 - 1.0).abs() < 1e-9);
    assert!(
        (slo.ttft_seconds.unwrap() - 1.0).abs() < 1e-12 && (tight.ttft_seconds.unwrap() - 0.4).abs() < 1e-12
    );
    // Tighter targets let less through, and cost what a plan with that capacity costs.
    for (before, after) in [(loose, slo), (slo, tight)] {
        assert!(before.capacity_per_second >= after.capacity_per_second);
        assert_eq!(after.usd_more, Some(after.usd_per_month.unwrap() - before.usd_per_month.unwrap()));
        assert!(after.usd_more.unwrap() >= Usd::ZERO && before.abandoned >= after.abandoned);
        let total = |point: &breakeven_planner::plan::fleet_plan::FrontierPoint| point.with_lost().unwrap();
        assert_eq!(after.pays, Some(total(after) < total(before)));
    }
    let other = product("");
    let exact =
        planned(&other, &with_steps(measurement(&other, tight.capacity_per_second.unwrap()))).unwrap();
    let exact = exact.options.iter().find(|o| o.id == "self_host").unwrap().usd_per_month;
    assert_eq!(tight.usd_per_month, Some(exact));
    // 30 million requests of which 0.8 succeed, at USD 0.02.
    let lost = 30e6 * slo.abandoned.unwrap() * 0.8 * 0.02;
    assert!((slo.lost_usd_per_month.unwrap().to_f64() - lost).abs() < 1e-6 * lost.max(1.0));
    assert!(fleet(&of("")).latency.is_none());
    // Everybody who waits at all leaves in the same share: it decides nothing.
    let flat = of("[latency]\ntimes = [0.4]\nabandonment = [{ after = \"1 us\", share = 0.1 }]\n");
    for point in &fleet(&flat).latency.as_ref().unwrap().points {
        assert!((point.abandoned.unwrap() - 0.1).abs() < 1e-9);
        assert!((point.lost_usd_per_month.unwrap().to_f64() - 30e6 * 0.1 * 0.8 * 0.02).abs() < 1e-3);
        assert!(point.pays != Some(true));
    }
}
