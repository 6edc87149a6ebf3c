//! What a request does and what it comes to, as tables: the stages of the workflow, and the unit economics of every option.

use breakeven_planner::{
    Plan,
    plan::{
        economics::{Quantity, UnitFigure},
        workflow_plan::{StagePlan, WorkflowPlan},
    },
};

use crate::{
    figure::Figure,
    format::{ABSENT, amount, dollars, money, percent, seconds},
    sureness::TableView,
};

/// Title of the table whose columns are options.
pub(crate) const UNITS: &str = "Unit economics";

/// The tables, workflow first; none where the plan has no such figures.
pub(crate) fn tables(plan: &Plan) -> Vec<TableView> {
    let mut all: Vec<TableView> = workflows(plan);
    all.extend(units(plan));
    all
}

fn workflows(plan: &Plan) -> Vec<TableView> {
    let alike = plan.workflow.windows(2).all(|pair| match pair {
        [a, b] => a.stages == b.stages && a.latency == b.latency,
        _ => true,
    });
    let shown = if alike { plan.workflow.get(..1).unwrap_or_default() } else { plan.workflow.as_slice() };
    shown.iter().filter_map(|workflow| stages(workflow, alike)).collect()
}

fn stages(workflow: &WorkflowPlan, alike: bool) -> Option<TableView> {
    let of = match (alike, workflow.id.as_str()) {
        (true, _) => "",
        (false, "self_host") => ", self-hosted",
        (false, _) => ", with a managed API",
    };
    let title = format!(
        "A request{of}: {} succeed unaided, {} resolved, {} reach a person, {} fail; {} attempts of the option's model",
        percent(Some(workflow.success)),
        percent(Some(workflow.resolved)),
        percent(Some(workflow.escalation)),
        percent(Some(workflow.failure)),
        amount(workflow.attempts),
    );
    let title = match &workflow.latency {
        Some(found) => format!(
            "{title}; {} in the median and {} in 95 % until its end or a person",
            seconds(Some(found.p50_seconds)),
            seconds(Some(found.p95_seconds))
        ),
        None => title,
    };
    let row = |stage: &StagePlan| {
        let retries = stage.infrastructure_retries + stage.product_retries;
        let usd = stage.usd.zip(stage.retried_usd).map(|(first, retried)| dollars(first + retried));
        let place = format!("workflow[{}].stages[{}]", workflow.id, stage.id);
        let at = |text: String, key: &str| Figure::at(text, format!("{place}.{key}"));
        // Sums of two of its figures: the tree is the stage's, which has both.
        let of_both = |text: String| Figure::at(text, place.clone());
        vec![
            format!("{} ({})", stage.id, stage.kind.label()).into(),
            at(amount(stage.visits), "visits"),
            at(amount(stage.calls), "calls"),
            of_both(if retries > 0.0 { amount(retries) } else { ABSENT.to_owned() }),
            at(if stage.minutes > 0.0 { amount(stage.minutes) } else { ABSENT.to_owned() }, "minutes"),
            usd.map_or_else(|| "in the option's bill".into(), of_both),
        ]
    };
    let heads = ["stage", "visits", "calls", "retries", "minutes", "USD"];
    TableView::new(&title, &heads, workflow.stages.iter().map(row).collect())
}

/// One row a figure, one column an option; a figure that no option has is no row.
fn units(plan: &Plan) -> Option<TableView> {
    let had: Vec<_> = plan.options.iter().filter(|option| !option.unit_economics.is_empty()).collect();
    let mut ids: Vec<(&str, &str)> = Vec::new();
    for figure in had.iter().flat_map(|option| &option.unit_economics) {
        if !ids.iter().any(|(id, _)| *id == figure.id) {
            ids.push((&figure.id, &figure.label));
        }
    }
    let mut heads = vec!["per unit"];
    heads.extend(had.iter().map(|option| option.name.as_str()));
    let rows = ids.iter().map(|(id, label)| {
        let cells = had.iter().map(|option| {
            let figure = option.unit_economics.iter().find(|figure| figure.id == *id);
            figure.map_or_else(
                || ABSENT.into(),
                |figure| Figure::at(quantity(figure), format!("options[{}].unit_economics[{id}]", option.id)),
            )
        });
        std::iter::once((*label).into()).chain(cells).collect()
    });
    TableView::new(UNITS, &heads, rows.collect())
}

fn quantity(figure: &UnitFigure) -> String {
    match figure.quantity {
        Quantity::Usd(usd) => money(usd),
        Quantity::Minutes(minutes) => format!("{} min", amount(minutes)),
        Quantity::Gb(gb) => format!("{} GB", amount(gb)),
        Quantity::Share(share) => percent(Some(share)),
        Quantity::RetriesPerCall(retries) => amount(retries),
    }
}
