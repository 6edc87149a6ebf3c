//! The fleet as a Deployment with an HPA or a KEDA `ScaledObject`.
//!
//! Field names are those of Kubernetes' `apps/v1` and `autoscaling/v2` and of KEDA's `keda.sh/v1alpha1`. The autoscaler watches requests in
//! flight a replica, which the simulation chose; KEDA's cron triggers are the pre-warm schedule.

use std::collections::BTreeMap;

use breakeven_planner::{
    Plan,
    plan::fleet_plan::{AutoscalingPlan, FleetPlan, PrewarmWindow},
};

use super::yaml::{Node, entry, noted};

/// What the plan does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// Name of the Deployment and of everything beside it.
    pub name: String,
    /// Namespace; the cluster's default where absent.
    pub namespace: Option<String>,
    /// Container image.
    pub image: String,
    /// Arguments of the container.
    pub arguments: Vec<String>,
    /// Port that it serves on.
    pub port: u16,
    /// Path that answers once it can serve.
    pub health_path: String,
    /// Accelerators of a replica; none where 0.
    pub gpus: u32,
    /// Address of the Prometheus that KEDA asks.
    pub prometheus: String,
    /// Metrics of requests that run and that wait, as the server names them.
    pub metrics: (String, String),
    /// Time zone of the product's hours.
    pub time_zone: String,
}

/// The three manifests.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifests {
    /// `apps/v1` Deployment.
    pub deployment: Node,
    /// `autoscaling/v2` `HorizontalPodAutoscaler`.
    pub hpa: Node,
    /// `keda.sh/v1alpha1` `ScaledObject`: instead of the HPA, never beside it.
    pub scaled_object: Node,
}

/// Why there are no manifests.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The plan has no fleet of our own.
    #[error("the plan has no replicas of its own to deploy: {0}")]
    NoFleet(String),
    /// The plan's fleet was not simulated.
    #[error("the plan chose no autoscaler settings: {0}; measure again with this version and plan again")]
    NotSimulated(String),
}

/// Writes a plan's fleet as manifests.
///
/// # Errors
/// Where the plan has no fleet, or its fleet was not simulated.
pub fn manifests(plan: &Plan, names: &Names) -> Result<Manifests, ManifestError> {
    let fleet = plan.fleet_plan.as_ref().ok_or_else(|| {
        let why = plan.options.iter().find(|o| o.id == "self_host").and_then(|o| o.infeasible.clone());
        ManifestError::NoFleet(why.unwrap_or_else(|| "it is of an earlier version".to_owned()))
    })?;
    let scaling = fleet.autoscaling.as_ref().ok_or_else(|| {
        ManifestError::NotSimulated(
            fleet.notes.first().cloned().unwrap_or_else(|| "nothing was simulated".to_owned()),
        )
    })?;
    Ok(Manifests {
        deployment: deployment(plan, scaling, names),
        hpa: hpa(fleet, scaling, names),
        scaled_object: scaled_object(fleet, scaling, names),
    })
}

fn metadata(names: &Names) -> Node {
    let mut entries = vec![entry("name", names.name.as_str())];
    entries.extend(names.namespace.as_ref().map(|n| entry("namespace", n.as_str())));
    entries.push(entry("labels", vec![entry("app.kubernetes.io/name", names.name.as_str())]));
    entries.into()
}

fn deployment(plan: &Plan, scaling: &AutoscalingPlan, names: &Names) -> Node {
    let labels = || vec![entry("app.kubernetes.io/name", names.name.as_str())];
    let mut container = vec![entry("name", "server"), entry("image", names.image.as_str())];
    if !names.arguments.is_empty() {
        let arguments: Vec<Node> = names.arguments.iter().map(|a| Node::from(a.as_str())).collect();
        container.push(entry("args", arguments));
    }
    let port = u32::from(names.port);
    container
        .push(entry("ports", vec![Node::from(vec![entry("name", "http"), entry("containerPort", port)])]));
    let get = || vec![entry("path", names.health_path.as_str()), entry("port", port)];
    let looks = whole(scaling.scale_up_lag_seconds / 10.0).max(3);
    container.push(entry(
        "startupProbe",
        vec![
            entry("httpGet", get()),
            entry("periodSeconds", 10_u32),
            noted(
                "failureThreshold",
                looks.saturating_mul(2),
                format!("twice the scale-up lag of {} s (fleet.scale_up_lag)", scaling.scale_up_lag_seconds),
            ),
        ],
    ));
    container.push(entry("readinessProbe", vec![entry("httpGet", get()), entry("periodSeconds", 5_u32)]));
    if names.gpus > 0 {
        let gpus = || vec![entry("nvidia.com/gpu", names.gpus.to_string())];
        container.push(entry("resources", vec![entry("limits", gpus()), entry("requests", gpus())]));
    }
    let grace = plan.measured.levels.iter().filter_map(|l| l.e2e_p95_seconds).fold(0.0, f64::max).max(15.0);
    let pod = vec![
        noted(
            "terminationGracePeriodSeconds",
            whole(grace * 2.0),
            "twice the longest measured p95 E2E: answers in flight are finished",
        ),
        entry("containers", vec![Node::from(container)]),
    ];
    Node::from(vec![
        entry("apiVersion", "apps/v1"),
        entry("kind", "Deployment"),
        entry("metadata", metadata(names)),
        entry(
            "spec",
            vec![
                noted(
                    "replicas",
                    scaling.maximum_replicas,
                    format!(
                        "the busiest hour's fleet (plan of {}); the autoscaler takes over from here",
                        plan.as_of
                    ),
                ),
                entry("selector", vec![entry("matchLabels", labels())]),
                entry(
                    "strategy",
                    vec![
                        entry("type", "RollingUpdate"),
                        entry(
                            "rollingUpdate",
                            vec![
                                noted(
                                    "maxUnavailable",
                                    0_u32,
                                    "the fleet is sized without a replica to spare for upgrades",
                                ),
                                noted("maxSurge", 1_u32, "one new replica at a time, beside the fleet"),
                            ],
                        ),
                    ],
                ),
                entry(
                    "template",
                    vec![entry("metadata", vec![entry("labels", labels())]), entry("spec", pod)],
                ),
            ],
        ),
    ])
}

fn behavior(scaling: &AutoscalingPlan) -> Node {
    let up = scaling.maximum_replicas.saturating_sub(scaling.minimum_replicas).max(1);
    Node::from(vec![
        entry(
            "scaleUp",
            vec![
                noted("stabilizationWindowSeconds", 0_u32, "a ramp does not wait"),
                entry(
                    "policies",
                    vec![Node::from(vec![
                        entry("type", "Pods"),
                        noted("value", up, "from the fewest to the most in one step"),
                        entry("periodSeconds", 15_u32),
                    ])],
                ),
            ],
        ),
        entry(
            "scaleDown",
            vec![noted(
                "stabilizationWindowSeconds",
                whole(scaling.scale_down_stabilisation_seconds),
                format!(
                    "as simulated: twice the scale-up lag of {} s, from 300 to 3600",
                    scaling.scale_up_lag_seconds
                ),
            )],
        ),
    ])
}

/// Why the target, and what was tried beside it.
fn target_comment(scaling: &AutoscalingPlan) -> String {
    let (from, to) = scaling.ramp_per_second;
    let tried: Vec<String> = scaling
        .tried
        .iter()
        .map(|t| {
            let share = t.goodput.map_or_else(|| "none".to_owned(), |g| g.to_string());
            format!("{:.0}: {share}", t.requests_in_flight)
        })
        .collect();
    format!(
        "simulated on the ramp of hour {} ({from:.2} to {to:.2} req/s), within the SLO at {}{}",
        scaling.ramp_hour,
        tried.join(", "),
        if scaling.reactive_holds { "" } else { "; none holds alone: the schedule carries the ramp" }
    )
}

fn minimum_comment(fleet: &FleetPlan) -> String {
    let quietest = fleet.hours.iter().map(|h| h.ready_per_second).fold(f64::INFINITY, f64::min);
    format!("the quietest hour must be ready for {quietest:.2} req/s, losses included")
}

fn maximum_comment(fleet: &FleetPlan) -> String {
    let steps: Vec<String> =
        fleet.headroom.iter().map(|step| format!("{} -> {}", step.because, step.replicas)).collect();
    steps.join(", ")
}

fn hpa(fleet: &FleetPlan, scaling: &AutoscalingPlan, names: &Names) -> Node {
    let target = whole(scaling.requests_in_flight_per_replica).max(1);
    let pods = vec![
        entry("metric", vec![entry("name", in_flight_metric(names))]),
        entry(
            "target",
            vec![
                entry("type", "AverageValue"),
                noted("averageValue", target.to_string(), target_comment(scaling)),
            ],
        ),
    ];
    Node::from(vec![
        entry("apiVersion", "autoscaling/v2"),
        entry("kind", "HorizontalPodAutoscaler"),
        entry("metadata", metadata(names)),
        entry(
            "spec",
            vec![
                entry("scaleTargetRef", target_ref(names)),
                noted("minReplicas", scaling.minimum_replicas, minimum_comment(fleet)),
                noted("maxReplicas", scaling.maximum_replicas, maximum_comment(fleet)),
                entry("metrics", vec![Node::from(vec![entry("type", "Pods"), entry("pods", pods)])]),
                entry("behavior", behavior(scaling)),
            ],
        ),
    ])
}

/// The name under which a metrics adapter offers running and waiting requests together.
fn in_flight_metric(names: &Names) -> String {
    format!("{}_in_flight", names.name.replace(|c: char| !c.is_ascii_alphanumeric(), "_"))
}

fn target_ref(names: &Names) -> Node {
    Node::from(vec![
        entry("apiVersion", "apps/v1"),
        entry("kind", "Deployment"),
        entry("name", names.name.as_str()),
    ])
}

fn scaled_object(fleet: &FleetPlan, scaling: &AutoscalingPlan, names: &Names) -> Node {
    let target = whole(scaling.requests_in_flight_per_replica).max(1);
    let (running, waiting) = &names.metrics;
    let select = format!("{{app_kubernetes_io_name=\"{}\"}}", names.name);
    let metadata_of = vec![
        entry("serverAddress", names.prometheus.as_str()),
        entry("query", format!("sum({running}{select}) + sum({waiting}{select})")),
        noted("threshold", target.to_string(), target_comment(scaling)),
    ];
    let mut triggers = vec![Node::from(vec![entry("type", "prometheus"), entry("metadata", metadata_of)])];
    triggers.extend(schedule(scaling, names));
    Node::from(vec![
        entry("apiVersion", "keda.sh/v1alpha1"),
        entry("kind", "ScaledObject"),
        entry("metadata", metadata(names)),
        entry(
            "spec",
            vec![
                entry("scaleTargetRef", target_ref(names)),
                noted("minReplicaCount", scaling.minimum_replicas, minimum_comment(fleet)),
                noted("maxReplicaCount", scaling.maximum_replicas, maximum_comment(fleet)),
                noted("pollingInterval", 15_u32, "seconds between looks, as simulated"),
                entry(
                    "advanced",
                    vec![entry("horizontalPodAutoscalerConfig", vec![entry("behavior", behavior(scaling))])],
                ),
                entry("triggers", triggers),
            ],
        ),
    ])
}

/// The pre-warm schedule: one cron trigger a stretch of hours, shared by the days that are alike, begun the lag ahead.
fn schedule(scaling: &AutoscalingPlan, names: &Names) -> Vec<Node> {
    let mut alike: BTreeMap<(u32, u32, u32), Vec<u32>> = BTreeMap::new();
    for PrewarmWindow { from_hour, to_hour, replicas } in &scaling.prewarm {
        let day = from_hour / 24;
        alike.entry((from_hour % 24, to_hour - day * 24, *replicas)).or_default().push(day);
    }
    let lead = whole(scaling.scale_up_lag_seconds / 60.0);
    alike
        .into_iter()
        .map(|((from, to, replicas), days)| {
            let (start, end) = (cron(from * 60, lead, &days), cron(to * 60, 0, &days));
            let comment = format!("hours {from} to {to}, begun {lead} min ahead: the scale-up lag");
            let metadata = vec![
                entry("timezone", names.time_zone.as_str()),
                noted("start", start, comment),
                entry("end", end),
                noted("desiredReplicas", replicas.to_string(), "replicas of these hours in the plan"),
            ];
            Node::from(vec![entry("type", "cron"), entry("metadata", metadata)])
        })
        .collect()
}

/// A cron line at so many minutes after midnight, less a lead, on some days of the week (0 is Monday).
fn cron(minute_of_day: u32, lead: u32, days: &[u32]) -> String {
    const DAY: u32 = 24 * 60;
    // A lead may reach into the day before, an end into the day after.
    let shifted = minute_of_day + 7 * DAY - lead.min(7 * DAY);
    let (minute, day_shift) = (shifted % DAY, shifted / DAY);
    // Cron counts from Sunday.
    let mut on: Vec<u32> = days.iter().map(|d| (d + day_shift + 1) % 7).collect();
    on.sort_unstable();
    on.dedup();
    let on = if on.len() == 7 {
        "*".to_owned()
    } else {
        on.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    };
    format!("{} {} * * {on}", minute % 60, minute / 60)
}

fn whole(value: f64) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped; a float cast saturates"
    )]
    let whole = value.max(0.0).ceil() as u32;
    whole
}

/// All manifests as one file, documents apart; HPA or `ScaledObject`, as asked.
pub fn to_yaml(manifests: &Manifests, keda: bool) -> String {
    let (chosen, what) = if keda {
        (&manifests.scaled_object, "KEDA makes the HPA of its own: apply no other beside it.")
    } else {
        (
            &manifests.hpa,
            "The metric needs an adapter (prometheus-adapter); the pre-warm schedule needs KEDA (--keda).",
        )
    };
    format!("{}---\n# {what}\n{}", manifests.deployment.to_yaml(), chosen.to_yaml())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lead_may_reach_into_the_day_before() {
        assert_eq!(cron(8 * 60, 5, &[0, 1, 2, 3, 4]), "55 7 * * 1,2,3,4,5");
        assert_eq!(cron(0, 5, &[0]), "55 23 * * 0", "Monday's midnight is Sunday's last minutes");
        assert_eq!(cron(24 * 60, 0, &[6]), "0 0 * * 1", "Sunday's end is Monday's midnight");
        assert_eq!(cron(60, 0, &[0, 1, 2, 3, 4, 5, 6]), "0 1 * * *");
    }
}
