//! A plan with every feature a report shows; no measurement behind it.

use std::time::Duration;

use breakeven_hardware::Usd;
use breakeven_measurement::{Fraction, LevelName, RequestRate, Slo, Verdict};
use breakeven_planner::plan::decision_plan::{
    BreakEvenSpread, CostSpread, Flip, InformationValue, OptionOdds, Spread, TornadoBar, Uncertainty,
    VolumeSpread,
};
use breakeven_planner::plan::*;

pub(crate) fn usd(text: &str) -> Usd {
    Usd(text.parse().unwrap())
}

fn share(value: f64) -> Fraction {
    Fraction::new(value).unwrap()
}

fn rate(value: f64) -> RequestRate {
    RequestRate::new(value).unwrap()
}

fn sheet(row: &str) -> Provenance {
    Provenance::PriceSheet {
        row: row.to_owned(),
        source: "https://prices.example/list".to_owned(),
        date: Some("2026-10-01".parse().unwrap()),
        stale: false,
    }
}

fn assumed(path: &str) -> Provenance {
    Provenance::Assumption { path: path.to_owned(), note: Some("typed".to_owned()) }
}

fn bill(inference: &str, support: &str, price: &Provenance) -> Vec<CostLine> {
    let line = |line| {
        let (usd_per_month, from) = match line {
            LineItem::Inference => (
                usd(inference),
                Provenance::Computed {
                    formula: "hours × price".to_owned(),
                    inputs: vec![
                        Input { name: "hours".into(), value: "730".into(), from: assumed("fleet.hours") },
                        Input { name: "price".into(), value: "$0.20/h".into(), from: price.clone() },
                    ],
                },
            ),
            LineItem::Support => (usd(support), assumed("costs.support")),
            _ => (Usd::ZERO, assumed("costs")),
        };
        CostLine { line, usd_per_month, from }
    };
    LineItem::ALL.into_iter().map(line).collect()
}

fn api(id: &str, name: &str, inference: &str, total: &str, infeasible: Option<&str>) -> OptionPlan {
    OptionPlan {
        id: id.to_owned(),
        name: name.to_owned(),
        kind: OptionKind::Api {
            provider: "prov".to_owned(),
            model: name.to_owned(),
            price_from: sheet(name),
        },
        infeasible: infeasible.map(str::to_owned),
        lines: bill(inference, "1250", &sheet(name)),
        usd_per_month: usd(total),
        usd_per_request: usd(total).per(500_000.into()).unwrap(),
        success_probability: share(0.94),
        usd_per_successful_outcome: usd(total).per(470_000.into()),
        usd_per_month_interval: None,
        usd_per_busy_hour: None,
        usd_per_million_output_tokens: Some(usd("0.4")),
        unit_economics: Vec::new(),
    }
}

fn level(name: LevelName, offered: f64, achieved: f64, goodput: f64, ttft: f64) -> LevelSummary {
    let overloaded = name == LevelName::Stress;
    LevelSummary {
        headlines: Vec::new(),
        name,
        offered_per_second: offered,
        achieved_per_second: achieved,
        goodput: Some(share(goodput)),
        ttft_p50_seconds: Some(ttft),
        ttft_p95_seconds: if overloaded { None } else { Some(ttft * 2.5) },
        tpot_p50_seconds: Some(0.0312),
        e2e_p50_seconds: Some(1.9),
        e2e_p95_seconds: Some(4.2),
        output_tokens_per_second: achieved * 48.0,
        batch_occupancy: Some(2.5),
        scheduled: 120,
        failed: 0,
        verdict: if overloaded { Verdict::Weak } else { Verdict::Valid },
        findings: if overloaded { vec!["the queue still grew at the end".to_owned()] } else { Vec::new() },
    }
}

fn load_point(source: &str, offered: f64, ttft: f64) -> LoadPoint {
    LoadPoint {
        source: source.to_owned(),
        offered_per_second: offered,
        achieved_per_second: offered.min(1.2),
        goodput: Some(share(if offered > 1.2 { 0.4 } else { 0.99 })),
        ttft_p50_seconds: Some(ttft),
        ttft_p95_seconds: Some(ttft * 2.5),
        tpot_p50_seconds: Some(0.03),
        output_tokens_per_second: offered * 48.0,
    }
}

pub(crate) fn plan() -> Plan {
    let own = sheet("cloud / c7 / on demand");
    let self_host = OptionPlan {
        id: "self_host".to_owned(),
        name: "self-host".to_owned(),
        kind: OptionKind::SelfHost {
            replicas: 2,
            usd_per_replica_hour: usd("0.2"),
            term: "on demand".to_owned(),
            price_from: own.clone(),
        },
        infeasible: None,
        lines: bill("292", "1250", &own),
        usd_per_month: usd("1542"),
        usd_per_request: usd("0.003084"),
        success_probability: share(0.9),
        usd_per_successful_outcome: Some(usd("0.0034266666")),
        usd_per_month_interval: Some((usd("1396"), usd("1688"))),
        usd_per_busy_hour: Some(usd("0.61")),
        usd_per_million_output_tokens: Some(usd("12.1666")),
        unit_economics: Vec::new(),
    };
    Plan {
        format: FORMAT.to_owned(),
        breakeven_version: "0.1.0".to_owned(),
        product: "support bot".to_owned(),
        as_of: "2026-11-23".parse().unwrap(),
        measured: MeasuredSummary {
            run_id: "run-1".to_owned(),
            machine: "2 cores, 8 GB".to_owned(),
            model: "smollm2-135m-instruct Q4_1".to_owned(),
            real_weights: false,
            complete: true,
            slo: "TTFT p95 ≤ 2 s, TPOT p95 ≤ 100 ms".to_owned(),
            slo_limits: Some(Slo {
                ttft: Some(Duration::from_secs(2)),
                tpot: Some(Duration::from_millis(100)),
                e2e: None,
                attainment: share(0.95),
            }),
            levels: vec![
                level(LevelName::Baseline, 0.36, 0.36, 1.0, 0.21),
                level(LevelName::Expected, 0.84, 0.83, 0.981, 0.34),
                level(LevelName::Stress, 1.44, 1.19, 0.412, 3.4),
            ],
        },
        traffic: TrafficSummary {
            requests_per_month: 500_000.0,
            attempts_per_month: 515_000.0,
            asked_per_request: 1.0,
            mean_rate: rate(0.196),
            peak_hour_rate: rate(0.61),
            design_rate: rate(0.92),
            mean_input_tokens: 180.0,
            mean_output_tokens: 48.0,
        },
        scenarios: None,
        horizon: None,
        uncertainty: Some(uncertainty()),
        allocations: Vec::new(),
        fleet: Fleet {
            replica_capacity: Some(ReplicaCapacity {
                rate: rate(1.2),
                low: Some(rate(1.08)),
                high: Some(rate(1.31)),
                basis: Basis::Interpolated,
            }),
            replicas_naive: Some(1),
            replicas: Some(2),
            replicas_lost: 1,
            replicas_by_hour: vec![1; 168],
            headroom: Some(share(0.918)),
            utilization: Some(share(0.082)),
            from: assumed("fleet.replicas"),
        },
        options: vec![
            api("api:prov/nano", "prov nano", "23.75", "1273.75", None),
            self_host,
            api("api:prov/large", "prov large", "12500", "13750", None),
            api("api:prov/short", "prov short", "9.5", "1259.5", Some("context of 128 tokens is below the 180 needed")),
        ],
        break_evens: vec![
            BreakEven {
                api: "api:prov/nano".to_owned(),
                api_name: "prov nano".to_owned(),
                outcome: BreakEvenOutcome::Never { up_to_requests_per_month: 5e8 },
                interval: (None, None),
            },
            BreakEven {
                api: "api:prov/large".to_owned(),
                api_name: "prov large".to_owned(),
                outcome: BreakEvenOutcome::At { requests_per_month: 11_680.0 },
                interval: (Some(10_100.0), Some(12_900.0)),
            },
        ],
        decision: Decision {
            choice: Some("api:prov/nano".to_owned()),
            headline: "Call prov nano: $0.00271 per successful outcome, 21 % less than self-host at 500,000 requests a month."
                .to_owned(),
            would_change: vec![
                "a replica-hour below $0.016".to_owned(),
                "self-host success probability above 0.99".to_owned(),
            ],
        },
        load_curve: vec![
            load_point("probe", 0.2, 0.2),
            load_point("baseline", 0.36, 0.21),
            load_point("expected", 0.84, 0.34),
            load_point("probe", 1.1, 0.9),
            load_point("stress", 1.44, 3.4),
        ],
        cost_curve: (3..9)
            .map(|power| {
                let volume = 10f64.powi(power);
                let cost = |per: f64, fixed: f64| Usd::from_f64(volume * per + fixed).unwrap();
                CostPoint {
                    requests_per_month: volume,
                    usd_per_month: vec![
                        ("api:prov/nano".to_owned(), cost(0.000_047_5, 0.0)),
                        ("self_host".to_owned(), cost(0.0003, 292.0)),
                        ("api:prov/large".to_owned(), cost(0.025, 0.0)),
                        ("api:prov/short".to_owned(), cost(0.000_019, 0.0)),
                    ],
                }
            })
            .collect(),
        fleet_plan: None,
        assumptions: (0..7)
            .map(|index| Assumption {
                path: format!("costs.item_{index}"),
                value: format!("{index} USD"),
                note: (index == 0).then(|| "from the contract".to_owned()),
                default: index > 3,
            })
            .collect(),
        warnings: vec!["the design rate is above the highest valid level".to_owned()],
        cost_basis: None,
        workflow: Vec::new(),
    }
}

/// Odds, a tornado and flips of made-up figures.
fn uncertainty() -> Uncertainty {
    let spread = |mean: f64| Spread {
        p5: mean * 0.8,
        p10: mean * 0.85,
        p50: mean,
        p90: mean * 1.2,
        p95: mean * 1.3,
        mean,
    };
    let option = |id: &str, p_cheapest: f64, usd: f64| OptionOdds {
        id: id.to_owned(),
        p_cheapest,
        available: if p_cheapest > 0.5 { 1.0 } else { 0.9 },
        usd_per_month: Some(spread(usd)),
        usd_per_successful_outcome: Some(spread(usd / 450_000.0)),
    };
    Uncertainty {
        draws: 10_000,
        seed: 1,
        months: 1,
        inputs: Vec::new(),
        options: vec![option("api:prov/nano", 0.93, 1273.75), option("self_host", 0.07, 1542.0)],
        cells: Vec::new(),
        break_even: Some(BreakEvenSpread {
            api: "api:prov/nano".to_owned(),
            draws: 1_000,
            always: 0.0,
            never: 0.04,
            requests_per_month: Some(spread(2_400_000.0)),
            utilization: Some(spread(0.41)),
        }),
        cost_by_volume: vec![CostSpread {
            id: "self_host".to_owned(),
            draws: 250,
            points: (3..9)
                .map(|power| {
                    let usd = 10f64.powi(power) * 0.0003 + 292.0;
                    VolumeSpread {
                        requests_per_month: 10f64.powi(power),
                        p5: usd * 0.8,
                        p50: usd,
                        p95: usd * 1.3,
                    }
                })
                .collect(),
        }],
        tornado: vec![TornadoBar {
            path: "fleet.usd_per_hour".to_owned(),
            low: 0.05,
            high: 0.4,
            usd_per_month_at_low: 1273.75,
            usd_per_month_at_high: 1273.75,
            saves_per_success_at_low: -0.000_12,
            saves_per_success_at_high: 0.0021,
            choice_at_low: "self_host".to_owned(),
            choice_at_high: "api:prov/nano".to_owned(),
        }],
        flips: vec![Flip {
            path: "fleet.usd_per_hour".to_owned(),
            now: 0.2,
            below: Some((0.0161, "self_host".to_owned())),
            above: None,
            looked_at: (0.005, 4.0),
        }],
        measure_next: vec![InformationValue {
            path: "fleet.usd_per_hour".to_owned(),
            usd_per_month: 3.21,
            variance_share: 0.71,
        }],
        left_out: Vec::new(),
    }
}
