//! The workflow as the plan shows it, and what is to be said against it.

use breakeven_measurement::Measurement;

use super::load::{Load, Loads, Solved, visits_from};
use crate::{
    cost::input,
    plan::{
        Provenance,
        workflow_plan::{StagePlan, WorkflowPlan},
    },
    product::{OnlyFor, Product},
};

/// A difference of tokens this small is not worth a warning.
const SAME_LENGTH: f64 = 0.05;

/// One workflow a kind of option; none without stages.
pub(crate) fn workflows(loads: &Loads, product: &Product, run_id: &str) -> Vec<WorkflowPlan> {
    let kinds = [(OnlyFor::SelfHost, &loads.own), (OnlyFor::Api, &loads.api)];
    kinds
        .into_iter()
        .filter_map(|(kind, load)| Some(workflow(kind, load, load.workflow.as_ref()?, product, run_id)))
        .collect()
}

fn workflow(kind: OnlyFor, load: &Load, solved: &Solved, product: &Product, run_id: &str) -> WorkflowPlan {
    let id = match kind {
        OnlyFor::SelfHost => "self_host",
        OnlyFor::Api => "api",
    };
    let Solved { workflow, expected, from } = solved;
    let stages = workflow.stages().iter().zip(&expected.stages).enumerate();
    WorkflowPlan {
        id: id.to_owned(),
        stages: stages
            .map(|(index, (stage, row))| StagePlan {
                id: stage.id.clone(),
                kind: stage.kind,
                visits: row.visits,
                calls: row.calls,
                infrastructure_retries: row.infrastructure_retries,
                product_retries: row.retries - row.infrastructure_retries,
                input_tokens: row.input_tokens,
                output_tokens: row.output_tokens,
                retried_input_tokens: row.retried_input_tokens,
                retried_output_tokens: row.retried_output_tokens,
                minutes: row.minutes,
                usd: (!stage.option).then_some(row.usd),
                retried_usd: (!stage.option).then_some(row.retried_usd),
                usd_from: usd_from(product, kind, &format!("stage.{}", stage.id)),
                retried_usd_from: usd_from(product, kind, &format!("stage.{}.retries", stage.id)),
                from: visits_from(workflow, expected, index),
            })
            .collect(),
        success: expected.success,
        resolved: expected.resolved,
        escalation: expected.escalation,
        failure: expected.failure,
        attempts: load.attempts,
        measured_requests: load.in_all(),
        human_minutes: expected.minutes(),
        latency: super::latency::of(workflow, run_id),
        from: from.clone(),
    }
}

/// Where a stage's USD a request come from: what its entries of the bill were worked from, each down to its price.
fn usd_from(product: &Product, kind: OnlyFor, path: &str) -> Option<Provenance> {
    let of_stage = product.costs.iter().filter(|cost| cost.only.is_none_or(|only| only == kind));
    let worked = of_stage.filter_map(|cost| Some((cost.usd_per_request?, cost.worked.as_ref()?)));
    let mut parts: Vec<(String, Provenance)> = worked
        .filter(|(_, worked)| worked.of_stage && worked.path == path)
        .map(|(usd, worked)| {
            // The entry's formula is of a month.
            let formula = worked.formula.strip_prefix("requests x ").unwrap_or(worked.formula).to_owned();
            (usd.0.0.normalize().to_string(), Provenance::Computed { formula, inputs: worked.given.clone() })
        })
        .collect();
    if parts.len() > 1 {
        let inputs = parts.into_iter().map(|(usd, from)| input("USD a request", usd, from)).collect();
        return Some(Provenance::Computed { formula: "its calls and its people".to_owned(), inputs });
    }
    parts.pop().map(|(_, from)| from)
}

/// What a reader must know of a workflow's figures.
pub(crate) fn warnings(product: &Product, loads: &Loads, measurement: &Measurement) -> Vec<String> {
    let mut all = super::measured::length_notes(product, measurement);
    let Some(solved) = &loads.own.workflow else {
        all.extend(crate::measured_retries::warnings(product, measurement));
        return all;
    };
    let attempts = loads.own.attempts;
    let (input, output) = loads.own.all_tokens();
    let measured = (measurement.workload.mean_input_tokens(), measurement.workload.mean_output_tokens());
    if let Some(found) = super::measured::MeasuredCalls::of(product, measurement) {
        all.extend(found.notes(&product.stages));
    }
    // What is as long as the segments was measured as it is.
    let own_lengths = solved.workflow.stages().iter().any(|stage| stage.option && !stage.of_segments);
    let typed = measurement.workload == product.workload() && !own_lengths;
    let differs = |found: f64, measured: f64| (found / attempts / measured - 1.0).abs() > SAME_LENGTH;
    if attempts > 0.0 && !typed && (differs(input, measured.0) || differs(output, measured.1)) {
        let by = if crate::allocation::seconds_per_token(measurement).is_some() {
            "the measured seconds of a prompt and of an answer token"
        } else {
            "counting prompt and answer tokens alike, for no level has both TTFT and TPOT"
        };
        all.push(format!(
            "calls of the stages hold {:.0} prompt and {:.0} answer tokens, measured requests {:.0} and {:.0}: capacity is converted by {by}; \
             measure with segments as long as the calls for exact figures",
            input / attempts,
            output / attempts,
            measured.0,
            measured.1
        ));
    }
    if product.success.retries_per_request.get() > 0.0
        && solved.workflow.stages().iter().any(|stage| stage.option && stage.attempts.retried > 0.0)
    {
        all.push(
            "success.retries_per_request and the stages' own retries both count: leave one out where they are the same attempts".to_owned(),
        );
    }
    all
}
