//! The workbook against the planner: opened and recalculated by `LibreOffice`, before and after cells of its assumptions change.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests: a panic is the report")]

#[path = "support/office.rs"]
mod office;
mod support;

use std::{
    collections::BTreeMap,
    fs,
    io::{Cursor, Read as _, Write as _},
    path::Path,
};

use breakeven_planner::{
    Plan,
    plan::{BreakEvenOutcome, LineItem},
};
use office::{Rows, recalculated};
use support::{breakeven, shown};

/// The support bot with a line of every kind, an option of every kind, and a retry rate.
const MORE: &str = r#"
[[api]]
provider = "openai"
model = "gpt-5-nano"
success_probability = 0.65
tokens_ratio = 1.1
[api.provisioned]
usd_per_unit_hour = 1.5
minimum_units = 2
unit_step = 2
input_tokens_per_second_per_unit = 900
output_tokens_per_second_per_unit = 150

[[cost]]
line = "support"
usd_per_failure = 0.013
[[cost]]
line = "network"
only = "api"
usd_per_request = 0.000003
usd_per_month = 2.5
"#;

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/measurement-1.json");

/// The fixture as a run of ten times the requests, one in ten of them tried again.
fn counted(folder: &Path) -> String {
    let mut file: serde_json::Value = serde_json::from_str(&fs::read_to_string(FIXTURE).unwrap()).unwrap();
    let levels = file["levels"].as_array_mut().unwrap();
    let level = levels.iter_mut().find(|level| level["name"] == "expected").unwrap();
    let times_ten = |load: &mut serde_json::Value| {
        for key in ["scheduled", "completed", "within_slo", "input_tokens", "output_tokens"] {
            load[key] = (load[key].as_u64().unwrap() * 10).into();
        }
    };
    times_ten(&mut level["overall"]);
    let retried = level["overall"]["scheduled"].as_u64().unwrap() / 10;
    level["overall"]["retries"] = serde_json::json!({ "server_error": retried });
    for segment in level["segments"].as_array_mut().unwrap() {
        times_ten(&mut segment["load"]);
    }
    let path = folder.join("counted.json");
    fs::write(&path, file.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

fn plan_of(product: &str, folder: &Path, name: &str) -> Plan {
    // Plans of this name are of the run that counted retries.
    let measured = if name.starts_with("counted") { counted(folder) } else { FIXTURE.to_owned() };
    let file = folder.join(format!("{name}.toml"));
    fs::write(&file, product).unwrap();
    let plan = folder.join(format!("{name}.json"));
    let made = breakeven(&[
        "plan",
        file.to_str().unwrap(),
        "--measurement",
        &measured,
        "--as-of",
        "2026-11-23",
        "--out",
        plan.to_str().unwrap(),
    ]);
    assert_eq!(made.status.code(), Some(0), "{}", shown(&made));
    serde_json::from_str(&fs::read_to_string(plan).unwrap()).unwrap()
}

fn workbook_of(folder: &Path, name: &str) -> Vec<u8> {
    let (plan, book) = (folder.join(format!("{name}.json")), folder.join(format!("{name}.xlsx")));
    let made = breakeven(&["report", plan.to_str().unwrap(), "--xlsx", book.to_str().unwrap()]);
    assert_eq!(made.status.code(), Some(0), "{}", shown(&made));
    fs::read(book).unwrap()
}

/// The workbook with another number in a named cell, as a person's program would store it.
fn with_cell(book: &[u8], name: &str, value: f64) -> Vec<u8> {
    let mut archive = zip::ZipArchive::new(Cursor::new(book)).unwrap();
    let mut parts: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for index in 0..archive.len() {
        let mut part = archive.by_index(index).unwrap();
        let mut bytes = Vec::new();
        part.read_to_end(&mut bytes).unwrap();
        parts.insert(part.name().unwrap().into_owned(), bytes);
    }
    let index = String::from_utf8(parts["xl/workbook.xml"].clone()).unwrap();
    let cell = index.split(&format!("<definedName name=\"{name}\">")).nth(1).unwrap();
    let cell = cell.split('<').next().unwrap().rsplit('!').next().unwrap().replace('$', "");
    // The second sheet is "Assumptions".
    let sheet = String::from_utf8(parts["xl/worksheets/sheet2.xml"].clone()).unwrap();
    let (before, rest) = sheet.split_once(&format!("<c r=\"{cell}\"")).unwrap();
    let (style, rest) = rest.split_once("<v>").unwrap();
    assert!(!style.contains("<f>"), "{name} is an input");
    let (_, after) = rest.split_once("</v>").unwrap();
    parts.insert(
        "xl/worksheets/sheet2.xml".to_owned(),
        format!("{before}<c r=\"{cell}\"{style}<v>{value}</v>{after}").into_bytes(),
    );
    let mut out = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in parts {
        out.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        out.write_all(&bytes).unwrap();
    }
    out.finish().unwrap().into_inner()
}

fn row<'a>(rows: &'a Rows, label: &str) -> &'a [String] {
    rows.iter()
        .find(|row| row.first().is_some_and(|cell| cell == label))
        .unwrap_or_else(|| panic!("no row {label}"))
}

/// Bill, unit economics and break-evens of a recalculated workbook against a plan.
fn agrees(sheets: &BTreeMap<String, Rows>, name: &str, plan: &Plan) {
    let bill = &sheets[&format!("{name}-Bill")];
    let heads = row(bill, "line").to_vec();
    let number = |label: &str, column: usize| -> f64 {
        row(bill, label)[column].parse().unwrap_or_else(|_| panic!("{name}: {label}: {:?}", row(bill, label)))
    };
    let to_the_cent = |ours: f64, theirs: f64, what: &str| {
        assert!((ours - theirs).abs() < 0.005, "{name}: {what}: sheet {theirs}, plan {ours}");
    };
    for option in &plan.options {
        let column = heads.iter().position(|head| *head == option.name).unwrap();
        for line in &option.lines {
            to_the_cent(line.usd_per_month.to_f64(), number(line.line.label(), column), line.line.label());
        }
        to_the_cent(option.usd_per_month.to_f64(), number("total", column), "total");
        assert_eq!(row(bill, "lines held at the plan's figure")[column], "none", "{name}: {}", option.name);
        let outcome = option.usd_per_successful_outcome.unwrap().to_f64();
        let there = number("a successful outcome", column);
        assert!((outcome - there).abs() <= 1e-9 * outcome, "{name}: {}: {outcome} {there}", option.name);
        let decision = row(&sheets[&format!("{name}-Decision")], &option.name);
        let even = plan.break_evens.iter().find(|even| even.api == option.id);
        match even.map(|even| even.outcome) {
            None => assert_eq!(decision[4], ""),
            Some(BreakEvenOutcome::At { requests_per_month }) => {
                let there: f64 = decision[4].parse().unwrap();
                assert!(
                    (there / requests_per_month - 1.0).abs() < 1e-6,
                    "{name}: {there} {requests_per_month}"
                );
            }
            Some(BreakEvenOutcome::Always) => assert_eq!(decision[4], "self-host cheaper at every volume"),
            Some(BreakEvenOutcome::Never { .. }) => {
                assert_eq!(decision[4], "self-host dearer up to 10000000000");
            }
        }
    }
    let chosen =
        plan.options.iter().find(|option| Some(&option.id) == plan.decision.choice.as_ref()).unwrap();
    assert_eq!(
        row(&sheets[&format!("{name}-Decision")], "cheapest per successful outcome, by the cells")[1],
        chosen.name
    );
    assert_eq!(row(bill, "line").len(), plan.options.len() + 1);
    assert!(LineItem::ALL.iter().all(|line| bill.iter().any(|row| row[0] == line.label())));
}

#[test]
fn the_workbook_recalculates_to_the_plan_before_and_after_a_cell_changes() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let bot = fs::read_to_string("examples/support-bot.toml").unwrap();
    let full = format!("{}\n{MORE}", bot.replacen("term = \"on_demand\"", "term = \"reserved_1y\"", 1));
    // Requests that are asked again, of our own replicas, of an API by tokens and of one by units.
    let ttft = "\nttft = { median = \"400 ms\", p95 = \"1500 ms\" }\n";
    let waits = full
        .replacen("model = \"gpt-6-luna\"", &format!("model = \"gpt-6-luna\"{ttft}"), 1)
        .replacen("tokens_ratio = 1.1", &format!("tokens_ratio = 1.1{ttft}"), 1)
        + "\n[latency]\nrepeats = [{ after = \"100 ms\", share = 0.1 }, { after = \"1 s\", share = 0.3 }]\n";
    // Each: a cell's name, its new number, and the same change in the product file.
    let changes = [
        (
            "volume",
            "requests_per_month",
            37_500_000.0,
            "requests_per_month = 1_000_000",
            "requests_per_month = 37_500_000",
        ),
        ("retries", "retries_per_request", 0.25, "retries_per_request = 0.02", "retries_per_request = 0.25"),
        ("lost", "replicas_lost", 3.0, "replicas_lost = 1", "replicas_lost = 3"),
    ];
    let mut books = Vec::new();
    let mut plans = Vec::new();
    for (kind, product) in [("bot", &bot), ("full", &full), ("waits", &waits), ("counted", &full)] {
        let plan = plan_of(product, folder, kind);
        let book = workbook_of(folder, kind);
        for (name, cell, value, from, to) in changes {
            let name = format!("{kind}-{name}");
            assert!(product.contains(from), "{from}");
            plans.push((name.clone(), plan_of(&product.replacen(from, to, 1), folder, &name)));
            books.push((name, with_cell(&book, cell, value)));
        }
        let own = plan.options.iter().position(|option| option.id == breakeven_planner::SELF_HOST).unwrap();
        let name = format!("{kind}-price");
        let cheaper = product.replacen("usd_per_hour = 0.10", "usd_per_hour = 0.0125", 1);
        plans.push((name.clone(), plan_of(&cheaper, folder, &name)));
        books.push((name, with_cell(&book, &format!("opt{}_usd_per_hour", own + 1), 0.0125)));
        plans.push((kind.to_owned(), plan));
        books.push((kind.to_owned(), book));
    }
    let books: Vec<(&str, Vec<u8>)> =
        books.iter().map(|(name, book)| (name.as_str(), book.clone())).collect();
    let sheets = recalculated(folder, &books);
    for (name, plan) in &plans {
        agrees(&sheets, name, plan);
    }
    // Measured retries are in the cells: typed ones move APIs alone.
    let retried = |name: &str, own: bool| {
        let plan = &plans.iter().find(|(one, _)| one == name).unwrap().1;
        let is = |id: &str| (id == breakeven_planner::SELF_HOST) == own;
        let option = plan.options.iter().find(|option| is(&option.id)).unwrap();
        option.lines.iter().find(|line| line.line == LineItem::Retries).unwrap().usd_per_month
    };
    assert_eq!(retried("counted", true), retried("counted-retries", true));
    assert_ne!(retried("counted", true), retried("full", true));
    assert_ne!(retried("full", true), retried("full-retries", true));
    assert_ne!(retried("counted", false), retried("counted-retries", false));
    // The change was one: a test that compares a file with itself would pass.
    let total = |name: &str| plans.iter().find(|(one, _)| one == name).unwrap().1.options[0].usd_per_month;
    assert!(
        total("bot-volume") != total("bot") && total("full-price") != plans[0].1.options[0].usd_per_month
    );
}
