//! The findings of the parts of one level, each kind once: of several generators, or of a level that ran several times.

use crate::{level::LevelResult, validity::Finding};

/// The findings of all parts, each kind once: judged anew on the merged counts where counts decide, else the worst.
pub(crate) fn findings_of_all(level: &LevelResult) -> Vec<Finding> {
    let mut kept: Vec<Finding> = Vec::new();
    for finding in &level.validity.findings {
        let finding = match finding.clone() {
            Finding::TooFewSamples { quantile, needed, .. } => {
                let samples = level.overall.scheduled;
                if samples >= needed {
                    continue;
                }
                Finding::TooFewSamples { quantile, samples, needed }
            }
            Finding::NothingCompleted if level.overall.completed > 0 => continue,
            // Judged anew from the generators' starts.
            Finding::GeneratorsApart { .. } => continue,
            other => other,
        };
        let same = kept.iter_mut().find(|k| same_kind(k, &finding));
        match same {
            None => kept.push(finding),
            Some(earlier) => *earlier = worse(earlier, &finding),
        }
    }
    kept
}

fn same_kind(a: &Finding, b: &Finding) -> bool {
    match (a, b) {
        (Finding::TooFewSamples { quantile: a, .. }, Finding::TooFewSamples { quantile: b, .. }) => {
            a.total_cmp(b).is_eq()
        }
        _ => std::mem::discriminant(a) == std::mem::discriminant(b),
    }
}

fn worse(a: &Finding, b: &Finding) -> Finding {
    let measure = |finding: &Finding| match finding {
        Finding::GeneratorLate { send_lag_p99_seconds, limit_seconds } => {
            send_lag_p99_seconds / limit_seconds
        }
        Finding::NotStationary { first_half_ttft_p50_seconds, second_half_ttft_p50_seconds } => {
            second_half_ttft_p50_seconds.map_or(f64::INFINITY, |second| second / first_half_ttft_p50_seconds)
        }
        Finding::TokenCountsDisagree { share }
        | Finding::UndeclaredCacheHits { share }
        | Finding::CpuStolen { share } => share.get(),
        Finding::NearGeneratorCeiling { share } => *share,
        _ => 0.0,
    };
    match (a, b) {
        (Finding::ArrivalsMissed { missed: a }, Finding::ArrivalsMissed { missed: b }) => {
            Finding::ArrivalsMissed { missed: a.saturating_add(*b) }
        }
        _ if measure(b) > measure(a) => b.clone(),
        _ => a.clone(),
    }
}
