//! Several measured machines under several terms: the cheapest is the plan's own, the others stand beside it with the bills that
//! planning each by itself gives.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

mod support;

use breakeven_hardware::PriceBook;
use breakeven_measurement::{Fraction, Measurement};
use breakeven_planner::{
    MeasuredMachine, Plan, PlanOptions, Product, SELF_HOST,
    plan::{OptionKind, OptionPlan, decision_plan::OptionOdds},
    plan_on,
};
use jiff::civil::date;
use support::{measurement, product};

/// One request a second.
const REQUESTS: f64 = 2_629_800.0;
const MONTH: f64 = 730.5;

fn options() -> PlanOptions<'static> {
    PlanOptions { as_of: date(2026, 11, 23), allow_invalid: false, version: "0.0.0" }
}

fn planned(product: &Product, own: f64, machines: &[(&str, f64)]) -> Plan {
    let measured: Vec<(&str, Measurement)> =
        machines.iter().map(|(name, capacity)| (*name, of_run(product, *capacity, name))).collect();
    let machines: Vec<MeasuredMachine<'_>> =
        measured.iter().map(|(name, measurement)| MeasuredMachine { name, measurement }).collect();
    let prices = PriceBook::built_in().unwrap();
    plan_on(product, &measurement(product, own), &machines, &prices, &options()).unwrap()
}

fn of_run(product: &Product, capacity: f64, run: &str) -> Measurement {
    Measurement { run_id: run.to_owned(), ..measurement(product, capacity) }
}

fn option<'a>(plan: &'a Plan, id: &str) -> &'a OptionPlan {
    let ids: Vec<&str> = plan.options.iter().map(|option| option.id.as_str()).collect();
    plan.options.iter().find(|option| option.id == id).unwrap_or_else(|| panic!("{id} among {ids:?}"))
}

fn close(found: &OptionPlan, by_hand: f64) {
    let usd = found.usd_per_month.to_f64();
    assert!((usd - by_hand).abs() < 1e-6 * by_hand, "{}: {usd}, by hand {by_hand}", found.id);
}

const FLEET: &str =
    "[success]\nprobability = 0.9\n[fleet]\nreplicas_lost = 0\nusd_per_hour = 0.5\nscale_up_lag = \"1 s\"\n";

#[test]
fn the_cheapest_machine_is_the_plans_own_and_the_other_stands_beside_it() {
    let file = |usd: f64| {
        let machine =
            format!("[[machine]]\nname = \"fast\"\nmeasurement = \"fast.json\"\nusd_per_hour = {usd}\n");
        product(REQUESTS, &format!("{FLEET}{machine}"))
    };
    // 3 replicas of 0.4 requests a second at 0.50, or one of 1.25 at 0.90.
    let plan = planned(&file(0.9), 0.4, &[("fast", 1.25)]);
    close(option(&plan, SELF_HOST), 0.9 * MONTH);
    close(option(&plan, "self_host:fleet:on-demand"), 3.0 * 0.5 * MONTH);
    assert_eq!(option(&plan, SELF_HOST).name, "self-host the model on fast, on-demand");
    assert_eq!(plan.measured.run_id, "fast");
    assert_eq!(plan.decision.choice.as_deref(), Some(SELF_HOST));
    // Dearer than three of the others.
    let plan = planned(&file(1.6), 0.4, &[("fast", 1.25)]);
    close(option(&plan, SELF_HOST), 3.0 * 0.5 * MONTH);
    close(option(&plan, "self_host:fast:on-demand"), 1.6 * MONTH);
    assert_eq!(plan.measured.run_id, "run-test");
    let drawn = plan.uncertainty.as_ref().unwrap();
    assert!(drawn.left_out.is_empty(), "{:?}", drawn.left_out);
}

/// One measurement whose capacity is known exactly.
fn surely(mut measurement: Measurement) -> Measurement {
    if let Some(capacity) = measurement.search.as_mut().and_then(|search| search.capacity.as_mut()) {
        (capacity.low, capacity.high) = (None, None);
    }
    measurement
}

fn odds<'a>(plan: &'a Plan, id: &str) -> &'a OptionOdds {
    plan.uncertainty.as_ref().unwrap().options.iter().find(|option| option.id == id).unwrap()
}

/// The odds of each cell, which must share out the draws.
fn shares_add_up(plan: &Plan) {
    let drawn = plan.uncertainty.as_ref().unwrap();
    let all: f64 = drawn.options.iter().map(|option| option.p_cheapest).sum();
    assert!((all - 1.0).abs() < 1e-12, "{all}");
    for cell in &drawn.cells {
        let all: f64 = cell.p_cheapest.iter().map(|(_, share)| share).sum();
        assert!((all - 1.0).abs() < 1e-12 && cell.p_cheapest.len() == drawn.options.len(), "{all}");
    }
}

#[test]
fn an_option_beside_is_drawn_as_planning_its_machine_by_itself_draws_it() {
    let owned = "[owned]\nusd_per_server = 12000\naccelerators_per_server = 0\nusd_per_accelerator = 0\nnetwork_capex_share = 0\nspares_share = 0\n\
                 discount_rate_per_year = 0\namortisation_months = 48\nresidual_share = 0\nidle_watts_per_server = 100\n\
                 load_watts_per_server = 500\npue = 1.25\ntariff = { flat = { usd_per_kwh = 0.10 } }\ncolocation_usd_per_kw_month = 150\n\
                 network_usd_per_month = 80\nmaintenance_share_per_year = 0.06\nstaff_usd_per_year = 120000\nstaff_share = 0.05\n";
    let horizon = "[uncertainty]\ndraws = 2000\n[horizon]\nmonths = 24\nmachine_price_change_per_year = -0.2\ngrowth_per_month = 0.03\n";
    let draws = "[uncertainty]\ndraws = 2000\n";
    let burst = "burst_factor = { low = 1, likely = 1.2, high = 2 }\n";
    let anew = "deferrable_share = { low = 0, likely = 0.1, high = 0.3 }\n";
    let cost = "[[cost]]\nline = \"support\"\nonly = \"self_host\"\nusd_per_failure = { low = 0.01, likely = 0.02, high = 0.05 }\n";
    let right = "success_probability = 0.8\n";
    let table = |of: &str| owned.replace("[owned]", &format!("[{of}.owned]"));
    for (traffic, extra, machine, term) in [
        (burst, draws, "usd_per_hour = 1.6\n".to_owned(), "on_demand"),
        (burst, horizon, format!("usd_per_hour = 1.6\n{right}"), "on_demand"),
        (burst, horizon, table("WHERE"), "owned"),
        (anew, draws, format!("usd_per_hour = 1.6\n{right}"), "on_demand"),
    ] {
        let head = |fleet: &str, more: &str| {
            let api = "[[api]]\nprovider = \"openai\"\nmodel = \"gpt-5-nano\"\nsuccess_probability = 0.7\n";
            let text = format!(
                "{traffic}hour_of_day = [1,1,1,1,1,1,1,1,1,2,2,2,2,2,2,2,2,2,1,1,1,1,1,1]\n[success]\nprobability = 0.9\n[fleet]\n\
                 replicas_lost = 0\nscale_up_lag = \"1 s\"\n{fleet}{api}{cost}{extra}{more}"
            );
            product(REQUESTS, &text)
        };
        // Dearer than the plan's own, whatever is drawn, so that it stands beside it.
        let terms = if term == "owned" { "terms = [\"owned\"]\n" } else { "" };
        let (keys, tables) = if term == "owned" {
            (String::new(), machine.replace("WHERE", "machine"))
        } else {
            (machine.clone(), String::new())
        };
        let both = head(
            "usd_per_hour = 0.01\n",
            &format!("[[machine]]\nname = \"fast\"\nmeasurement = \"fast.json\"\n{terms}{keys}{tables}"),
        );
        let fleet =
            format!("term = \"{term}\"\n{keys}{}", machine.replace("WHERE", "fleet").replace(&keys, ""));
        let alone = head(&fleet, "");
        let prices = PriceBook::built_in().unwrap();
        let fast = |product: &Product| surely(of_run(product, 1.25, "fast"));
        let measured = fast(&both);
        let machines = [MeasuredMachine { name: "fast", measurement: &measured }];
        let own = surely(measurement(&both, 0.4));
        let beside = plan_on(&both, &own, &machines, &prices, &options()).unwrap();
        let by_itself = support::planned(&alone, &fast(&alone)).unwrap();
        shares_add_up(&beside);
        let id = format!("self_host:fast:{}", term.replace('_', "-"));
        let (found, wanted) = (odds(&beside, &id), odds(&by_itself, SELF_HOST));
        assert_eq!(found.usd_per_month, wanted.usd_per_month, "{term}: {traffic}{extra}");
        assert_eq!(found.usd_per_successful_outcome, wanted.usd_per_successful_outcome);
        let nano = "api:openai/gpt-5-nano";
        assert_eq!(odds(&beside, nano).usd_per_month, odds(&by_itself, nano).usd_per_month);
        let structural = traffic == anew;
        let left_out = &beside.uncertainty.as_ref().unwrap().left_out;
        assert_eq!(left_out.iter().any(|why| why.contains("plans anew")), structural, "{left_out:?}");
    }
}

#[test]
fn terms_of_one_machine_share_its_draws_and_machines_have_their_own() {
    let file = |other: &str| {
        let text = format!(
            "[success]\nprobability = 0.9\n[fleet]\nreplicas_lost = 0\nusd_per_hour = {{ low = 0.4, likely = 0.5, high = 0.7 }}\n\
             scale_up_lag = \"1 s\"\n{other}[[machine]]\nname = \"twin\"\nmeasurement = \"t.json\"\n\
             usd_per_hour = {{ low = 0.4, likely = 0.51, high = 0.7 }}\n"
        );
        product(REQUESTS, &text)
    };
    let plan = planned(&file(""), 0.4, &[("twin", 0.4)]);
    shares_add_up(&plan);
    let paths: Vec<&str> =
        plan.uncertainty.as_ref().unwrap().inputs.iter().map(|input| input.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "measured.capacity",
            "fleet.usd_per_hour",
            "measured.capacity of twin",
            "machine[twin].usd_per_hour"
        ]
    );
    // Nearly alike, each on its own draws: neither is always the cheaper one.
    let twin = odds(&plan, "self_host:twin:on-demand").p_cheapest;
    assert!((0.4..0.6).contains(&twin), "{twin}");
    // The same price and the same capacity, paid otherwise: every draw is a tie, of which the first takes all.
    let text = "[success]\nprobability = 0.9\n[fleet]\nreplicas_lost = 0\nusd_per_hour = 0.5\nscale_up_lag = \"1 s\"\n\
                other_terms = [\"reserved_1y\"]\n[fleet.purchase]\nreserved_1y_usd_per_hour = 0.5\n";
    let plan = planned(&product(REQUESTS, text), 0.4, &[]);
    shares_add_up(&plan);
    let (own, other) = (odds(&plan, SELF_HOST), odds(&plan, "self_host:fleet:reserved-1y"));
    assert_eq!(own.usd_per_month, other.usd_per_month);
    assert!((own.p_cheapest - 1.0).abs() < 1e-12 && other.p_cheapest.abs() < 1e-12);
    assert_eq!(plan.uncertainty.as_ref().unwrap().inputs.len(), 1);
}

#[test]
fn a_distribution_of_the_product_that_all_machines_share_is_one_input() {
    let text = format!(
        "{}[[machine]]\nname = \"fast\"\nmeasurement = \"f.json\"\nusd_per_hour = 1.6\n[[machine]]\nname = \"other\"\nmeasurement = \"o.json\"\n\
         usd_per_hour = 1.7\nsuccess_probability = 0.5\n",
        FLEET.replace("= 0.9", "= { low = 0.6, likely = 0.9, high = 0.95 }")
    );
    let plan = planned(&product(REQUESTS, &text), 0.4, &[("fast", 1.25), ("other", 1.25)]);
    let drawn = plan.uncertainty.as_ref().unwrap();
    assert!(drawn.left_out.is_empty(), "{:?}", drawn.left_out);
    assert_eq!(drawn.inputs.iter().filter(|input| input.path == "success.probability").count(), 1);
    let per = |id: &str| odds(&plan, id).usd_per_successful_outcome.unwrap();
    // Success moves the machine that takes the product's, not the one with a share of its own.
    let spread = |id: &str| (per(id).p95 / per(id).p5, odds(&plan, id).usd_per_month.unwrap());
    let (fast, usd) = spread("self_host:fast:on-demand");
    assert!(fast > usd.p95 / usd.p5 * 1.05, "{fast}");
    let (other, usd) = spread("self_host:other:on-demand");
    assert!((other - usd.p95 / usd.p5).abs() < 1e-9, "{other}");
    // Where each machine's price flips the answer is looked at too.
    assert!(drawn.flips.iter().any(|flip| flip.path == "fleet.usd_per_hour of self_host:fast:on-demand"));
}

#[test]
fn other_terms_of_the_same_machine_are_options() {
    let text = "[success]\nprobability = 0.9\n[fleet]\nreplicas_lost = 0\nusd_per_hour = 0.5\nscale_up_lag = \"1 s\"\n\
        other_terms = [\"reserved_1y\", \"reserved_3y\"]\n[fleet.purchase]\nreserved_1y_usd_per_hour = 0.3\n";
    let plan = planned(&product(REQUESTS, text), 0.4, &[]);
    close(option(&plan, SELF_HOST), 3.0 * 0.3 * MONTH);
    close(option(&plan, "self_host:fleet:on-demand"), 3.0 * 0.5 * MONTH);
    // No price of three years is known.
    let none = option(&plan, "self_host:fleet:reserved-3y");
    assert!(none.infeasible.as_ref().unwrap().contains("no price for the machine"), "{:?}", none.infeasible);
    assert!(option(&plan, SELF_HOST).name.ends_with("reserved-1y"));
}

#[test]
fn a_bill_beside_is_the_one_that_planning_the_machine_by_itself_gives() {
    let worked = include_str!("fixtures/worked-stages.toml");
    let head = |fleet: &str| {
        format!(
            "[success]\nprobability = 0.8\n[fleet]\nreplicas_lost = 1\n{fleet}[[api]]\nprovider = \"openai\"\nmodel = \"gpt-5-nano\"\n{worked}"
        )
    };
    let machine = "[[machine]]\nname = \"other\"\nmeasurement = \"m.json\"\nusd_per_hour = { low = 3, likely = 4, high = 5 }\nsuccess_probability = 0.7\n";
    let own = "usd_per_hour = 0.5\n";
    let beside = planned(&product(REQUESTS, &(head(own) + machine)), 0.4, &[("other", 0.7)]);
    let other = "usd_per_hour = { low = 3, likely = 4, high = 5 }\n";
    let file = head(other).replace("probability = 0.8\n[fleet]", "probability = 0.7\n[fleet]");
    let alone = planned(&product(REQUESTS, &file), 0.7, &[]);
    let (beside_it, by_itself) = (option(&beside, "self_host:other:on-demand"), option(&alone, SELF_HOST));
    assert_eq!(beside_it.usd_per_month, by_itself.usd_per_month);
    assert_eq!(beside_it.success_probability, by_itself.success_probability);
    assert_eq!(beside_it.usd_per_month_interval, by_itself.usd_per_month_interval);
    let usd = |option: &OptionPlan| option.lines.iter().map(|line| line.usd_per_month).collect::<Vec<_>>();
    assert_eq!(usd(beside_it), usd(by_itself));
    // The machine's own distribution is drawn as its own, and as the fleet's where the plan stands on that machine.
    let paths = |plan: &Plan| {
        plan.uncertainty.iter().flat_map(|u| &u.inputs).map(|input| input.path.clone()).collect::<Vec<_>>()
    };
    assert!(!paths(&beside).contains(&"fleet.usd_per_hour".to_owned()), "{:?}", paths(&beside));
    assert!(paths(&beside).contains(&"machine[other].usd_per_hour".to_owned()), "{:?}", paths(&beside));
    assert!(paths(&alone).contains(&"fleet.usd_per_hour".to_owned()));
    let cheap = machine
        .replace("low = 3, likely = 4, high = 5", "low = 0.1, likely = 0.2, high = 0.3")
        .replace("success_probability = 0.7", "success_probability = 0.8");
    let chosen = planned(&product(REQUESTS, &(head(own) + &cheap)), 0.4, &[("other", 0.7)]);
    assert!(paths(&chosen).contains(&"fleet.usd_per_hour".to_owned()), "{:?}", paths(&chosen));
    assert!(option(&chosen, SELF_HOST).name.ends_with("on other, on-demand"));
}

#[test]
fn a_mix_of_machines_costs_what_trying_every_mix_costs() {
    // 9 requests a second by day and 2.3 by night, flat over the week.
    let hours = [[9.0; 14].as_slice(), [2.3; 10].as_slice()].concat();
    let mean: f64 = hours.iter().sum::<f64>() / 24.0;
    let text = format!(
        "hour_of_day = {hours:?}\n[success]\nprobability = 0.9\n[fleet]\nreplicas_lost = 0\nusd_per_hour = 0.9\n\
         scale_up_lag = \"1 s\"\n[[machine]]\nname = \"big\"\nmeasurement = \"b.json\"\nterms = [\"reserved_1y\"]\nusd_per_hour = 2.4\n"
    );
    let product = product(REQUESTS * mean, &text);
    let plan = planned(&product, 1.0, &[("big", 5.0)]);
    let week = breakeven_planner::traffic::Week::of(&product);
    let demand: Vec<f64> = week.ready.iter().map(|ready| ready * mean).collect();
    // `big` always, the small one by the hour.
    let tried = (0..=4_u32).map(|big| {
        let small: f64 = demand.iter().map(|d| (d - 5.0 * f64::from(big) - 1e-9).max(0.0).ceil()).sum();
        (f64::from(big) * 2.4 * 168.0 + small * 0.9) / 168.0 * MONTH
    });
    let best = tried.fold(f64::INFINITY, f64::min);
    let mix = option(&plan, "self_host_machines");
    close(mix, best);
    assert!(mix.usd_per_month < option(&plan, SELF_HOST).usd_per_month);
    assert!(
        matches!(&mix.kind, OptionKind::SelfHost { term, .. } if term == "1 x big reserved-1y + up to 4 x fleet on-demand"),
        "{:?}",
        mix.kind
    );
    let sum: f64 = mix.lines.iter().map(|line| line.usd_per_month.to_f64()).sum();
    assert!((sum - mix.usd_per_month.to_f64()).abs() < 1e-9);
    assert_eq!(plan.decision.choice.as_deref(), Some("self_host_machines"));
}

#[test]
fn a_machines_own_success_is_none_of_the_apis() {
    let api = "[[api]]\nprovider = \"openai\"\nmodel = \"gpt-5-nano\"\n";
    let machine = |share: &str| {
        format!(
            "[[machine]]\nname = \"fast\"\nmeasurement = \"fast.json\"\nusd_per_hour = 0.01\n{share}{api}"
        )
    };
    let with = |share: &str| {
        planned(&product(REQUESTS, &format!("{FLEET}{}", machine(share))), 0.4, &[("fast", 1.25)])
    };
    let (same, other) = (with(""), with("success_probability = 0.6\n"));
    let nano = "api:openai/gpt-5-nano";
    assert_eq!(
        option(&same, nano).usd_per_successful_outcome,
        option(&other, nano).usd_per_successful_outcome
    );
    assert!((option(&other, SELF_HOST).success_probability.get() - 0.6).abs() < 1e-12);
    assert!((option(&other, nano).success_probability.get() - 0.9).abs() < 1e-12);
    let of = |plan: &Plan, id: &str| {
        let draws = plan.uncertainty.as_ref().unwrap();
        draws.options.iter().find(|option| option.id == id).unwrap().usd_per_successful_outcome.unwrap().p50
    };
    assert!((of(&same, nano) - of(&other, nano)).abs() < 1e-15);
    assert!((of(&other, SELF_HOST) / of(&same, SELF_HOST) - 0.9 / 0.6).abs() < 1e-9);
}

#[test]
fn one_measurement_under_two_names_is_drawn_once() {
    let machine = |name: &str, usd: f64| {
        format!("[[machine]]\nname = \"{name}\"\nmeasurement = \"m.json\"\nusd_per_hour = {usd}\n")
    };
    let plan_of = |file: &Product, own: &Measurement, names: &[&str]| {
        let shared = of_run(file, 0.4, "shared");
        let machines: Vec<MeasuredMachine<'_>> =
            names.iter().map(|name| MeasuredMachine { name, measurement: &shared }).collect();
        plan_on(file, own, &machines, &PriceBook::built_in().unwrap(), &options()).unwrap()
    };
    let paths = |plan: &Plan| -> Vec<String> {
        plan.uncertainty.as_ref().unwrap().inputs.iter().map(|input| input.path.clone()).collect()
    };
    // On the plan's own measurement.
    let file = product(REQUESTS, &format!("{FLEET}{}", machine("twin", 0.51)));
    let plan = plan_of(&file, &of_run(&file, 0.4, "shared"), &["twin"]);
    shares_add_up(&plan);
    assert_eq!(paths(&plan), ["measured.capacity"]);
    assert!(odds(&plan, "self_host:twin:on-demand").p_cheapest.abs() < 1e-12);
    // Two others of one file, dearer than the plan's own, which has draws of its own.
    let file = product(REQUESTS, &format!("{FLEET}{}{}", machine("a", 0.52), machine("b", 0.53)));
    let plan = plan_of(&file, &measurement(&file, 0.4), &["a", "b"]);
    shares_add_up(&plan);
    assert_eq!(paths(&plan), ["measured.capacity", "measured.capacity of a"]);
    assert!(odds(&plan, "self_host:a:on-demand").p_cheapest > 0.0);
    assert!(odds(&plan, "self_host:b:on-demand").p_cheapest.abs() < 1e-12);
}

#[test]
fn a_term_costs_the_same_beside_and_in_the_mix_of_terms() {
    let text = "[success]\nprobability = 0.9\n[fleet]\nreplicas_lost = 0\nusd_per_hour = 0.5\nscale_up_lag = \"1 s\"\n\
        other_terms = [\"reserved_1y\"]\n[fleet.purchase]\nreserved_1y_usd_per_hour = 0.3\n";
    let hours = [[2.0; 12].as_slice(), [1.0; 12].as_slice()].concat();
    let text = format!("hour_of_day = {hours:?}\n{text}");
    let plan = planned(&product(REQUESTS, &text), 0.4, &[]);
    let alone = planned(&product(REQUESTS, &text.replace("other_terms = [\"reserved_1y\"]\n", "")), 0.4, &[]);
    // The option beside the fleet's own term takes nothing from the mix of both.
    assert_eq!(option(&plan, "self_host_mix").usd_per_month, option(&alone, "self_host_mix").usd_per_month);
    assert!(option(&plan, SELF_HOST).name.ends_with("reserved-1y"));
}

#[test]
fn a_lever_on_what_another_machine_has_not_takes_none_away() {
    let text = format!(
        "{FLEET}[[lever]]\nname = \"negotiate\"\ntimes = {{ \"fleet.usd_per_hour\" = 0.8 }}\n\
         [[machine]]\nname = \"rented\"\nmeasurement = \"r.json\"\ninstance = \"g6.xlarge\"\n"
    );
    let plan = planned(&product(REQUESTS, &text), 0.4, &[("rented", 1.25)]);
    let rented = plan.options.iter().find(|option| option.name.contains("rented")).unwrap();
    assert!(
        !rented.infeasible.as_ref().is_some_and(|why| why.contains("multiply")),
        "{:?}",
        rented.infeasible
    );
}

#[test]
fn two_prices_of_one_term_are_said_and_one_is_used_everywhere() {
    let text = format!("{FLEET}[fleet.purchase]\non_demand_usd_per_hour = 0.6\n");
    let plan = planned(&product(REQUESTS, &text), 0.4, &[]);
    close(option(&plan, SELF_HOST), 3.0 * 0.6 * MONTH);
    close(option(&plan, "self_host_mix"), 3.0 * 0.6 * MONTH);
    assert!(
        plan.warnings.iter().any(|w| w.contains("fleet.usd_per_hour is not used")),
        "{:?}",
        plan.warnings
    );
    let once = planned(&product(REQUESTS, FLEET), 0.4, &[]);
    assert!(!once.warnings.iter().any(|w| w.contains("not used")), "{:?}", once.warnings);
}

#[test]
fn an_hour_without_traffic_keeps_a_replica_in_the_mix_too() {
    let hours = [[0.0; 10].as_slice(), [9.0; 14].as_slice()].concat();
    let mean: f64 = hours.iter().sum::<f64>() / 24.0;
    let text = format!(
        "hour_of_day = {hours:?}\n[success]\nprobability = 0.9\n[fleet]\nreplicas_lost = 0\nusd_per_hour = 0.9\n\
         scale_up_lag = \"1 s\"\n[[machine]]\nname = \"big\"\nmeasurement = \"b.json\"\nusd_per_hour = 4\n"
    );
    let plan = planned(&product(REQUESTS * mean, &text), 1.0, &[("big", 5.0)]);
    // By day one big and four small; by night one small, and in the hour before the day (the lag) the day's.
    close(option(&plan, "self_host_machines"), (15.0 * (4.0 + 4.0 * 0.9) + 9.0 * 0.9) / 24.0 * MONTH);
}

#[test]
fn what_cannot_be_compared_is_said() {
    let machine = "[[machine]]\nname = \"fast\"\nmeasurement = \"fast.json\"\nusd_per_hour = 0.9\n";
    let product = product(REQUESTS, &format!("{FLEET}{machine}"));
    let alone = support::planned(&product, &measurement(&product, 0.4)).unwrap();
    assert!(alone.warnings.iter().any(|w| w.contains("`fast` is not compared")), "{:?}", alone.warnings);
    assert_eq!(option(&alone, SELF_HOST).name, "self-host the model");
    // A run that stopped early is no machine to plan on; the others are.
    let mut stopped = of_run(&product, 9.0, "stopped");
    stopped.status =
        breakeven_measurement::run::Status::Incomplete { reason: "it was interrupted".to_owned() };
    let machines = [MeasuredMachine { name: "fast", measurement: &stopped }];
    let prices = PriceBook::built_in().unwrap();
    let plan = plan_on(&product, &measurement(&product, 0.4), &machines, &prices, &options()).unwrap();
    let refused = option(&plan, "self_host:fast:on-demand");
    assert!(refused.infeasible.as_ref().unwrap().contains("interrupted"));
    close(option(&plan, SELF_HOST), 3.0 * 0.5 * MONTH);
    assert_eq!(refused.success_probability, Fraction::ZERO);
}

#[test]
fn nonsense_machines_are_refused_with_their_place() {
    let refused = |machine: &str| {
        let head = "name = \"test\"\n[model]\nname = \"tiny\"\n[slo]\nttft = \"1 s\"\nattainment = 0.9\n[[segment]]\nname = \"all\"\n\
            weight = 1\ninput_tokens = { median = 100, p90 = 100 }\noutput_tokens = { median = 50, p90 = 50 }\n[traffic]\n\
            requests_per_month = 1000\n[success]\nprobability = 0.9\n";
        Product::parse(&format!("{head}{machine}"), "test.toml").unwrap_err().to_string()
    };
    let one = "[[machine]]\nname = \"a\"\nmeasurement = \"a.json\"\n";
    let cases = [
        (format!("{one}{one}"), "expected machines of different names, found `a` twice"),
        (one.replace("\"a\"", "\"a b\""), "expected a name of letters"),
        (
            format!("{one}terms = [\"on_demand\", \"reserved_1y\"]\nusd_per_hour = 1\n"),
            "expected one term beside usd_per_hour",
        ),
        (format!("{one}terms = [\"owned\", \"owned\"]\n"), "expected different terms, found `owned` twice"),
        (format!("{one}terms = [\"spot\"]\n"), "spot is bought by [fleet.purchase]"),
        (one.replace("\"a\"", "\"fleet\""), "expected another name than `fleet`"),
        (format!("{one}terms = [\"weekly\"]\n"), "weekly"),
        (one.replace("measurement = \"a.json\"\n", ""), "measurement"),
    ];
    for (text, said) in cases {
        let message = refused(&text);
        assert!(message.contains("test.toml, line") && message.contains(said), "{message}");
    }
}
