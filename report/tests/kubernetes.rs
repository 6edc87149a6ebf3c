//! Manifests of a plan: golden, read back as YAML, and held against the published schemas.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

mod support;

use breakeven_measurement::Fraction;
use breakeven_planner::{
    Plan,
    plan::{
        Provenance,
        fleet_plan::{AutoscalingPlan, FleetHour, FleetPlan, HeadroomStep, PrewarmWindow, TriedTarget},
    },
};
use breakeven_report::kubernetes::deployment::{ManifestError, Names, manifests, to_yaml};
use serde_json::Value;

fn plan_with_fleet() -> Plan {
    let mut plan = support::plan();
    let day = |hour: usize| (8..18).contains(&(hour % 24)) && hour / 24 < 5;
    let hours = (0..168).map(|hour| FleetHour {
        mean_per_second: if day(hour) { 4.0 } else { 1.0 },
        ready_per_second: if day(hour) { 5.2 } else { 1.3 },
        replicas: if day(hour) { 5 } else { 2 },
    });
    let step = |because: &str, replicas| HeadroomStep {
        because: because.to_owned(),
        replicas,
        from: Provenance::Assumption { path: "traffic".to_owned(), note: None },
    };
    let tried = |requests_in_flight: f64, share: f64| TriedTarget {
        requests_in_flight,
        goodput: Some(Fraction::new(share).unwrap()),
        replica_hours: 6.0,
        holds: share >= 0.9,
    };
    let prewarm = (0..5).map(|d| PrewarmWindow { from_hour: d * 24 + 8, to_hour: d * 24 + 18, replicas: 5 });
    plan.fleet_plan = Some(FleetPlan {
        hours: hours.collect(),
        headroom: vec![
            step("the busiest hour's mean", 3),
            step("bursts within the hour, x 1.3", 4),
            step("1 lost", 5),
        ],
        load_duration: Vec::new(),
        purchase: None,
        months: Vec::new(),
        spikes: Vec::new(),
        simulation: None,
        replica_loss: None,
        autoscaling: Some(AutoscalingPlan {
            requests_in_flight_per_replica: 7.4,
            minimum_replicas: 2,
            maximum_replicas: 5,
            scale_down_stabilisation_seconds: 600.0,
            scale_up_lag_seconds: 300.0,
            ramp_hour: 7,
            ramp_per_second: (1.0, 4.0),
            reactive_holds: true,
            tried: vec![tried(8.9, 0.84), tried(7.4, 0.93), tried(5.9, 0.97)],
            prewarm: prewarm.collect(),
        }),
        retries: None,
        latency: None,
        notes: Vec::new(),
    });
    plan
}

fn names() -> Names {
    Names {
        name: "support-bot".to_owned(),
        namespace: Some("bots".to_owned()),
        image: "registry.example/breakeven:0.1".to_owned(),
        arguments: vec![
            "serve".to_owned(),
            "smollm2-135m-instruct".to_owned(),
            "--listen=0.0.0.0:8000".to_owned(),
        ],
        port: 8_000,
        health_path: "/health".to_owned(),
        gpus: 1,
        prometheus: "http://prometheus.monitoring:9090".to_owned(),
        metrics: ("breakeven_num_requests_running".to_owned(), "breakeven_num_requests_waiting".to_owned()),
        time_zone: "Europe/Berlin".to_owned(),
    }
}

fn schema(file: &str) -> Value {
    let path = format!("{}/tests/fixtures/kubernetes/{file}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn faults(schema: &Value, manifest: &Value) -> Vec<String> {
    let validator = jsonschema::validator_for(schema).unwrap();
    validator.iter_errors(manifest).map(|e| format!("{}: {e}", e.instance_path())).collect()
}

#[test]
fn the_manifests_are_golden() {
    let found = manifests(&plan_with_fleet(), &names()).unwrap();
    insta::assert_snapshot!("with_an_hpa", to_yaml(&found, false));
    insta::assert_snapshot!("with_keda", to_yaml(&found, true));
}

#[test]
fn the_manifests_follow_the_published_schemas_and_so_does_their_yaml() {
    let found = manifests(&plan_with_fleet(), &names()).unwrap();
    for (manifest, file) in [
        (&found.deployment, "deployment-apps-v1.json"),
        (&found.hpa, "horizontalpodautoscaler-autoscaling-v2.json"),
        (&found.scaled_object, "scaledobject-keda-v1alpha1.json"),
    ] {
        let schema = schema(file);
        // What a cluster reads is the YAML, not our tree.
        let read: Value = serde_yaml_ng::from_str(&manifest.to_yaml()).unwrap();
        assert_eq!(read, manifest.to_json(), "{file}");
        assert_eq!(faults(&schema, &read), Vec::<String>::new(), "{file}");
        // The schema can refuse: a key it does not know, and a number that is none.
        let mut wrong = read.clone();
        wrong["spec"]["replicaz"] = 3.into();
        assert!(!faults(&schema, &wrong).is_empty(), "{file} lets an unknown key pass");
        let mut wrong = read;
        wrong["spec"] = "many".into();
        assert!(!faults(&schema, &wrong).is_empty(), "{file} lets text pass for a spec");
    }
}

#[test]
fn a_bench_job_is_golden_and_follows_the_published_schemas() {
    use breakeven_report::kubernetes::job::{BenchJob, manifests, to_yaml};
    let job = BenchJob {
        name: "support-bot-bench".to_owned(),
        namespace: Some("bots".to_owned()),
        image: "registry.example/breakeven:0.1".to_owned(),
        product: "name = \"bot\" # with a \"quote\"\n[slo]\nattainment = 0.9\n".to_owned(),
        target: "http://support-bot:8000/v1".to_owned(),
        rates: [300.0, 700.0, 1200.5],
        shards: 8,
        claim: "results".to_owned(),
        key_secret: Some("bot-key".to_owned()),
        cores: 2,
    };
    insta::assert_snapshot!("bench_job", to_yaml(&job));
    for (manifest, file) in manifests(&job).iter().zip(["configmap-v1.json", "job-batch-v1.json"]) {
        let schema = schema(file);
        let read: Value = serde_yaml_ng::from_str(&manifest.to_yaml()).unwrap();
        assert_eq!(read, manifest.to_json(), "{file}");
        assert_eq!(faults(&schema, &read), Vec::<String>::new(), "{file}");
        let mut wrong = read;
        wrong["dataz"] = 3.into();
        assert!(!faults(&schema, &wrong).is_empty(), "{file} lets an unknown key pass");
    }
}

#[test]
fn a_plan_without_a_simulated_fleet_says_why() {
    let mut plan = plan_with_fleet();
    plan.fleet_plan.as_mut().unwrap().autoscaling = None;
    plan.fleet_plan.as_mut().unwrap().notes = vec!["the measurement holds no step model".to_owned()];
    let error = manifests(&plan, &names()).unwrap_err();
    assert!(error.to_string().contains("no step model"), "{error}");
    plan.fleet_plan = None;
    assert!(matches!(manifests(&plan, &names()), Err(ManifestError::NoFleet(_))));
}
