//! How sure the answer is, as tables: odds, budget, what moves it, the conditions it was tried under, the months ahead, who pays.

use breakeven_measurement::{Headline, Metric, headline::Span};
use breakeven_planner::plan::{
    Plan,
    decision_plan::{AllocationPlan, Flip, HorizonPlan, ScenarioMatrix, Spread, TornadoBar, Uncertainty},
};
use serde::Serialize;

use crate::{
    figure::Figure,
    format::{ABSENT, dollars, money, percent, volume},
    intervals,
};

/// Rows of tables that are sorted by what matters.
const MOST_ROWS: usize = 8;

/// One table of text; the first column names its rows, the others are flush right.
#[derive(Debug, Serialize)]
pub(crate) struct TableView {
    pub(crate) title: String,
    pub(crate) heads: Vec<String>,
    pub(crate) rows: Vec<Vec<Figure>>,
}

impl TableView {
    pub(crate) fn new(title: &str, heads: &[&str], rows: Vec<Vec<impl Into<Figure>>>) -> Option<Self> {
        let heads = heads.iter().map(|head| (*head).to_owned()).collect();
        let rows: Vec<Vec<Figure>> =
            rows.into_iter().map(|row| row.into_iter().map(Into::into).collect()).collect();
        (!rows.is_empty()).then(|| Self { title: title.to_owned(), heads, rows })
    }
}

/// Every table that the plan has figures for, in reading order.
pub(crate) fn tables(plan: &Plan) -> Vec<TableView> {
    let name = |id: &str| {
        plan.options.iter().find(|option| option.id == id).map_or_else(|| id.to_owned(), |o| o.name.clone())
    };
    let mut all = Vec::new();
    all.extend(intervals(plan));
    if let Some(uncertainty) = &plan.uncertainty {
        all.extend(odds(uncertainty, &name));
        all.extend(break_even(uncertainty, &name));
        all.extend(tornado(uncertainty, &name));
        all.extend(flips(uncertainty, &name));
        all.extend(measure_next(uncertainty));
    }
    all.extend(
        plan.scenarios.as_ref().and_then(|matrix| conditions(matrix, plan.uncertainty.as_ref(), &name)),
    );
    all.extend(plan.horizon.as_ref().and_then(|horizon| months(horizon, &name)));
    all.extend(crate::latency::table(plan));
    all.extend(plan.allocations.iter().filter_map(|split| allocation(split, &name)));
    all
}

/// The odds of the choice in one phrase; `None` where nothing was drawn.
pub(crate) fn odds_of_choice(plan: &Plan) -> Option<String> {
    let uncertainty = plan.uncertainty.as_ref()?;
    let choice = plan.decision.choice.as_ref()?;
    let option = uncertainty.options.iter().find(|option| option.id == *choice)?;
    let over =
        if uncertainty.months > 1 { format!(" over {} months", uncertainty.months) } else { String::new() };
    Some(format!("cheapest in {} of {} draws{over}", percent(Some(option.p_cheapest)), uncertainty.draws))
}

fn intervals(plan: &Plan) -> Option<TableView> {
    let span = |metric: Metric, found: Option<Span>| {
        found.map_or_else(|| ABSENT.to_owned(), |found| intervals::span(metric, found))
    };
    let known = |headline: &&Headline| headline.within_run.is_some() || headline.between_runs.is_some();
    let rows = plan.measured.levels.iter().flat_map(|level| {
        let shown = level.headlines.iter().filter(|headline| intervals::SHOWN.contains(&headline.metric));
        shown.filter(known).map(|headline| {
            let metric = headline.metric;
            let of = |text: String| Figure::at(text, format!("measured.levels[{}].headlines", level.name));
            vec![
                format!("{}, {}", level.name, metric.label()).into(),
                of(intervals::figure(metric, headline.estimate)),
                of(span(metric, headline.within_run)),
                of(span(metric, headline.between_runs)),
            ]
        })
    });
    let heads = ["figure", "measured", "95 % within the runs", "95 % between runs"];
    TableView::new("Measured figures and their intervals", &heads, rows.collect())
}

type Name<'a> = &'a dyn Fn(&str) -> String;

fn odds(found: &Uncertainty, name: Name<'_>) -> Option<TableView> {
    let rows = found.options.iter().map(|option| {
        let bill = |at: fn(&Spread) -> f64| {
            option.usd_per_month.as_ref().map_or_else(|| ABSENT.to_owned(), |spread| dollars(at(spread)))
        };
        let had = match option.available {
            all if all >= 1.0 => String::new(),
            some => format!(" (to be had in {})", percent(Some(some))),
        };
        let at =
            |text: String, key: &str| Figure::at(text, format!("uncertainty.options[{}].{key}", option.id));
        vec![
            format!("{}{had}", name(&option.id)).into(),
            at(percent(Some(option.p_cheapest)), "p_cheapest"),
            at(bill(|s| s.p10), "usd_per_month"),
            at(bill(|s| s.p50), "usd_per_month"),
            at(bill(|s| s.p90), "usd_per_month"),
            at(
                option.usd_per_successful_outcome.as_ref().map_or_else(
                    || ABSENT.to_owned(),
                    |s| format!("{} to {}", dollars(s.p5), dollars(s.p95)),
                ),
                "usd_per_successful_outcome",
            ),
        ]
    });
    let months = if found.months > 1 { format!(", mean of {} months", found.months) } else { String::new() };
    let title = format!("Odds and budget: {} draws, seed {}{months}", found.draws, found.seed);
    let heads = ["option", "cheapest", "USD/month p10", "p50", "p90", "USD/success p5 to p95"];
    TableView::new(&title, &heads, rows.collect())
}

/// From which volume self-host is the cheaper one.
fn break_even(found: &Uncertainty, name: Name<'_>) -> Option<TableView> {
    let spread = found.break_even.as_ref()?;
    let at = |text: String, key: &str| Figure::at(text, format!("uncertainty.break_even.{key}"));
    let row = |what: &str, key: &str, of: &Option<Spread>, shown: fn(f64) -> String| {
        let of = of.as_ref()?;
        let figures = [of.p5, of.p50, of.p95].map(|value| at(shown(value), key));
        Some([what.into()].into_iter().chain(figures).collect::<Vec<Figure>>())
    };
    let rows = [
        row("requests a month", "requests_per_month", &spread.requests_per_month, volume),
        row("utilisation of the replicas there", "utilization", &spread.utilization, |share| {
            percent(Some(share))
        }),
    ];
    let share = |what: &str, key: &str, share: f64| {
        let what = format!("draws in which it is {what}");
        Some(vec![what.into(), ABSENT.into(), at(percent(Some(share)), key), ABSENT.into()])
    };
    let rows = rows.into_iter().chain([
        share("cheaper at any volume", "always", spread.always),
        share("dearer at any volume", "never", spread.never),
    ]);
    let title = format!("Break-even with {}", name(&spread.api));
    let head = format!("in {} draws", spread.draws);
    TableView::new(&title, &[&head, "5 %", "median", "95 %"], rows.flatten().collect())
}

fn tornado(found: &Uncertainty, name: Name<'_>) -> Option<TableView> {
    let rows = moving(found).take(MOST_ROWS).map(|bar| {
        let at = |text: String| Figure::at(text, format!("uncertainty.tornado[{}]", bar.path));
        let end = |saves: f64, choice: &str| at(format!("{} ({})", signed(saves), name(choice)));
        vec![
            bar.path.clone().into(),
            at(format!("{} to {}", plain(bar.low), plain(bar.high))),
            end(bar.saves_per_success_at_low, &bar.choice_at_low),
            end(bar.saves_per_success_at_high, &bar.choice_at_high),
        ]
    });
    let heads = ["input", "from low to high", "saved a success at low (cheapest)", "at high (cheapest)"];
    TableView::new("What moves the answer, one input at a time", &heads, rows.collect())
}

/// The bars that are not nothing: what the choice's lead does not depend on moves nothing.
pub(crate) fn moving(found: &Uncertainty) -> impl Iterator<Item = &TornadoBar> {
    found.tornado.iter().filter(|bar| {
        (bar.saves_per_success_at_high - bar.saves_per_success_at_low).abs() > 1e-12
            || bar.choice_at_low != bar.choice_at_high
    })
}

fn flips(found: &Uncertainty, name: Name<'_>) -> Option<TableView> {
    let at = |end: &Option<(f64, String)>| match end {
        Some((value, choice)) => format!("{} ({})", plain(*value), name(choice)),
        None => "never".to_owned(),
    };
    let turning = found.flips.iter().filter(|flip| flip.below.is_some() || flip.above.is_some());
    let rows = turning.take(MOST_ROWS).map(|flip: &Flip| {
        let figure = |text: String| Figure::at(text, format!("uncertainty.flips[{}]", flip.path));
        vec![
            flip.path.clone().into(),
            figure(plain(flip.now)),
            figure(at(&flip.below)),
            figure(at(&flip.above)),
            figure(format!("{} to {}", plain(flip.looked_at.0), plain(flip.looked_at.1))),
        ]
    });
    let heads = ["input", "now", "flips below (to)", "flips above (to)", "looked at"];
    TableView::new("Where the decision flips, the smallest step first", &heads, rows.collect())
}

fn measure_next(found: &Uncertainty) -> Option<TableView> {
    // Less than a cent is the rounding of sums.
    let telling = found.measure_next.iter().filter(|v| v.usd_per_month >= 0.01 || v.variance_share >= 0.01);
    let rows = telling.take(MOST_ROWS).map(|value| {
        let worth = if value.usd_per_month >= 0.01 { value.usd_per_month } else { 0.0 };
        let at = |text: String| Figure::at(text, format!("uncertainty.measure_next[{}]", value.path));
        vec![value.path.clone().into(), at(dollars(worth)), at(percent(Some(value.variance_share)))]
    });
    let heads = ["input", "worth knowing, USD/month", "share of the variance"];
    TableView::new("What to measure next", &heads, rows.collect())
}

fn conditions(matrix: &ScenarioMatrix, found: Option<&Uncertainty>, name: Name<'_>) -> Option<TableView> {
    let rows = matrix.scenarios.iter().map(|scenario| {
        let mut row: Vec<Figure> = vec![format!("{} ({})", scenario.name, scenario.changes).into()];
        row.extend(matrix.stresses.iter().map(|stress| {
            let of = |s: &str, t: &str| s == scenario.name && t == stress.name;
            let mut cells = matrix.cells.iter().enumerate();
            let Some((index, cell)) = cells.find(|(_, cell)| of(&cell.scenario, &cell.stress)) else {
                return ABSENT.into();
            };
            let Some(choice) = &cell.choice else { return "none can be had".into() };
            let usd = cell.options.iter().find(|o| o.id == *choice).map(|o| money(o.usd_per_month));
            let odds = found
                .and_then(|found| found.cells.iter().find(|cell| of(&cell.scenario, &cell.stress)))
                .and_then(|cell| cell.p_cheapest.iter().find(|(id, _)| id == choice))
                .map_or_else(String::new, |(_, share)| format!(", {}", percent(Some(*share))));
            let text = format!("{} {}{odds}", name(choice), usd.unwrap_or_default());
            Figure::at(text, format!("scenarios.cells[{index}].options[{choice}].usd_per_month"))
        }));
        row
    });
    let mut heads = vec!["scenario".to_owned()];
    heads.extend(matrix.stresses.iter().map(|stress| match stress.changes.as_str() {
        "nothing" => stress.name.clone(),
        changes => format!("{} ({changes})", stress.name),
    }));
    let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
    let title = "Cheapest option and its bill a month under every scenario and stress";
    let title = if found.is_some_and(|found| !found.cells.is_empty()) {
        format!("{title}, with its share of the draws")
    } else {
        title.to_owned()
    };
    TableView::new(&title, &heads, rows.collect())
}

fn months(horizon: &HorizonPlan, name: Name<'_>) -> Option<TableView> {
    let rows = horizon.options.iter().map(|option| {
        let at = |text: String, key: &str| Figure::at(text, format!("horizon.options[{}].{key}", option.id));
        vec![
            name(&option.id).into(),
            at(money(option.usd_total), "usd_total"),
            at(money(option.npv_usd), "npv_usd"),
            at(option.saves_npv_usd.map_or_else(|| ABSENT.to_owned(), money), "saves_npv_usd"),
            at(
                option.payback_month.map_or_else(|| ABSENT.to_owned(), |month| format!("month {month}")),
                "payback_month",
            ),
        ]
    });
    let last = horizon.requests_by_month.last().copied().unwrap_or(0.0);
    let title = format!(
        "{} months ahead: {}; {} requests in the last",
        horizon.months,
        horizon.assumes.join(", "),
        volume(last)
    );
    let heads = [
        "option",
        "bills of all months, USD",
        "present value",
        "saved against the cheapest API",
        "paid back",
    ];
    TableView::new(&title, &heads, rows.collect())
}

fn allocation(split: &AllocationPlan, name: Name<'_>) -> Option<TableView> {
    let rows = split.parts.iter().map(|part| {
        let at = |text: String, key: &str| {
            Figure::at(text, format!("allocations[{}].parts[{}].{key}", split.by, part.name))
        };
        vec![
            part.name.clone().into(),
            at(percent(Some(part.share_of_requests)), "share_of_requests"),
            at(percent(Some(part.share_of_use)), "share_of_use"),
            at(money(part.idle_usd_per_month), "idle_usd_per_month"),
            at(money(part.usd_per_month), "usd_per_month"),
        ]
    });
    let title = format!(
        "The bill of {} by {}: {}; {}; {} in all",
        name(&split.option),
        split.by,
        split.basis,
        split.idle_rule,
        money(split.usd_per_month)
    );
    let heads = ["part", "requests", "use", "of it idle, USD/month", "USD/month"];
    TableView::new(&title, &heads, rows.collect())
}

/// Four significant digits.
pub(crate) fn plain(value: f64) -> String {
    if value.abs() < 1e-12 {
        return "0".to_owned();
    }
    if value.abs() >= 1e4 {
        return volume(value);
    }
    #[expect(clippy::cast_possible_truncation, reason = "a decimal exponent")]
    let digits = (3 - value.abs().log10().floor() as i32).clamp(0, 9);
    let text = format!("{value:.*}", usize::try_from(digits).unwrap_or(0));
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

pub(crate) fn signed(value: f64) -> String {
    let amount = dollars(value.abs());
    if value < 0.0 { format!("−{amount}") } else { format!("+{amount}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_four_digits() {
        assert_eq!(
            [0.0, 0.02, 0.123_456, 1.5, 15.25, 1234.6, -0.5].map(plain),
            ["0", "0.02", "0.1235", "1.5", "15.25", "1235", "-0.5"]
        );
    }
}
