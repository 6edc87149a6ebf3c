//! A measurement's levels as rows: one latency series of one level and segment each, with the counts beside it.

use std::sync::Arc;

use breakeven_measurement::{LatencySeries, LevelResult, LoadResult, Measurement, Quantile, hlog::series_of};

use super::{
    ExportError,
    table::{Column, count, integer, number, text},
};

/// One series.
#[derive(Debug)]
pub struct SummaryRow<'a> {
    level: &'a LevelResult,
    /// Absent for all segments together.
    segment: Option<&'a str>,
    load: &'a LoadResult,
    metric: &'static str,
    series: &'a LatencySeries,
}

impl SummaryRow<'_> {
    fn at(&self, quantile: f64) -> Option<f64> {
        self.series.quantile(quantile).and_then(Quantile::finite).map(|value| value.as_secs_f64())
    }
}

/// The columns of a table of levels. A quantile that falls among the failures is empty.
pub fn columns<'a>() -> [Column<SummaryRow<'a>>; 19] {
    [
        text("level", |r| Some(Arc::from(r.level.name.to_string()))),
        text("segment", |r| r.segment.map(Arc::from)),
        text("validity", |r| Some(Arc::from(r.level.validity.verdict.to_string()))),
        number("target_requests_per_second", |r| Some(r.level.target_rate.per_second())),
        number("window_seconds", |r| Some(r.level.window.as_secs_f64())),
        integer("scheduled", |r| count(r.load.scheduled)),
        integer("completed", |r| count(r.load.completed)),
        integer("within_slo", |r| count(r.load.within_slo)),
        integer("output_tokens", |r| count(r.load.output_tokens.0)),
        text("metric", |r| Some(Arc::from(r.metric))),
        integer("count", |r| count(r.series.len())),
        integer("infinite", |r| count(r.series.infinite())),
        number("finite_mean_seconds", |r| r.series.finite_mean().map(|mean| mean.as_secs_f64())),
        number("p50_seconds", |r| r.at(0.5)),
        number("p90_seconds", |r| r.at(0.9)),
        number("p95_seconds", |r| r.at(0.95)),
        number("p99_seconds", |r| r.at(0.99)),
        number("p99_9_seconds", |r| r.at(0.999)),
        number("finite_max_seconds", |r| r.series.finite_max().map(|max| max.as_secs_f64())),
    ]
}

/// The rows of a measurement.
pub fn rows(measurement: &Measurement) -> impl Iterator<Item = Result<SummaryRow<'_>, ExportError>> {
    measurement.levels.iter().flat_map(|level| {
        let segments = level.segments.iter().map(|segment| (Some(segment.name.as_str()), &segment.load));
        std::iter::once((None, &level.overall)).chain(segments).flat_map(move |(segment, load)| {
            series_of(load).map(|(metric, series)| Ok(SummaryRow { level, segment, load, metric, series }))
        })
    })
}
