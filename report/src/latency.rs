//! The price of latency as a table.

use breakeven_hardware::Usd;
use breakeven_planner::plan::{Plan, fleet_plan::FrontierPoint};

use crate::{
    figure::Figure,
    format::{ABSENT, amount, money, percent, rate, seconds},
    sureness::TableView,
};

/// The bill along the SLO's frontier; `None` where the plan has none.
pub(crate) fn table(plan: &Plan) -> Option<TableView> {
    let frontier = plan.fleet_plan.as_ref()?.latency.as_ref()?;
    TableView::new(
        "Price of latency: our own replicas under other targets, simulated",
        &[
            "targets",
            "capacity /s",
            "replicas",
            "USD/month",
            "more",
            "given up",
            "lost USD/month",
            "pays for itself",
        ],
        frontier.points.iter().enumerate().map(|(index, point)| cells(index, point)).collect(),
    )
}

fn cells(index: usize, point: &FrontierPoint) -> Vec<Figure> {
    let at = |text: String, key: &str| Figure::at(text, format!("fleet_plan.latency.points[{index}].{key}"));
    let absent = || ABSENT.to_owned();
    let usd = |usd: Option<Usd>| usd.map_or_else(absent, money);
    let targets = [("TTFT", point.ttft_seconds), ("TPOT", point.tpot_seconds), ("E2E", point.e2e_seconds)];
    let targets = targets.iter().filter(|(_, target)| target.is_some());
    let targets: Vec<String> = targets.map(|(name, target)| format!("{name} {}", seconds(*target))).collect();
    let of = if (point.times - 1.0).abs() < 1e-9 {
        "the SLO".to_owned()
    } else {
        format!("x {}", amount(point.times))
    };
    vec![
        format!("{of}: {}", targets.join(", ")).into(),
        at(point.capacity_per_second.map_or_else(|| "none".to_owned(), rate), "capacity_per_second"),
        at(point.replicas.map_or_else(absent, |replicas| replicas.to_string()), "replicas"),
        at(usd(point.usd_per_month), "usd_per_month"),
        at(usd(point.usd_more), "usd_more"),
        at(point.abandoned.map_or_else(absent, |share| percent(Some(share))), "abandoned"),
        at(usd(point.lost_usd_per_month), "lost_usd_per_month"),
        point.pays.map_or(ABSENT, |pays| if pays { "yes" } else { "no" }).into(),
    ]
}
