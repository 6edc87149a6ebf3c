//! Small measurements built by hand.

use std::time::Duration;

use breakeven_hardware::{Bytes, Machine, machine::Cpu};
use breakeven_measurement::{
    FailureCause, Fraction, LevelName, LevelResult, LoadResult, Measurement, RequestRate, Segment, Shard,
    Slo, Validity, Workload,
    level::{ArrivalProcess, Rates, Resources, SegmentResult},
    run::{FORMAT, Status, Target},
    workload::Lengths,
};

/// One arrival's fate: its segment, and its TTFT in nanoseconds where it completed.
pub(crate) type Fate = (usize, Option<u64>);

pub(crate) fn workload() -> Workload {
    let segment = |name: &str| Segment {
        name: name.to_owned(),
        weight: 1.0,
        input_tokens: Lengths::constant(10).unwrap(),
        output_tokens: Lengths::constant(5).unwrap(),
        shared_prefix: Fraction::ZERO,
        prefix_pool: 1,
        text: breakeven_measurement::PromptText::default(),
        session: None,
    };
    Workload { segments: vec![segment("happy path"), segment("edge case")] }
}

pub(crate) fn slo() -> Slo {
    Slo {
        ttft: Some(Duration::from_millis(500)),
        tpot: None,
        e2e: None,
        attainment: Fraction::new(0.9).unwrap(),
    }
}

fn add(load: &mut LoadResult, ttft: Option<u64>) {
    load.scheduled += 1;
    load.send_lag.record(Duration::from_micros(20));
    if let Some(ttft) = ttft.map(Duration::from_nanos) {
        load.completed += 1;
        load.within_slo += u64::from(ttft <= Duration::from_millis(500));
        load.input_tokens.0 += 10;
        load.output_tokens.0 += 5;
        load.ttft.record(ttft);
        load.service_ttft.record(ttft);
        load.e2e.record(ttft * 2);
        load.tpot.record(ttft / 4);
        load.chunk_gap.record(ttft / 4);
    } else {
        *load.failures.entry(FailureCause::Timeout).or_default() += 1;
        load.ttft.record_infinite();
        load.service_ttft.record_infinite();
        load.e2e.record_infinite();
    }
}

pub(crate) fn level(name: LevelName, rate: f64, fates: impl Iterator<Item = Fate>) -> LevelResult {
    let mut overall = LoadResult::default();
    let mut segments: Vec<_> = workload()
        .segments
        .iter()
        .map(|s| SegmentResult { name: s.name.clone(), load: LoadResult::default() })
        .collect();
    for (segment, ttft) in fates {
        add(&mut overall, ttft);
        if let Some(of_segment) = segments.get_mut(segment) {
            add(&mut of_segment.load, ttft);
        }
    }
    let window = Duration::from_secs(9);
    LevelResult {
        headlines: Vec::new(),
        name,
        arrivals: ArrivalProcess::Poisson,
        target_rate: RequestRate::new(rate).unwrap(),
        warmup: Duration::from_secs(1),
        window,
        rates: Rates::over(&overall, window),
        overall,
        segments,
        resources: Resources::default(),
        validity: Validity::from(vec![]),
    }
}

pub(crate) fn measurement(run_id: &str, shard: Option<Shard>, levels: Vec<LevelResult>) -> Measurement {
    let cpu = Cpu {
        model: "Test CPU".to_owned(),
        physical_cores: None,
        logical_cores: 2,
        simd: vec![],
        last_level_cache: None,
        caches: vec![],
        numa_nodes: None,
        governor: None,
    };
    Measurement {
        format: FORMAT.to_owned(),
        run_id: run_id.to_owned(),
        started: "2026-11-23T12:00:00Z".parse().unwrap(),
        breakeven_version: "0.1.0".to_owned(),
        status: Status::Complete,
        machine: Machine {
            cpu,
            memory: Bytes(1 << 30),
            gpus: vec![],
            os: "Linux".to_owned(),
            hypervisor: None,
            container: None,
        },
        model: None,
        target: Target::Endpoint { url: "http://127.0.0.1:8000/v1".to_owned(), model: "m".to_owned() },
        workload: workload(),
        slo: slo(),
        seed: 7,
        shard,
        sweep: vec![],
        steps: None,
        repeats: None,
        imported: None,
        self_check: None,
        merged_from: vec![],
        search: None,
        levels,
    }
}
