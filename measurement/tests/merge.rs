//! Parts of a load add up to the whole, and what does not belong together is refused.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

mod support;

use std::time::Duration;

use breakeven_measurement::{
    Finding, LevelName, Measurement, RequestRate, Shard,
    level::Rates,
    merge::{MergeError, Part, merge},
    run::Status,
};
use proptest::prelude::*;
use support::{Fate, level, measurement};

fn parts(of: &[Measurement]) -> Result<Measurement, MergeError> {
    let names: Vec<String> = (0..of.len()).map(|i| format!("part-{i}.json")).collect();
    let parts: Vec<Part<'_>> =
        of.iter().zip(&names).map(|(measurement, name)| Part { name, measurement }).collect();
    merge(&parts)
}

/// What one shard of a load measures, or the whole load.
fn sent(fates: &[Fate], shard: Option<Shard>) -> Measurement {
    let mine = |i: usize| shard.is_none_or(|shard| shard.sends(i));
    let fates = fates.iter().enumerate().filter(|(i, _)| mine(*i)).map(|(_, fate)| *fate);
    let run = shard.map_or("whole".to_owned(), |shard| format!("run of {shard}"));
    measurement(&run, shard, vec![level(LevelName::Expected, 30.0, fates)])
}

fn shards(fates: &[Fate], of: u32) -> Vec<Measurement> {
    (0..of).map(|i| sent(fates, Some(Shard::new(i, of).unwrap()))).collect()
}

#[test]
fn generators_that_settled_at_different_times_add_up() {
    let fates = [(0, Some(5_000_000)); 90];
    let mut early = sent(&fates, None);
    let mut late = sent(&fates, None);
    (early.seed, late.seed) = (1, 2);
    "other".clone_into(&mut late.run_id);
    // Ten seconds of schedule: warm-up of one second and of four, and as many requests in either window.
    late.levels[0].warmup = Duration::from_secs(4);
    late.levels[0].window = Duration::from_secs(6);
    late.levels[0].rates = Rates::over(&late.levels[0].overall, late.levels[0].window);
    let offered = |m: &Measurement| m.levels[0].rates.unwrap().offered_per_second;
    let sum = offered(&early) + offered(&late);
    let merged = parts(&[early, late]).unwrap();
    // 90 in 9 s and 90 in 6 s are 25 a second together, and not the 20 of 180 in 9 s.
    assert!((offered(&merged) - 25.0).abs() < 1e-9 && (sum - 25.0).abs() < 1e-9, "{}", offered(&merged));
    assert_eq!((merged.levels[0].warmup, merged.levels[0].overall.scheduled), (Duration::from_secs(1), 180));
}

proptest! {
    // Each case adds and writes dozens of histograms; a few cases say as much as many.
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn merged_shards_equal_the_whole(
        fates in prop::collection::vec((0usize..2, prop::option::weighted(0.9, 1u64..2_000_000_000)), 0..120),
        of in 2u32..6,
    ) {
        let whole = sent(&fates, None);
        let merged = parts(&shards(&fates, of)).unwrap();
        prop_assert_eq!(&merged.status, &Status::Complete);
        prop_assert_eq!(merged.merged_from.len(), of as usize);
        // Counts, histograms, windows, rates, segments: to the last bit.
        prop_assert_eq!(&merged.levels, &whole.levels);
        // And through the file, and in any order.
        let read: Vec<Measurement> = shards(&fates, of)
            .iter()
            .rev()
            .map(|m| serde_json::from_str(&serde_json::to_string(m).unwrap()).unwrap())
            .collect();
        prop_assert_eq!(parts(&read).unwrap(), merged);
    }

    #[test]
    fn merging_in_steps_is_merging_at_once(
        fates in prop::collection::vec((0usize..2, prop::option::weighted(0.9, 1u64..2_000_000_000)), 0..60),
    ) {
        let shards = shards(&fates, 4);
        let (left, right) = (parts(&shards[..2]).unwrap(), parts(&shards[2..]).unwrap());
        prop_assert_ne!(&left.status, &Status::Complete);
        prop_assert_eq!(parts(&[left, right]).unwrap(), parts(&shards).unwrap());
    }
}

const FATES: [Fate; 4] = [(0, Some(1_000_000)), (1, None), (0, Some(2_000_000)), (1, Some(3_000_000))];

#[test]
fn a_missing_shard_leaves_the_merge_incomplete() {
    let mut three = shards(&FATES, 4);
    three.remove(2);
    let merged = parts(&three).unwrap();
    assert_eq!(merged.status, Status::Incomplete { reason: "shards 2 of 4 are missing".to_owned() });
    assert_eq!(merged.levels[0].overall.scheduled, 3);
}

#[test]
fn what_does_not_belong_together_is_refused_with_file_and_values() {
    let good = shards(&FATES, 2);
    let refused = |change: &dyn Fn(&mut Measurement)| {
        let mut pair = good.clone();
        change(&mut pair[1]);
        parts(&pair).unwrap_err().to_string()
    };
    let slo = refused(&|m| m.slo.ttft = Some(Duration::from_secs(9)));
    assert!(slo.starts_with("`part-0.json` and `part-1.json` differ in SLO: "), "{slo}");
    assert!(refused(&|m| m.workload.segments[1].weight = 2.0).contains("differ in workload, segment 2: "));
    let model = refused(&|m| {
        m.model = Some(serde_json::from_str(include_str!("fixtures/model.json")).unwrap());
    });
    assert!(
        model.contains("differ in model: none named against tiny Q4_1 with weights 0123456789ab;"),
        "{model}"
    );
    assert!(refused(&|m| m.seed = 8).contains("differ in seed: 7 against 8;"));
    assert!(
        refused(&|m| m.levels[0].target_rate = RequestRate::new(31.0).unwrap())
            .contains("rate of level expected")
    );
    assert!(refused(&|m| m.levels.clear()).contains("differ in levels: expected against ;"));
    assert_eq!(
        refused(&|m| m.shard = good[0].shard),
        "shard 0/2 is in `part-0.json` and in `part-1.json`: its requests would count twice"
    );
    assert!(refused(&|m| m.shard = None).contains("differ in sharding: a shard of 2 against whole;"));
    assert!(matches!(parts(&good[..1]), Err(MergeError::TooFew(1))));
}

#[test]
fn whole_generators_with_their_own_seeds_add_their_rates() {
    let mut pair = [sent(&FATES, None), sent(&FATES, None)];
    pair[1].run_id = "another".to_owned();
    assert!(parts(&pair).unwrap_err().to_string().starts_with("seed 7 is in"), "the same schedule twice");
    pair[1].seed = 8;
    let merged = parts(&pair).unwrap();
    assert!((merged.levels[0].target_rate.per_second() - 60.0).abs() < 1e-12);
    assert_eq!(merged.levels[0].overall.scheduled, 8);
}

#[test]
fn findings_are_judged_anew_where_counts_decide() {
    let mut pair = shards(&FATES, 2);
    let few = |samples, needed| Finding::TooFewSamples { quantile: 0.95, samples, needed };
    pair[0].levels[0].validity = vec![few(2, 3), Finding::ArrivalsMissed { missed: 1 }].into();
    pair[1].levels[0].validity = vec![few(2, 3), Finding::ArrivalsMissed { missed: 4 }].into();
    let merged = parts(&pair).unwrap();
    // Two and two are four, which is enough; the missed arrivals add up.
    assert_eq!(merged.levels[0].validity.findings, vec![Finding::ArrivalsMissed { missed: 5 }]);
}

#[test]
fn generators_that_did_not_run_together_say_so() {
    let mut pair = shards(&FATES, 2);
    pair[1].started = "2026-11-23T12:00:05Z".parse().unwrap();
    let text = parts(&pair).unwrap().levels[0].validity.findings[0].to_string();
    assert!(text.starts_with("the generators started 5.0 s apart, warm-up is 1.0 s"), "{text}");
    pair[1].started = "2026-11-23T13:00:00Z".parse().unwrap();
    let merged = parts(&pair).unwrap();
    assert_eq!(merged.levels[0].validity.verdict, breakeven_measurement::Verdict::Invalid);
}
