//! A measured figure and the ends of its interval as text: one way for the plan's report, the benchmark's lines and the history.

use breakeven_measurement::{Metric, headline::Span, metric::Unit};

use crate::format::{percent, rate, seconds};

/// What is printed of a level's intervals: the figures that decide.
pub const SHOWN: [Metric; 5] =
    [Metric::Goodput, Metric::TtftP50, Metric::TtftP95, Metric::TpotP50, Metric::E2eP95];

/// A figure in its unit; one that fell among failures is `never`.
pub fn figure(metric: Metric, value: Option<f64>) -> String {
    let Some(value) = value else { return "never".to_owned() };
    match metric.unit() {
        Unit::Share => percent(Some(value)),
        Unit::Seconds => seconds(Some(value)),
        Unit::RequestsPerSecond => format!("{} req/s", rate(value)),
    }
}

/// `210 ms to 340 ms`; an end that nothing bounds says so.
pub fn span(metric: Metric, span: Span) -> String {
    let end =
        |end: Option<f64>| end.map_or_else(|| "unbounded".to_owned(), |value| figure(metric, Some(value)));
    format!("{} to {}", end(span.low), end(span.high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_read_in_the_figures_unit() {
        let of = |metric, low, high| span(metric, Span { low, high });
        assert_eq!(of(Metric::TtftP50, Some(0.21), Some(1.5)), "210 ms to 1.5 s");
        assert_eq!(of(Metric::Goodput, Some(0.9512), None), "95.1 % to unbounded");
        assert_eq!(of(Metric::Capacity, None, Some(2.184)), "unbounded to 2.18 req/s");
        assert_eq!(figure(Metric::TtftP95, None), "never");
    }
}
