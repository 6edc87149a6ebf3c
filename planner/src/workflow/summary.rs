//! The workflow as the plan shows it, and what is to be said against it.

use breakeven_measurement::Measurement;

use super::load::{Load, Loads, Solved, visits_from};
use crate::{
    plan::workflow_plan::{StagePlan, WorkflowPlan},
    product::Product,
};

/// A difference of tokens this small is not worth a warning.
const SAME_LENGTH: f64 = 0.05;

/// One workflow a kind of option; none without stages.
pub(crate) fn workflows(loads: &Loads, run_id: &str) -> Vec<WorkflowPlan> {
    let kinds = [("self_host", &loads.own), ("api", &loads.api)];
    kinds
        .into_iter()
        .filter_map(|(id, load)| Some(workflow(id, load, load.workflow.as_ref()?, run_id)))
        .collect()
}

fn workflow(id: &str, load: &Load, solved: &Solved, run_id: &str) -> WorkflowPlan {
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
