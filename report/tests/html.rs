//! The page: escaped, self-contained, complete.

#![expect(clippy::unwrap_used, reason = "a fixture that does not parse is a failed test")]

mod support;

use breakeven_planner::plan::LineItem;
use breakeven_report::format::money;
use breakeven_report::{html, terminal};

fn page() -> String {
    html::render(&support::plan()).unwrap()
}

#[test]
fn names_from_files_stay_text() {
    let evil = "</title><script>alert(1)</script><img src=x onerror='a'>\"";
    let mut plan = support::plan();
    plan.product = evil.to_owned();
    plan.measured.model = evil.to_owned();
    plan.measured.machine = evil.to_owned();
    plan.decision.headline = evil.to_owned();
    plan.warnings = vec![evil.to_owned()];
    for option in &mut plan.options {
        option.name = evil.to_owned();
    }
    for entry in &mut plan.break_evens {
        entry.api_name = evil.to_owned();
    }
    for assumption in &mut plan.assumptions {
        assumption.note = Some(evil.to_owned());
    }
    let page = html::render(&plan).unwrap();
    assert!(!page.contains("<script"));
    assert!(!page.contains("<img"));
    assert!(page.contains("&lt;script&gt;"));
}

#[test]
fn nothing_is_fetched() {
    let page = page();
    // The skip link leads to the page's own decision.
    let page = page.replacen("href=\"#decision\"", "", 1);
    for load in ["src=", "href=", "url(", "@import", "<link", "<script", "<iframe"] {
        assert!(!page.contains(load), "{load}");
    }
    assert!(page.contains("prices.example"), "sources are named as text");
}

/// The parts of the page that are charts.
fn charts(page: &str) -> Vec<&str> {
    page.split("<svg ").skip(1).filter_map(|rest| rest.split("</svg>").next()).collect()
}

#[test]
fn charts_hold_every_point() {
    let plan = support::plan();
    let page = page();
    let charts = charts(&page);
    assert_eq!(charts.len(), 6);
    assert!(charts[4].contains("prov large: $0.02926"), "every bar says what it is");
    assert!(charts[5].contains("fleet.usd_per_hour: 0.05 to 0.4"), "and so does every bar of the tornado");
    let dots: Vec<usize> = charts.iter().take(4).map(|chart| chart.matches("<circle").count()).collect();
    let load = plan.load_curve.len();
    // Cost; achieved, good and what the SLO asks; TTFT at two percentiles; TPOT.
    assert_eq!(dots, [plan.options.len() * plan.cost_curve.len(), 3 * load, 2 * load, load]);
    assert_eq!(charts[0].matches("<polygon").count(), 1, "the interval of the option that has one");
    assert!(page.contains("self-host (shaded: 5 % to 95 % of the draws)"));
    assert!(charts[2].contains("SLO 2 s for 95 %") && charts[3].contains("SLO 100 ms for 95 %"));
    for chart in charts {
        assert!(chart.contains("role=\"img\" aria-label="));
        assert!(!chart.contains("\"#000000\""), "ink follows the theme");
    }
    for level in ["baseline", "expected", "stress"] {
        for chart in 1..4 {
            assert!(self::charts(&page)[chart].contains(level), "{level} is marked");
        }
    }
    assert!(self::charts(&page)[0].contains("break-even 11,680"));
}

#[test]
fn every_chart_of_lines_has_its_figures_as_a_table() {
    let plan = support::plan();
    let page = page();
    let table = |title: &str| {
        let caption = format!("<caption>{title}</caption>");
        page.split(&caption).nth(1).unwrap().split("</table>").next().unwrap().to_owned()
    };
    let cost = table("Cost a month against volume");
    assert_eq!(cost.matches("<th scope=\"row\">").count(), plan.cost_curve.len());
    let own = &plan.cost_curve[0].usd_per_month[1].1;
    assert!(cost.contains(&money(*own)), "{cost}");
    assert!(cost.contains("5 % to 95 % of the draws"), "{cost}");
    assert!(table("Time to first token against offered load").contains("TTFT p95"));
}

#[test]
fn charts_survive_an_empty_plan() {
    let mut plan = support::plan();
    plan.load_curve.clear();
    plan.cost_curve.clear();
    plan.options.clear();
    plan.break_evens.clear();
    plan.measured.levels.clear();
    plan.decision.choice = None;
    plan.uncertainty = None;
    assert_eq!(charts(&html::render(&plan).unwrap()).len(), 3);
    assert!(terminal::render(&plan, 10, false).contains("Fleet"));
}

#[test]
fn every_option_and_every_line_is_there() {
    let plan = support::plan();
    let page = page();
    let table = page.split("id=\"cost-lines\"").nth(1).unwrap().split("</table>").next().unwrap();
    for line in LineItem::ALL {
        assert!(table.contains(&format!("<th scope=\"row\">{}</th>", line.label())), "{}", line.label());
    }
    assert_eq!(table.matches("<td class=\"n").count(), plan.options.len() * (LineItem::ALL.len() + 1));
    for option in &plan.options {
        assert!(table.contains(&option.name), "{}", option.name);
        for line in &option.lines {
            assert!(table.contains(&money(line.usd_per_month)));
        }
    }
    let captions = page.matches("<caption>").count();
    assert_eq!(captions, page.matches("<table").count());
}

#[test]
fn terminal_and_page_print_the_same_numbers() {
    let plan = support::plan();
    let page = page();
    let text = terminal::render(&plan, 200, false);
    for option in &plan.options {
        let amounts = [
            money(option.usd_per_month),
            money(option.usd_per_request.times(1000.into())),
            money(option.usd_per_successful_outcome.unwrap()),
        ];
        for amount in amounts {
            assert!(page.contains(&amount) && text.contains(&amount), "{amount}");
        }
    }
}

#[test]
fn a_narrow_range_still_has_labelled_axes() {
    let mut plan = support::plan();
    for point in &mut plan.load_curve {
        point.offered_per_second /= 1000.0;
        point.ttft_p50_seconds = Some(0.31);
        point.ttft_p95_seconds = Some(0.42);
    }
    for level in &mut plan.measured.levels {
        level.offered_per_second /= 1000.0;
    }
    let page = html::render(&plan).unwrap();
    let latency = charts(&page)[2];
    assert!(latency.contains("100 ms") && latency.contains("\n1 s\n"), "{latency}");
    assert!(latency.contains("\n0.001\n"), "{latency}");
}

#[test]
fn absurd_numbers_do_not_break_the_charts() {
    let mut plan = support::plan();
    plan.traffic.requests_per_month = 1e300;
    for (index, point) in plan.load_curve.iter_mut().enumerate() {
        point.offered_per_second = if index == 0 { 0.0 } else { 1e300 };
        point.ttft_p50_seconds = Some(-1.0);
    }
    for level in &mut plan.measured.levels {
        level.offered_per_second = 1e300;
    }
    for point in &mut plan.cost_curve {
        point.requests_per_month = 0.0;
    }
    for bar in plan.uncertainty.iter_mut().flat_map(|found| &mut found.tornado) {
        bar.saves_per_success_at_low = f64::NEG_INFINITY;
    }
    assert_eq!(
        charts(&html::render(&plan).unwrap()).len(),
        5,
        "all but the tornado, which would say nothing"
    );
}

#[test]
fn fifty_options_stay_under_three_megabytes() {
    let mut plan = support::plan();
    for index in 0..50 {
        let mut more = plan.options[0].clone();
        more.id = format!("api:more/{index}");
        more.name = format!("provider-{index}/a-model-with-a-rather-long-name-{index}");
        for line in &mut more.lines {
            line.usd_per_month = breakeven_hardware::Usd::from_f64(12.5).unwrap();
        }
        plan.options.push(more);
    }
    let size = html::render(&plan).unwrap().len();
    assert!(size < 3_000_000, "{size} bytes");
}

#[test]
fn self_host_is_drawn_among_many_options() {
    let mut plan = support::plan();
    let own = plan.options.remove(1);
    for index in 0..20 {
        let mut more = plan.options[0].clone();
        more.id = format!("api:more/{index}");
        plan.options.push(more);
    }
    plan.options.push(own);
    let page = html::render(&plan).unwrap();
    let key = page.split("class=\"key\"").nth(1).unwrap().split("</ul>").next().unwrap();
    assert!(key.contains("self-host"), "{key}");
}
