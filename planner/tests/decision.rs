//! The decision's laws: the fast model is the exact one, odds add up, draws repeat, sums are sums, bills are split to the cent.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

mod support;

use breakeven_hardware::Usd;
use breakeven_planner::{
    Plan, Product, SELF_HOST,
    plan::decision_plan::{AllocationPlan, Uncertainty},
};
use proptest::prelude::*;
use support::{measurement, planned, product};

const BASE: &str = "[success]\nprobability = { low = 0.6, likely = 0.7, high = 0.8 }\n\
                    [fleet]\nusd_per_hour = { low = 0.2, likely = 0.5, high = 1.5 }\n\
                    [[api]]\nprovider = \"openai\"\nmodel = \"gpt-5-nano\"\n\
                    [[api]]\nprovider = \"openai\"\nmodel = \"gpt-4o-mini\"\nsuccess_probability = 0.75\n";

fn plan_of(requests: f64, extra: &str) -> Plan {
    let product = product(requests, extra);
    planned(&product, &measurement(&product, 4.0)).unwrap()
}

fn refused(extra: &str) -> String {
    let text = include_str!("../../examples/support-bot.toml");
    Product::parse(&format!("{text}\n{extra}"), "product.toml").unwrap_err().to_string()
}

fn uncertainty(plan: &Plan) -> &Uncertainty {
    plan.uncertainty.as_ref().unwrap()
}

#[test]
fn odds_add_up_to_one_and_a_seed_repeats() {
    let draws = "[uncertainty]\ndraws = 2000\nseed = 7\n";
    let first = plan_of(3_000_000.0, &format!("{BASE}{draws}"));
    let again = plan_of(3_000_000.0, &format!("{BASE}{draws}"));
    assert_eq!(first.uncertainty, again.uncertainty);
    let other = plan_of(3_000_000.0, &format!("{BASE}[uncertainty]\ndraws = 2000\nseed = 8\n"));
    assert_ne!(first.uncertainty, other.uncertainty);
    let found = uncertainty(&first);
    let sum: f64 = found.options.iter().map(|option| option.p_cheapest).sum();
    assert!((sum - 1.0).abs() < 1e-9, "{sum}");
    assert!(found.cells.len() >= 9, "{} cells", found.cells.len());
    for cell in &found.cells {
        let sum: f64 = cell.p_cheapest.iter().map(|(_, share)| share).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{cell:?}");
    }
    for option in &found.options {
        let s = option.usd_per_month.unwrap();
        assert!((option.available - 1.0).abs() < 1e-12, "{option:?}");
        assert!(s.p5 <= s.p10 && s.p10 <= s.p50 && s.p50 <= s.p90 && s.p90 <= s.p95, "{option:?}");
    }
}

#[test]
fn likely_values_are_what_the_bills_are_made_of() {
    let plain = BASE
        .replace("{ low = 0.6, likely = 0.7, high = 0.8 }", "0.7")
        .replace("{ low = 0.2, likely = 0.5, high = 1.5 }", "0.5");
    let (with, without) = (plan_of(1_000_000.0, BASE), plan_of(1_000_000.0, &plain));
    assert_eq!(with.options, without.options);
    assert_eq!(with.decision, without.decision);
}

#[test]
fn a_measured_capacity_alone_makes_the_bill_uncertain() {
    let plain = "[success]\nprobability = 0.7\n[fleet]\nusd_per_hour = 0.5\n[[api]]\nprovider = \"openai\"\nmodel = \"gpt-5-nano\"\n";
    let plan = plan_of(1_000_000.0, plain);
    let found = uncertainty(&plan);
    assert_eq!(found.inputs.iter().map(|i| i.path.as_str()).collect::<Vec<_>>(), ["measured.capacity"]);
}

#[test]
fn the_matrix_horizon_and_lines_are_sums() {
    let horizon = "[horizon]\nmonths = 36\ngrowth_per_month = 0.03\napi_price_change_per_year = -0.3\n\
                   discount_rate_per_year = 0.08\nupfront_usd = 20_000\n";
    let plan = plan_of(2_000_000.0, &format!("{BASE}{horizon}"));
    let matrix = plan.scenarios.as_ref().unwrap();
    assert_eq!(matrix.cells.len(), matrix.scenarios.len() * matrix.stresses.len());
    for option in matrix.cells.iter().flat_map(|cell| &cell.options).filter(|o| o.infeasible.is_none()) {
        assert_eq!(option.lines.iter().map(|line| line.usd).sum::<Usd>(), option.usd_per_month);
    }
    let plain =
        matrix.cells.iter().find(|cell| cell.scenario == "expected" && cell.stress == "none").unwrap();
    for option in &plain.options {
        let own = plan.options.iter().find(|o| o.id == option.id).unwrap();
        assert_eq!(option.usd_per_month, own.usd_per_month, "{}", option.id);
    }
    let months = plan.horizon.as_ref().unwrap();
    assert_eq!(months.requests_by_month.len(), 36);
    assert!((months.requests_by_month[35] / 2e6 - 1.03f64.powi(35)).abs() < 1e-9);
    for option in &months.options {
        assert_eq!(option.usd_by_month.iter().copied().sum::<Usd>(), option.usd_total);
        assert_eq!(option.lines.iter().map(|line| line.usd).sum::<Usd>(), option.usd_total);
    }
}

#[test]
fn a_present_value_is_that_of_the_textbook() {
    // An ordinary annuity of twelve payments at the monthly rate r = 1.08^(1/12) − 1: payment · (1 − 1/1.08) / r.
    let flat = "[horizon]\nmonths = 12\ndiscount_rate_per_year = 0.08\n";
    let plan = plan_of(1_000_000.0, &format!("{BASE}{flat}"));
    let rate = 1.08f64.powf(1.0 / 12.0) - 1.0;
    let annuity = (1.0 - 1.0 / 1.08) / rate;
    for option in &plan.horizon.as_ref().unwrap().options {
        let monthly = option.usd_by_month[0].to_f64();
        let expected = monthly * annuity;
        assert!((option.npv_usd.to_f64() - expected).abs() < 1e-5, "{option:?}");
    }
}

const OWN: &str = "[success]\nprobability = 0.7\n[fleet]\nusd_per_hour = 0.5\nreplicas_lost = 2\n";

/// Splits the bill by three teams and a rule for idle capacity, with an API as the choice or our own replicas.
fn split_by(idle: &str, base: &str) -> (Plan, AllocationPlan) {
    let tables = format!(
        "[[cost]]\nline = \"support\"\nusd_per_month = 1234.567\n\
         [[allocation]]\nby = \"team\"\nidle = \"{idle}\"\n\
         [[allocation.part]]\nname = \"sales\"\nrequests = 3\n[[allocation.part]]\nname = \"support\"\nrequests = 5\n\
         [[allocation.part]]\nname = \"research\"\nrequests = 0.1\n"
    );
    let plan = plan_of(2_345_678.0, &format!("{base}{tables}"));
    let [split] = plan.allocations.as_slice() else { panic!("{:?}", plan.allocations) };
    let split = split.clone();
    (plan, split)
}

#[test]
fn the_bill_is_split_to_the_cent() {
    for (idle, base) in
        ["by_use", "equally", "apart"].into_iter().flat_map(|idle| [(idle, BASE), (idle, OWN)])
    {
        let (plan, split) = split_by(idle, base);
        let choice = plan.options.iter().find(|o| o.id == split.option).unwrap();
        assert_eq!(split.option == SELF_HOST, base == OWN);
        assert_eq!(split.usd_per_month, choice.usd_per_month.rounded(2));
        assert_eq!(split.parts.iter().map(|part| part.usd_per_month).sum::<Usd>(), split.usd_per_month);
        for part in &split.parts {
            assert_eq!(part.lines.iter().map(|line| line.usd).sum::<Usd>(), part.usd_per_month);
        }
    }
}

#[test]
fn idle_capacity_goes_by_its_rule() {
    let of = |split: &AllocationPlan, name: &str| {
        split.parts.iter().find(|part| part.name == name).unwrap().clone()
    };
    let (plan, apart) = split_by("apart", OWN);
    let idle = of(&apart, "idle");
    // What is paid for and not busy: the rented replicas' idle share of the bill for model calls.
    let calls: f64 = plan.options.iter().find(|o| o.id == SELF_HOST).unwrap().lines[..2]
        .iter()
        .map(|line| line.usd_per_month.to_f64())
        .sum();
    let busy = plan.fleet.paid_utilization(breakeven_hardware::sheet::Term::OnDemand).unwrap();
    assert!(busy > 0.05 && busy < 0.9, "{busy}");
    assert!(
        (idle.usd_per_month.to_f64() - calls * (1.0 - busy)).abs() < 0.02,
        "{idle:?} of {calls} at {busy}"
    );
    let (_, equally) = split_by("equally", OWN);
    let (sales, research) = (of(&equally, "sales"), of(&equally, "research"));
    assert!((sales.idle_usd_per_month - research.idle_usd_per_month).to_f64().abs() < 0.03);
    let (_, by_use) = split_by("by_use", OWN);
    let ratio =
        of(&by_use, "sales").idle_usd_per_month.to_f64() / of(&by_use, "support").idle_usd_per_month.to_f64();
    assert!((ratio - 0.6).abs() < 1e-3, "{ratio}");
}

#[test]
fn what_capacity_does_to_the_bill_is_what_planning_with_it_does() {
    // An API beside it that is far dearer: the bar is that of the choice, and has somebody to lead against.
    let dear = format!("{OWN}[[api]]\nprovider = \"openai\"\nmodel = \"gpt-5.5\"\n");
    let product = product(40_000_000.0, &dear);
    let plan = planned(&product, &measurement(&product, 4.0)).unwrap();
    let found = uncertainty(&plan);
    let bar = found.tornado.iter().find(|bar| bar.path == "measured.capacity").unwrap();
    assert!(bar.usd_per_month_at_low > bar.usd_per_month_at_high, "{bar:?}");
    for (capacity, usd) in [(bar.low, bar.usd_per_month_at_low), (bar.high, bar.usd_per_month_at_high)] {
        let exact = planned(&product, &measurement(&product, capacity)).unwrap();
        let exact = exact.options.iter().find(|o| o.id == SELF_HOST).unwrap().usd_per_month.to_f64();
        assert!((usd / exact - 1.0).abs() < 1e-9, "{capacity}: {usd} {exact}");
    }
}

#[test]
fn the_months_of_the_draws_are_the_horizon_s() {
    let horizon = "[horizon]\nmonths = 24\ngrowth_per_month = 0.05\napi_price_change_per_year = -0.3\n\
                   machine_price_change_per_year = -0.1\n[[stack.operational_debt]]\nqa_review_hours_per_month = 100\n\
                   loaded_usd_per_hour = 80\ngrowth_per_year = 0.4\n";
    let base = "[success]\nprobability = 0.7\n[fleet]\nusd_per_hour = { low = 0.5, likely = 0.5, high = 0.5 }\n\
                [[api]]\nprovider = \"openai\"\nmodel = \"gpt-5-nano\"\n[uncertainty]\ndraws = 100\n";
    let product = product(3_000_000.0, &format!("{base}{horizon}"));
    let mut measured = measurement(&product, 4.0);
    let capacity = measured.search.as_mut().unwrap().capacity.as_mut().unwrap();
    (capacity.low, capacity.high) = (None, None);
    let plan = planned(&product, &measured).unwrap();
    let months = plan.horizon.as_ref().unwrap();
    for option in &uncertainty(&plan).options {
        let exact = months.options.iter().find(|o| o.id == option.id).unwrap().usd_total.to_f64() / 24.0;
        let drawn = option.usd_per_month.unwrap().p50;
        assert!((drawn / exact - 1.0).abs() < 1e-9, "{}: {drawn} {exact}", option.id);
    }
}

#[test]
fn named_and_measured_numbers_are_drawn() {
    let text = "[success]\nprobability = { measured = \"goodput\", likely = 0.5 }\n\
                retries_per_request = { distribution = \"lognormal\", median = 0.02, p90 = 0.05 }\n\
                [fleet]\nusd_per_hour = { distribution = \"triangular\", low = 0.2, likely = 0.5, high = 1 }\n\
                [[cost]]\nline = \"support\"\nusd_per_month = { distribution = \"uniform\", low = 100, high = 300 }\n";
    let plan = plan_of(1_000_000.0, text);
    let found = uncertainty(&plan);
    let of = |path: &str| found.inputs.iter().find(|input| input.path == path).unwrap();
    assert!(of("success.retries_per_request").distribution.starts_with("log-normal"));
    assert!(of("fleet.usd_per_hour").distribution.starts_with("triangular"));
    assert!((of("cost[0].usd_per_month").likely - 200.0).abs() < 1e-9);
    // All 200 requests of the measured level were within the SLO, by no means 0.5 of them.
    let measured = of("success.probability");
    assert!(measured.distribution.starts_with("measured") && measured.likely > 0.99, "{measured:?}");
    assert!(plan.options.iter().all(|option| option.success_probability.get() > 0.99));
}

#[test]
fn an_unknown_segment_in_a_split_is_refused() {
    let tables = "[[allocation]]\nby = \"team\"\n[[allocation.part]]\nname = \"a\"\nrequests = 1\nsegment = \"nobody\"\n";
    let product = product(1e6, &format!("{BASE}{tables}"));
    let error = planned(&product, &measurement(&product, 4.0)).unwrap_err().to_string();
    assert!(error.contains("allocation part `a` is of segment `nobody`, expected one of:"), "{error}");
}

#[test]
fn nonsense_is_refused_with_its_place() {
    for (extra, says) in [
        ("[horizon]\nmonths = 0\n", "expected a nonzero"),
        ("[horizon]\nmonths = 500\n", "expected a horizon of 1 to 120 months, found 500"),
        ("[uncertainty]\ndraws = 5\n", "expected 100 to 100000 draws, found 5"),
        ("[[allocation]]\nby = \"team\"\npart = []\n", "expected at least one [[allocation.part]]"),
        (
            "[[cost]]\nline = \"support\"\nusd_per_month = { low = 5, likely = 4, high = 9 }\n",
            "expected low <= likely <= high",
        ),
        (
            "[[cost]]\nline = \"support\"\nusd_per_month = { distribution = \"normal\", mean = 5, sd = 100 }\n",
            "narrow the distribution or give it min and max",
        ),
    ] {
        let error = refused(extra);
        assert!(error.contains(says) && error.contains("product.toml"), "{extra}: {error}");
    }
}

#[test]
fn a_flip_is_where_the_answer_turns() {
    let plan = plan_of(10_000_000.0, BASE);
    let found = uncertainty(&plan);
    let price = found.flips.iter().find(|flip| flip.path == "fleet.usd_per_hour").unwrap();
    let turned = [&price.below, &price.above].into_iter().flatten().next().cloned();
    let Some((value, other)) = turned else { panic!("{price:?}") };
    let at = |usd: f64| {
        let text = BASE.replace("{ low = 0.2, likely = 0.5, high = 1.5 }", &format!("{usd}"));
        plan_of(10_000_000.0, &text).decision.choice.unwrap()
    };
    let step = if value < price.now { 1e-6 } else { -1e-6 };
    assert_eq!(at(value * (1.0 - step)), other);
    assert_ne!(at(value * (1.0 + step)), other);
}

proptest! {
    // Each case plans twice and more in full.
    #![proptest_config(ProptestConfig::with_cases(12))]
    /// A distribution whose ends are its middle draws that value only: every draw's bill is then the exact plan's.
    #[test]
    fn the_fast_model_is_the_exact_one(
        term in prop::sample::select(vec!["on_demand", "reserved-1y"]), owned_wins in any::<bool>(),
        requests in 1e4..5e7f64, price in 0.05..5.0f64, retries in 0.0..0.5f64, burst in 1.0..3.0f64, monthly in 0.0..1e4f64,
        each in 0.0..0.01f64, failing in 0.0..3.0f64, success in 0.2..0.99f64, lost in 0u32..3,
    ) {
        // Without an API the cells are about our own replicas.
        let apis = if owned_wins {
            ""
        } else {
            "[[api]]\nprovider = \"openai\"\nmodel = \"gpt-5-nano\"\n[[api]]\nprovider = \"openai\"\nmodel = \"gpt-4o-mini\"\n"
        };
        let point = |x: f64| format!("{{ low = {x:?}, likely = {x:?}, high = {x:?} }}");
        let extra = format!(
            "burst_factor = {burst:?}\n[success]\nprobability = {success:?}\nretries_per_request = {}\n[fleet]\nusd_per_hour = {}\nreplicas_lost = {lost}\nterm = \"{term}\"\n{apis}\
             [[cost]]\nline = \"support\"\nusd_per_month = {}\nusd_per_request = {}\nusd_per_failure = {}\n\
             [uncertainty]\ndraws = 100\n",
            point(retries), point(price), point(monthly), point(each), point(failing),
        );
        let product = product(requests, &extra);
        let mut measured = measurement(&product, 4.0);
        // Nothing else uncertain.
        measured.search.as_mut().unwrap().capacity.as_mut().unwrap().low = None;
        measured.search.as_mut().unwrap().capacity.as_mut().unwrap().high = None;
        let plan = planned(&product, &measured).unwrap();
        for option in &plan.uncertainty.as_ref().unwrap().options {
            let exact = plan.options.iter().find(|o| o.id == option.id).unwrap().usd_per_month.to_f64();
            let drawn = option.usd_per_month.unwrap();
            for drawn in [drawn.p5, drawn.mean, drawn.p95] {
                prop_assert!((drawn / exact - 1.0).abs() < 1e-9, "{}: {} {}", option.id, drawn, exact);
            }
        }
        // And under every scenario and stress.
        let exact_cells = &plan.scenarios.as_ref().unwrap().cells;
        for cell in &plan.uncertainty.as_ref().unwrap().cells {
            let exact = exact_cells.iter().find(|c| c.scenario == cell.scenario && c.stress == cell.stress).unwrap();
            let (winner, _) = cell.p_cheapest.iter().find(|(_, share)| *share > 0.5).unwrap();
            prop_assert_eq!(Some(winner), exact.choice.as_ref());
            let usd = exact.options.iter().find(|o| o.id == *winner).unwrap().usd_per_month.to_f64();
            let drawn = cell.usd_per_month.unwrap().p50;
            prop_assert!((drawn / usd - 1.0).abs() < 1e-9, "{}, {}: {} {}", cell.scenario, cell.stress, drawn, usd);
        }
    }
}

#[test]
fn the_band_of_a_price_around_the_cost_curve_is_the_curve_at_the_prices_own_quantiles() {
    let priced = |price: &str| {
        plan_of(3_000_000.0, &format!("[success]\nprobability = 0.7\n[fleet]\nusd_per_hour = {price}\n"))
    };
    let drawn = priced("{ distribution = \"uniform\", low = 0.4, high = 0.8 }");
    let (cheap, dear) = (priced("0.4"), priced("0.8"));
    let own = |plan: &Plan, volume: f64| {
        let point =
            plan.cost_curve.iter().find(|point| (point.requests_per_month - volume).abs() < 1e-6 * volume);
        point.unwrap().usd_per_month.iter().find(|(id, _)| id == SELF_HOST).unwrap().1.to_f64()
    };
    let band = uncertainty(&drawn).cost_by_volume.iter().find(|band| band.id == SELF_HOST).unwrap();
    // Up to here one replica carries the load whatever the capacity drawn, which is uncertain too.
    let few: Vec<_> = band.points.iter().filter(|point| point.requests_per_month <= 1e6).collect();
    assert!(few.len() > 10, "{}", few.len());
    for point in few {
        let (low, high) = (own(&cheap, point.requests_per_month), own(&dear, point.requests_per_month));
        for (share, usd) in [(0.05, point.p5), (0.5, point.p50), (0.95, point.p95)] {
            // The bill is a straight line in the price; a quantile of 250 uniform draws is off by sqrt(q (1 - q) / 250).
            let at = (usd - low) / (high - low);
            let error = (share * (1.0 - share) / f64::from(band.draws)).sqrt();
            assert!((at - share).abs() < 4.0 * error, "{point:?}: at {at} of the prices, expected {share}");
        }
    }
}
