//! Erlang C and Engset against programs that nobody here wrote (`scripts/oracles/queues.py`).

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

use breakeven_planner::queueing::{
    engset::engset_blocking,
    erlang::{Mmc, erlang_c},
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Oracle {
    erlang: Vec<ErlangCase>,
    engset: Vec<EngsetCase>,
}

#[derive(Deserialize)]
struct ErlangCase {
    servers: u32,
    load: f64,
    waiting_probability: f64,
    service_level: f64,
}

#[derive(Deserialize)]
struct EngsetCase {
    users: u32,
    servers: u32,
    load_per_idle_user: f64,
    blocking: f64,
}

fn oracle() -> Oracle {
    serde_json::from_str(include_str!("oracles/queues.json")).unwrap()
}

#[test]
fn erlang_c_is_pyworkforce_s_to_1e_9() {
    for case in oracle().erlang {
        let ours = erlang_c(case.servers, case.load).unwrap();
        assert!(
            (ours - case.waiting_probability).abs() < 1e-9,
            "{} servers, {} Erlang: {ours}",
            case.servers,
            case.load
        );
        let level = 1.0 - Mmc::new(case.servers, case.load, 1.0).unwrap().waits_longer_than(0.25);
        assert!(
            (level - case.service_level).abs() < 1e-9,
            "{} servers, {} Erlang: {level}",
            case.servers,
            case.load
        );
    }
}

#[test]
fn erlang_c_is_the_value_pyworkforce_prints_in_its_documentation() {
    let published = 0.174_131_933_595_049_8;
    assert!((erlang_c(14, 10.0).unwrap() - published).abs() < 1e-12);
}

#[test]
fn engset_is_fast_engset_s_to_1e_9() {
    for case in oracle().engset {
        let ours = engset_blocking(case.users, case.servers, case.load_per_idle_user).unwrap();
        assert!(
            (ours - case.blocking).abs() < 1e-9,
            "{} users, {} servers: {ours}",
            case.users,
            case.servers
        );
    }
}
