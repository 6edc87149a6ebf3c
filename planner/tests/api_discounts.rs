//! Cached and batch prices of managed APIs: in the bill, as levers, and in the draws, worked in docs/METHOD.md.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

#[expect(dead_code, reason = "products here share a prefix, which the shared one does not")]
mod support;

use breakeven_hardware::PriceBook;
use breakeven_planner::{
    Plan, PlanOptions, Product,
    actuals::Expected,
    explain::explain,
    levers::{levers, ranking::OptionLevers},
    plan::{LineItem, OptionPlan},
};
use breakeven_usage::{ReadOptions, read_bytes};
use jiff::civil::date;
use support::{measurement, planned};

const NANO: &str = "api:openai/gpt-5-nano";
const HAIKU: &str = "api:anthropic/claude-haiku-4-5";
const LLAMA: &str = "api:novita/meta-llama/llama-3.1-8b-instruct";
const REQUESTS: f64 = 2_629_800.0;

/// Prompts of 2,000 tokens of which 1,500 are the same, answers of 50.
fn product(api: &str, extra: &str) -> Product {
    let text = format!(
        "name = \"t\"\n[model]\nname = \"tiny\"\n[slo]\nttft = \"1 s\"\nattainment = 0.9\n[[segment]]\nname = \"all\"\nweight = 1\n\
         input_tokens = {{ median = 2000, p90 = 2000 }}\noutput_tokens = {{ median = 50, p90 = 50 }}\nshared_prefix = 0.75\n\
         [traffic]\nrequests_per_month = {REQUESTS}\n[success]\nprobability = 0.9\n[fleet]\nusd_per_hour = 0.5\n\
         [[api]]\nprovider = \"openai\"\nmodel = \"gpt-5-nano\"\n{api}\n\
         [[api]]\nprovider = \"anthropic\"\nmodel = \"claude-haiku-4-5\"\n\
         [[api]]\nprovider = \"novita\"\nmodel = \"meta-llama/llama-3.1-8b-instruct\"\n{extra}"
    );
    Product::parse(&text, "t.toml").unwrap()
}

const LEVERS: &str = "[[lever]]\nname = \"prompt cache\"\nset = { \"api[*].prompt_cache.hit_share\" = 0.9 }\n\
                      [[lever]]\nname = \"batches\"\nset = { \"api[*].batch_share\" = 0.2 }\n";

fn ranked(product: &Product) -> Vec<OptionLevers> {
    let prices = PriceBook::built_in().unwrap();
    let options = PlanOptions { as_of: date(2026, 11, 23), allow_invalid: false, version: "0.0.0" };
    levers(product, &measurement(product, 0.5), &prices, &options).unwrap().options
}

fn option<'a>(plan: &'a Plan, id: &str) -> &'a OptionPlan {
    plan.options.iter().find(|option| option.id == id).unwrap()
}

fn calls(plan: &Plan, id: &str) -> f64 {
    let line = option(plan, id).lines.iter().find(|line| line.line == LineItem::Inference).unwrap();
    line.usd_per_month.to_f64()
}

/// A month's bill at so many millionths of a dollar a request.
fn month(micro_usd: f64) -> f64 {
    REQUESTS * micro_usd / 1e6
}

fn close(found: f64, by_hand: f64) {
    assert!((found / by_hand - 1.0).abs() < 1e-6, "{found}, by hand {by_hand}");
}

#[test]
fn each_discount_is_a_lever_alone_and_together() {
    let options = ranked(&product("", LEVERS));
    let of = |id: &str| options.iter().find(|option| option.id == id).unwrap();
    let saved = |id: &str, lever: &str| {
        let single = of(id).single.iter().find(|effect| effect.lever == lever).unwrap();
        assert!(single.successes_change.unwrap().abs() < 1e-9);
        single.saved_usd_per_month.unwrap().to_f64()
    };
    // 0.05 and 0.40 a million tokens, 0.005 from the cache, writing at the price of prompts: 650 in full, 1,350 from the cache.
    let (full, cached) = (2_000.0 * 0.05 + 50.0 * 0.4, 650.0 * 0.05 + 1_350.0 * 0.005 + 50.0 * 0.4);
    close(saved(NANO, "prompt cache"), month(full - cached));
    // A fifth at half the price.
    close(saved(NANO, "batches"), month(full * 0.2 / 2.0));
    let batch = 650.0 * 0.025 + 1_350.0 * 0.0025 + 50.0 * 0.2;
    let best = of(NANO).best.as_ref().unwrap();
    assert_eq!(best.levers, ["prompt cache", "batches"]);
    close(best.saved_usd_per_month.to_f64(), month(full - (0.8 * cached + 0.2 * batch)));
    // Here writing the cache costs a quarter more than the prompt itself: 500 in full, 150 written, 1,350 read.
    let (full, cached) = (2_000.0 + 250.0, 500.0 + 150.0 * 1.25 + 1_350.0 * 0.1 + 250.0);
    close(saved(HAIKU, "prompt cache"), month(full - cached));
    // A row without the prices has no such lever, and says where they would stand.
    let llama = of(LLAMA);
    assert!(llama.single.is_empty() && llama.best.as_ref().unwrap().levers.is_empty());
    let why: Vec<&str> = llama.not_comparable.iter().filter_map(|e| e.infeasible.as_deref()).collect();
    assert!(
        why[0].contains("no price of cached prompt tokens") && why[0].contains("api_prices.csv:"),
        "{why:?}"
    );
    assert!(why[1].contains("no batch price"), "{why:?}");
    // Our own replicas pay nothing of it and save nothing.
    let own = of(breakeven_planner::SELF_HOST);
    assert!(own.single.iter().all(|effect| effect.saved_usd_per_month.unwrap().to_f64().abs() < 1e-9));
}

#[test]
fn the_plan_the_draws_and_the_basis_bill_alike() {
    // The ratio is drawn within a hair of 1, by a number of the fast model, which is checked against planning anew.
    let api = "tokens_ratio = { low = 0.9999999, likely = 1, high = 1.0000001 }\nbatch_share = 0.2\n\
               [api.prompt_cache]\nhit_share = 0.9\n";
    let product = product(api, "");
    let plan = planned(&product, &measurement(&product, 0.5)).unwrap();
    let standard = 650.0 * 0.05 + 1_350.0 * 0.005 + 50.0 * 0.4;
    let batch = 650.0 * 0.025 + 1_350.0 * 0.0025 + 50.0 * 0.2;
    close(calls(&plan, NANO), month(0.8 * standard + 0.2 * batch));
    close(calls(&plan, HAIKU), month(2_250.0));
    let drawn = plan.uncertainty.as_ref().unwrap();
    assert!(drawn.left_out.is_empty(), "{:?}", drawn.left_out);
    let odds = drawn.options.iter().find(|option| option.id == NANO).unwrap();
    close(odds.usd_per_month.unwrap().mean, option(&plan, NANO).usd_per_month.to_f64());
    // A spreadsheet has no cell for the discounts, so its line is held at the plan's.
    let basis = plan.cost_basis.as_ref().unwrap();
    let of = |id: &str| basis.options.iter().find(|one| one.id == id).unwrap();
    assert_eq!(basis.line(of(NANO), LineItem::Inference, REQUESTS), None);
    close(basis.line(of(HAIKU), LineItem::Inference, REQUESTS).unwrap(), month(2_250.0));
    let json = serde_json::to_value(&plan).unwrap();
    let text = explain(&json, &format!("options[{NANO}].lines.inference")).unwrap();
    assert!(text.contains("0.900000") && text.contains("prompt_cache.hit_share"), "{text}");
    assert!(text.contains("batch_share"), "{text}");
}

#[test]
fn a_cache_that_holds_nothing_is_refused() {
    let why = |api: &str| {
        let product = product(api, "");
        let plan = planned(&product, &measurement(&product, 0.5)).unwrap();
        option(&plan, NANO).infeasible.clone()
    };
    assert_eq!(why("[api.prompt_cache]\nhit_share = 0.9\nleast_tokens = 1500"), None);
    let short = why("[api.prompt_cache]\nhit_share = 0.9\nleast_tokens = 1501").unwrap();
    assert!(short.contains("is 1500 tokens, expected 1501 or more"), "{short}");
    let units = "[api.provisioned]\nusd_per_unit_hour = 1\ninput_tokens_per_second_per_unit = 1e6\noutput_tokens_per_second_per_unit = 1e6";
    assert!(
        why(&format!("batch_share = 0.1\n{units}"))
            .unwrap()
            .contains("leave api.prompt_cache and api.batch_share out")
    );
    assert_eq!(why(&format!("batch_share = 0\n{units}")), None);
}

#[test]
fn who_pays_a_discounted_bill_and_what_production_is_held_against() {
    let segment = |name: &str, extra: &str| {
        format!(
            "[[segment]]\nname = \"{name}\"\nweight = 1\ninput_tokens = {{ median = 2000, p90 = 2000 }}\n\
             output_tokens = {{ median = 50, p90 = 50 }}\n{extra}"
        )
    };
    let text = |api: &str| {
        format!(
            "name = \"t\"\n[model]\nname = \"tiny\"\n[slo]\nttft = \"1 s\"\nattainment = 0.9\n{}{}[traffic]\n\
             requests_per_month = {REQUESTS}\n[success]\nprobability = 0.9\n[fleet]\nusd_per_hour = 5000\n\
             [[api]]\nprovider = \"openai\"\nmodel = \"gpt-5-nano\"\n{api}\n[[allocation]]\nby = \"team\"\n\
             part = [{{ name = \"A\", requests = 1, segment = \"a\" }}, {{ name = \"B\", requests = 1, segment = \"b\" }}]\n",
            segment("a", "shared_prefix = 0.75\n"),
            segment("b", "")
        )
    };
    let plan_of = |api: &str| {
        let product = Product::parse(&text(api), "t.toml").unwrap();
        planned(&product, &measurement(&product, 0.5)).unwrap()
    };
    let cache = "[api.prompt_cache]\nhit_share = 0.9\n";
    let plan = plan_of(cache);
    let parts = &plan.allocations[0].parts;
    // 650 prompt tokens in full, 1,350 from the cache and 50 of an answer, beside all in full.
    let (a, b) = (650.0 * 0.05 + 1_350.0 * 0.005 + 50.0 * 0.4, 2_000.0 * 0.05 + 50.0 * 0.4);
    close(parts[0].share_of_use, a / (a + b));
    close(plan_of("").allocations[0].parts[0].share_of_use, 0.5);
    // A batch takes half off everything, so shares stay.
    let plan = plan_of(&format!("tokens_ratio = 1.3\nbatch_share = 0.2\n{cache}"));
    close(plan.allocations[0].parts[0].share_of_use, a / (a + b));
    // The option's tokens and its row's price, whatever is taken off.
    let usage = read_bytes("log.csv", "time,model\n2026-11-02T12:00:00Z,m\n".into(), &ReadOptions::default());
    let expected = Expected::of_plan(&plan, &usage.unwrap(), Some(NANO)).unwrap();
    close(expected.input_tokens, 2_000.0 * 1.3);
    close(expected.output_tokens, 50.0 * 1.3);
    let found = breakeven_planner::actuals::prices(&plan);
    assert!(!found.is_empty());
}
