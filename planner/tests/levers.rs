//! Levers: docs/METHOD.md's worked example, the laws of a ranking, and what is refused.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

mod support;

use breakeven_hardware::{PriceBook, Usd};
use breakeven_planner::{
    PlanOptions, Product, SELF_HOST,
    levers::{
        levers,
        ranking::{OptionLevers, Ranking},
    },
};
use jiff::civil::date;
use proptest::prelude::*;
use support::{measurement, planned, product};

const NANO: &str = "api:openai/gpt-5-nano";
const REQUESTS: f64 = 2_629_800.0;
const BASE: &str = "[success]\nprobability = 0.9\n[fleet]\nusd_per_hour = 0.5\n\
                    [[api]]\nprovider = \"openai\"\nmodel = \"gpt-5-nano\"\n";

/// The workflow that docs/METHOD.md works by hand.
const WORKED: &str = include_str!("fixtures/worked-stages.toml");

/// The levers that docs/METHOD.md works by hand.
const LEVERS: &str = r#"
[[lever]]
name = "cheaper check"
set = { "stage[check].usd_per_call" = 0.0001 }
[[lever]]
name = "better check"
[lever.set]
"stage[check].branches[success].probability" = 0.85
"stage[check].branches[answer].probability" = 0.12
"stage[check].branches[person].probability" = 0.03
[[lever]]
name = "no retries"
set = { "stage.answer.retries.most" = 0 }
"#;

fn ranked(product: &Product, capacity: f64) -> Ranking {
    let prices = PriceBook::built_in().unwrap();
    let options = PlanOptions { as_of: date(2026, 11, 23), allow_invalid: false, version: "0.0.0" };
    levers(product, &measurement(product, capacity), &prices, &options).unwrap()
}

fn of(requests: f64, capacity: f64, extra: &str) -> Ranking {
    ranked(&product(requests, extra), capacity)
}

fn option<'a>(ranking: &'a Ranking, id: &str) -> &'a OptionLevers {
    ranking.options.iter().find(|option| option.id == id).unwrap()
}

fn saved(ranking: &Ranking, id: &str, lever: &str) -> f64 {
    let option = option(ranking, id);
    let effect = option.single.iter().chain(&option.fewer_successes).find(|effect| effect.lever == lever);
    effect.unwrap().saved_usd_per_month.unwrap().to_f64()
}

fn close(found: f64, by_hand: f64) {
    assert!((found - by_hand).abs() <= 1e-6 * by_hand.abs().max(1e-3), "{found}, by hand {by_hand}");
}

#[test]
fn the_ranking_is_as_docs_method_works_it() {
    let ranking = of(REQUESTS, 0.4, &format!("{BASE}{WORKED}{LEVERS}"));
    let nano = option(&ranking, NANO);
    close(nano.off.unwrap().usd_per_month.to_f64(), 1_270_469.355_987);
    // C = 1.04887218 checks a request, each USD 0.0001 cheaper.
    close(saved(&ranking, NANO, "cheaper check"), REQUESTS * 1.048_872_180_5 * 0.0001);
    // A = 0.9 / (1 - 0.12 x 0.992) answers, C = 0.992 A checks, 0.1 + 0.008 A + 0.03 C people.
    close(saved(&ranking, NANO, "better check"), 176_166.470_384);
    let order: Vec<&str> = nano.single.iter().map(|effect| effect.lever.as_str()).collect();
    assert_eq!(order, ["better check", "cheaper check"]);
    close(nano.single[0].on.unwrap().success, 0.9 * 0.861_423_901_2);
    // Without retries 0.9 x 0.65454545 succeed instead of 0.9 x 0.83909774: apart, whatever it saves.
    let [no_retries] = nano.fewer_successes.as_slice() else { panic!("{nano:?}") };
    assert_eq!(no_retries.lever, "no retries");
    close(no_retries.on.unwrap().success, 0.9 * 0.654_545_454_5);
    close(no_retries.saved_usd_per_month.unwrap().to_f64(), -1_455_827.867_763);
    // Together they save less than each alone: a better check checks less often.
    let best = nano.best.as_ref().unwrap();
    assert_eq!(best.levers, ["cheaper check", "better check"]);
    close(best.saved_usd_per_month.to_f64(), 176_432.984_804);
    close(best.sum_of_singles_usd_per_month.to_f64(), 176_442.302_790);
    let steps: Vec<&str> = best.steps.iter().map(|step| step.lever.as_str()).collect();
    assert_eq!(steps, ["better check", "cheaper check"]);
    close(best.steps[1].saved_usd_per_month.to_f64(), REQUESTS * 1.013_439_883_8 * 0.0001);
    assert!(ranking.search.every_combination);
    assert_eq!(ranking.search.tried, 8);
}

#[test]
fn shorter_prompts_are_fewer_measured_requests() {
    let lever = "[[lever]]\nname = \"trimming\"\ntimes = { \"segment[*].input_tokens\" = 0.5 }\n\
                 once_usd = 3650\nlife_months = 36.5\n";
    let ranking = of(REQUESTS, 0.05, &format!("{BASE}{lever}"));
    // 1 request a second on replicas of 0.05: 20 and one to lose. With 50 prompt tokens instead of 100, a request is
    // (0.002 x 50 + 0.01 x 50) / (0.002 x 100 + 0.01 x 50) = 0.857 of a measured one: 18 and one. Each costs 0.5 x 730.5.
    close(saved(&ranking, SELF_HOST, "trimming"), 2.0 * 0.5 * 730.5 - 100.0);
    close(saved(&ranking, NANO, "trimming"), REQUESTS * 50.0 * 0.05 / 1e6 - 100.0);
    // 3,650 once over 730.50 a month.
    let effect = &option(&ranking, SELF_HOST).single[0];
    close(effect.payback_months.unwrap(), 3_650.0 / 730.5);
    close(option(&ranking, NANO).single[0].payback_months.unwrap(), 3_650.0 / 6.5745);
}

#[test]
fn stages_as_long_as_the_segments_are_trimmed_with_them() {
    let stage = "[[stage]]\nid = \"answer\"\nkind = \"model_call\"\nmodel = \"option\"\nbranches = [{ to = \"success\" }]\n";
    let lever = "[[lever]]\nname = \"trimming\"\ntimes = { \"segment[*].input_tokens\" = 0.5 }\n";
    let (with, without) =
        (of(REQUESTS, 0.05, &format!("{BASE}{stage}{lever}")), of(REQUESTS, 0.05, &format!("{BASE}{lever}")));
    for id in [SELF_HOST, NANO] {
        close(saved(&with, id, "trimming"), saved(&without, id, "trimming"));
    }
}

#[test]
fn levers_that_set_the_same_place_are_alternatives_and_factors_add_up() {
    let levers = r#"
[[lever]]
name = "half"
set = { "stage[check].usd_per_call" = 0.0001 }
[[lever]]
name = "free"
set = { "stage[check].usd_per_call" = 0 }
[[lever]]
name = "tenth"
times = { "stage[check].usd_per_call" = 0.1 }
"#;
    let ranking = of(REQUESTS, 0.4, &format!("{BASE}{WORKED}{levers}"));
    let [(a, b, place)] = ranking.search.alternatives.as_slice() else { panic!("{:?}", ranking.search) };
    assert_eq!((a.as_str(), b.as_str(), place.as_str()), ("half", "free", "stage[check].usd_per_call"));
    // Of eight settings, the two with both are left out.
    assert_eq!(ranking.search.tried, 6);
    let best = option(&ranking, NANO).best.as_ref().unwrap();
    // The tenth of nothing saves nothing more, and the fewest levers win.
    assert_eq!(best.levers, ["free"]);
    close(saved(&ranking, NANO, "tenth"), REQUESTS * 1.048_872_180_5 * 0.0002 * 0.9);
}

#[test]
fn tables_are_added_before_the_file_and_taken_away() {
    let levers = r#"
[[lever]]
name = "front door"
first = true
set = { "stage[intake].branches[answer].probability" = 0.9 }
[[lever.add.stage]]
id = "cache"
kind = "rule"
usd_per_call = 0.00001
branches = [{ to = "success", probability = 0.1 }, { to = "intake" }]
[[lever.add.cost]]
line = "caching"
usd_per_month = 50
[[lever]]
name = "no rent"
without = ["cost[storage]"]
[[cost]]
line = "storage"
usd_per_month = 70
"#;
    let ranking = of(REQUESTS, 0.4, &format!("{BASE}{WORKED}{levers}"));
    let off = 1_270_469.355_987;
    close(saved(&ranking, NANO, "front door"), 0.1 * off - REQUESTS * 0.00001 - 50.0);
    close(saved(&ranking, NANO, "no rent"), 70.0);
    close(option(&ranking, NANO).off.unwrap().usd_per_month.to_f64(), off + 70.0);
}

#[test]
fn fewer_resolved_requests_are_no_saving_either() {
    // Nobody helps: as many succeed by themselves, and those who were helped no longer are.
    let lever = "[[lever]]\nname = \"nobody\"\nset = { \"stage[person].branches\" = [{ to = \"failure\" }], \
                 \"stage[person].minutes_per_visit\" = 0 }\n";
    let ranking = of(REQUESTS, 0.4, &format!("{BASE}{WORKED}{lever}"));
    let nano = option(&ranking, NANO);
    assert!(nano.single.is_empty() && nano.fewer_successes.len() == 1, "{nano:?}");
    assert!(saved(&ranking, NANO, "nobody") > 1e6);
    assert_eq!(nano.best.as_ref().unwrap().saved_usd_per_month, Usd::ZERO);
    // Nor are fewer requests.
    let lever = "[[lever]]\nname = \"turned away\"\ntimes = { \"traffic.requests_per_month\" = 0.5 }\n";
    let ranking = of(REQUESTS, 0.4, &format!("{BASE}{WORKED}{lever}"));
    assert!(option(&ranking, NANO).single.is_empty());
}

#[test]
fn an_option_that_a_lever_makes_possible_is_not_compared() {
    let limited = "[success]\nprobability = 0.9\n[[api]]\nprovider = \"openai\"\nmodel = \"gpt-5-nano\"\n\
                   limits = { requests_per_minute = 30 }\n[[lever]]\nname = \"raised limit\"\n\
                   set = { \"api[openai/gpt-5-nano].limits.requests_per_minute\" = 600 }\n";
    let ranking = of(REQUESTS, 0.4, limited);
    let nano = option(&ranking, NANO);
    assert!(nano.off.is_none() && nano.best.is_none() && nano.infeasible.is_some());
    let [effect] = nano.not_comparable.as_slice() else { panic!("{nano:?}") };
    assert!(effect.on.is_some() && effect.saved_usd_per_month.is_none());
    assert!(ranking.best.is_none());
}

#[test]
fn the_plan_is_that_of_all_levers_off() {
    let (with, without) = (
        product(REQUESTS, &format!("{BASE}{WORKED}{LEVERS}")),
        product(REQUESTS, &format!("{BASE}{WORKED}")),
    );
    let plan = planned(&with, &measurement(&with, 0.4)).unwrap();
    assert_eq!(plan, planned(&without, &measurement(&without, 0.4)).unwrap());
    // Distributions of levers that are off are no inputs of the draws.
    let uncertain = LEVERS.replacen("= 0.0001 }", "= { low = 0.00005, likely = 0.0001, high = 0.0002 } }", 1);
    let with = product(REQUESTS, &format!("{BASE}{WORKED}{uncertain}"));
    let plan = planned(&with, &measurement(&with, 0.4)).unwrap();
    let drawn = plan.uncertainty.unwrap();
    assert!(drawn.inputs.iter().all(|input| !input.path.contains("lever")), "{:?}", drawn.inputs);
    close(saved(&ranked(&with, 0.4), NANO, "cheaper check"), REQUESTS * 1.048_872_180_5 * 0.0001);
}

#[test]
fn more_than_ten_levers_are_added_one_by_one() {
    use std::fmt::Write as _;
    let mut text = format!("{BASE}{WORKED}");
    for index in 0..11 {
        writeln!(text, "[[cost]]\nline = \"compute\"\nusd_per_month = 100").unwrap();
        let saved = f64::from(index) - 2.0;
        writeln!(
            text,
            "[[lever]]\nname = \"l{index}\"\nset = {{ \"cost[{index}].usd_per_month\" = {} }}",
            100.0 - saved
        )
        .unwrap();
    }
    let ranking = of(REQUESTS, 0.4, &text);
    assert!(!ranking.search.every_combination);
    let best = option(&ranking, NANO).best.as_ref().unwrap();
    // l0 and l1 cost money, l2 changes nothing; 1 + 2 + ... + 8.
    assert_eq!(best.levers.len(), 8);
    close(best.saved_usd_per_month.to_f64(), 36.0);
}

#[test]
fn nonsense_is_refused_with_its_place() {
    let cases: [(&str, usize, &str); 14] = [
        ("set = { \"stage[chek].usd_per_call\" = 1 }", 3, "intake, answer, check, person"),
        ("set = { \"stage[check].usd_per_cal\" = 1 }", 3, "unknown field `usd_per_cal`"),
        (
            "set = { \"stage[check].usd_per_call\" = -1 }",
            3,
            "expected a price in US dollars from 0 up, found -1",
        ),
        ("set = { \"stage[check].branches[success].probability\" = 0.9 }", 2, "sum to 1, found 1.1"),
        ("set = { \"slo.ttft\" = \"2 s\" }", 3, "expected a path that begins with segment, traffic"),
        ("set = { \"lever[0].name\" = \"x\" }", 3, "expected a path that begins with"),
        ("[lever.set]\nstage.check.usd_per_call = 1", 4, "bare dots make tables"),
        ("times = { \"stage[check].usd_per_cal\" = 2 }", 3, "to multiply"),
        ("times = { \"stage[check].id\" = 2 }", 3, "to multiply"),
        ("without = [\"stage[check]\"]", 2, "found `check`"),
        ("without = [\"stage[check].note\"]", 3, "found nothing there"),
        ("[[lever.add.model]]\nname = \"x\"", 3, "expected a path that begins with"),
        ("usd_per_month = 5", 2, "expected a lever that changes something"),
        ("set = { \"traffic.deferrable_share\" = 1.5 }", 3, "1.5"),
    ];
    for (body, line, said) in cases {
        let text = format!("{BASE}{WORKED}[[lever]]\nname = \"l\"\n{body}\n");
        let error = parsed(&text).unwrap_err();
        assert!(error.message.contains(said) && error.message.contains("lever `l`"), "{body}: {error}");
        let first = 1 + HEAD.lines().count() + format!("{BASE}{WORKED}").lines().count();
        assert_eq!(error.line, first + line - 1, "{body}: {error}");
    }
    let twice = format!("{BASE}{WORKED}{LEVERS}{LEVERS}");
    assert!(parsed(&twice).unwrap_err().message.contains("found it twice"));
}

const HEAD: &str = "name = \"test\"\n[model]\nname = \"tiny\"\n[slo]\nttft = \"1 s\"\nattainment = 0.9\n[[segment]]\nname = \"all\"\nweight = 1\n\
                    input_tokens = { median = 100, p90 = 100 }\noutput_tokens = { median = 50, p90 = 50 }\n[traffic]\n\
                    requests_per_month = 1000\n";

fn parsed(extra: &str) -> Result<Product, breakeven_planner::ProductError> {
    Product::parse(&format!("{HEAD}{extra}"), "test.toml")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_laws_of_a_ranking(
        requests in 1e4..1e7_f64,
        capacity in 0.1..5.0_f64,
        check in 0.0..0.001_f64,
        factor in 0.2..2.0_f64,
        success in 0.5..0.82_f64,
        once in 0.0..5_000.0_f64,
    ) {
        let levers = format!(
            "[[lever]]\nname = \"nothing\"\nset = {{ \"stage[check].usd_per_call\" = 0.0002 }}\n\
             [[lever]]\nname = \"check\"\nset = {{ \"stage[intake].usd_per_call\" = {check} }}\nonce_usd = {once}\n\
             [[lever]]\nname = \"tokens\"\ntimes = {{ \"stage[answer].input_tokens\" = {factor} }}\n\
             [[lever]]\nname = \"outcome\"\nset = {{ \"stage[check].branches\" = [{{ to = \"success\", probability = {success} }}, \
             {{ to = \"person\" }}] }}\n"
        );
        let ranking = of(requests, capacity, &format!("{BASE}{WORKED}{levers}"));
        for option in &ranking.options {
            let off = option.off.unwrap();
            let best = option.best.as_ref().unwrap();
            // A lever that changes nothing saves nothing.
            let nothing = option.single.iter().find(|effect| effect.lever == "nothing").unwrap();
            prop_assert_eq!(nothing.saved_usd_per_month, Some(Usd::ZERO));
            prop_assert!(nothing.lines.is_empty());
            // Ranked by what they save, and the lines add up to it.
            for pair in option.single.windows(2) {
                prop_assert!(pair[0].saved_usd_per_month >= pair[1].saved_usd_per_month);
            }
            for effect in option.single.iter().chain(&option.fewer_successes) {
                let moved: Usd = effect.lines.iter().map(|line| line.a - line.b).sum();
                prop_assert_eq!(effect.saved_usd_per_month, Some(moved));
            }
            // Success is kept by what counts, and lowered by what does not.
            for effect in &option.single {
                prop_assert!(effect.successes_change.unwrap() >= -1e-6 * off.successes_per_month);
            }
            for effect in &option.fewer_successes {
                prop_assert!(effect.successes_change.unwrap() < 0.0 || effect.resolved_change.unwrap() < 0.0);
            }
            // The best combination is none worse than none and than each alone; its steps add up to it.
            prop_assert!(best.saved_usd_per_month >= Usd::ZERO);
            for effect in &option.single {
                prop_assert!(Some(best.saved_usd_per_month) >= effect.saved_usd_per_month);
            }
            prop_assert_eq!(best.on.usd_per_month + best.saved_usd_per_month, off.usd_per_month);
            prop_assert_eq!(best.steps.iter().map(|step| step.saved_usd_per_month).sum::<Usd>(), best.saved_usd_per_month);
            prop_assert!(best.levers.iter().all(|lever| lever != "nothing"));
            if best.levers.is_empty() {
                prop_assert_eq!(best.saved_usd_per_month, Usd::ZERO);
            }
        }
    }
}

#[test]
fn an_option_stays_itself_where_a_lever_takes_another_away() {
    let mini = "[[api]]\nprovider = \"openai\"\nmodel = \"gpt-4o-mini\"\n";
    let lever = "[[lever]]\nname = \"no nano\"\nwithout = [\"api[0]\"]\n";
    let ranking = of(REQUESTS, 4.0, &format!("{BASE}{mini}{lever}"));
    let kept = &option(&ranking, "api:openai/gpt-4o-mini").single[0];
    assert_eq!(kept.saved_usd_per_month, Some(Usd::ZERO));
    let gone = option(&ranking, NANO);
    assert!(gone.single.is_empty() && gone.fewer_successes.is_empty(), "{gone:?}");
    assert_eq!(gone.not_comparable[0].infeasible.as_deref(), Some("the lever takes this option away"));
}
