//! One plan in five formats: terminal, markdown, HTML, XLSX and FOCUS say the same number wherever two of them say it.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests: a panic is the report")]

#[path = "support/office.rs"]
mod office;
mod support;

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use breakeven_hardware::Usd;
use breakeven_planner::{
    Plan,
    plan::{LineItem, OptionPlan},
};
use breakeven_report::format::money;
use office::{Rows, recalculated};
use support::{breakeven, shown};

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/measurement-1.json");

/// Every format of one plan.
struct Formats {
    plan: Plan,
    terminal: String,
    /// Tables by their title: all of markdown's are in the page too.
    markdown: BTreeMap<String, Rows>,
    page: BTreeMap<String, Rows>,
    bill: Rows,
    decision: Rows,
    focus: Vec<BTreeMap<String, String>>,
}

fn formats(product: &str) -> Formats {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let plan = path("plan.json");
    let made =
        breakeven(&["plan", product, "--measurement", FIXTURE, "--as-of", "2026-11-23", "--out", &plan]);
    assert_eq!(made.status.code(), Some(0), "{}", shown(&made));
    let (page, book, focus) = (path("report.html"), path("book.xlsx"), path("focus.csv"));
    let report = |more: &[&str], columns: &str| {
        let ran = Command::new(env!("CARGO_BIN_EXE_breakeven"))
            .args([&["report", plan.as_str()], more].concat())
            .env("COLUMNS", columns)
            .env("NO_COLOR", "1")
            .output()
            .unwrap();
        assert_eq!(ran.status.code(), Some(0), "{}", shown(&ran));
        String::from_utf8(ran.stdout).unwrap()
    };
    let terminal =
        report(&["--html", &page, "--xlsx", &book, "--focus", &focus, "--focus-months", "2"], "200");
    let markdown = report(&["--format", "markdown"], "80");
    let sheets = recalculated(folder, &[("book", fs::read(book).unwrap())]);
    let focus = csv::Reader::from_path(focus).unwrap().deserialize().map(Result::unwrap).collect();
    Formats {
        plan: serde_json::from_str(&fs::read_to_string(Path::new(&plan)).unwrap()).unwrap(),
        terminal,
        markdown: markdown_tables(&markdown),
        page: page_tables(&fs::read_to_string(page).unwrap()),
        bill: sheets["book-Bill"].clone(),
        decision: sheets["book-Decision"].clone(),
        focus,
    }
}

/// Tables by the heading above them, or by their first head.
fn markdown_tables(text: &str) -> BTreeMap<String, Rows> {
    let mut tables = BTreeMap::new();
    let mut heading = String::new();
    let mut rows: Rows = Vec::new();
    for line in text.lines().chain([""]) {
        if line.starts_with('|') {
            let cells = line.trim_matches(['|', ' ']).replace("\\|", "\u{1}");
            let cells = cells.split(" | ").map(|cell| plain(cell).replace('\u{1}', "|"));
            rows.push(cells.collect());
        } else if !rows.is_empty() {
            rows.remove(1);
            let title = if heading.is_empty() { rows[0][0].clone() } else { heading.clone() };
            tables.insert(title, std::mem::take(&mut rows));
        }
        if let Some(title) = line.strip_prefix("## ") {
            heading = plain(title);
        }
    }
    tables
}

/// Markdown's text without its marks.
fn plain(text: &str) -> String {
    let text = text.replace("\\*", "\u{2}").replace("**", "").replace('\u{2}', "*");
    text.replace('\\', "").replace("&lt;", "<").replace("&amp;", "&").trim().to_owned()
}

/// Tables of the page by their caption.
fn page_tables(page: &str) -> BTreeMap<String, Rows> {
    let tables = page.split("<table").skip(1).map(|rest| rest.split("</table>").next().unwrap());
    tables
        .map(|table| {
            let caption = table.split("<caption>").nth(1).unwrap().split("</caption>").next().unwrap();
            let rows = table.split("<tr").skip(1).map(|row| {
                let row = row.replace("<th ", "<td ").replace("</th>", "</td>");
                row.split("<td").skip(1).map(|cell| text_of(cell.split_once('>').unwrap().1)).collect()
            });
            (text_of(caption), rows.collect())
        })
        .collect()
}

/// What a reader sees of a cell: without tags and small print.
fn text_of(html: &str) -> String {
    let html = html.split("</td>").next().unwrap();
    let html = html.split("<br>").next().unwrap();
    let mut text = String::new();
    let mut inside = false;
    for letter in html.chars() {
        match letter {
            '<' => inside = true,
            '>' => inside = false,
            letter if !inside => text.push(letter),
            _ => {}
        }
    }
    let named =
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#x27;", "'"), ("&#x2f;", "/"), ("&amp;", "&")];
    named.iter().fold(text, |text, (name, letter)| text.replace(name, letter)).trim().to_owned()
}

fn row<'a>(rows: &'a Rows, name: &str) -> &'a [String] {
    let named =
        |row: &&Vec<String>| row.first().is_some_and(|cell| cell.trim_end_matches(" (choice)") == name);
    rows.iter().find(named).unwrap_or_else(|| panic!("no row {name}: {rows:?}"))
}

/// A stored number of a sheet as every text format writes money.
fn written(cell: &str) -> String {
    money(Usd::from_f64(cell.parse().unwrap_or_else(|_| panic!("`{cell}` is no number"))).unwrap())
}

fn agree(formats: &Formats) {
    let Formats { plan, terminal, markdown, page, bill, decision, focus } = formats;
    // The tables of the markdown report are in the page, cell by cell, and their cells are in the terminal's.
    let words: String = terminal.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut shared = 0;
    for (title, rows) in markdown.iter().filter(|(title, _)| !["option", "level"].contains(&title.as_str())) {
        let there =
            page.get(title).unwrap_or_else(|| panic!("the page has no table {title}: {:?}", page.keys()));
        assert_eq!(rows, there, "{title}");
        if words.contains(&format!("{title} in the HTML and markdown reports")) {
            continue;
        }
        for cell in rows.iter().flatten() {
            let cell: String = cell.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(words.contains(&cell), "{title}: the terminal does not say `{cell}`");
            shared += 1;
        }
    }
    assert!(shared > 30, "{shared} cells");
    let levels = &page["Load levels; latencies from the scheduled time"];
    assert_eq!(&markdown["level"], levels);
    for level in &levels[1..] {
        let line = terminal.lines().find(|line| line.split_whitespace().next() == Some(&level[0])).unwrap();
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(line, level.join(" "));
    }
    let options = &page["Options on the same workload, cheapest per successful outcome first"];
    let lines = page.iter().find(|(title, _)| title.starts_with("Every cost line")).unwrap().1;
    for option in &plan.options {
        let here = row(options, &option.name);
        let in_markdown = row(&markdown["option"], &option.name);
        assert_eq!(here[1..4], in_markdown[1..4], "{}", option.name);
        // The terminal may shorten a name, so its row is the one with these figures.
        let at = |line: &str| here[1..4].iter().all(|cell| line.split_whitespace().any(|word| word == cell));
        assert!(terminal.lines().any(at), "{}: {here:?} is in no line of the terminal's", option.name);
        if option.infeasible.is_none() {
            to_the_spreadsheet(option, here, lines, bill, decision);
            to_focus(option, here, lines, focus);
        }
    }
    for option in plan.options.iter().filter(|option| Some(&option.id) == plan.decision.choice.as_ref()) {
        for line in option.lines.iter().filter(|line| line.usd_per_month != Usd::ZERO) {
            let said = format!("{} {}", line.line.label(), money(line.usd_per_month));
            assert!(words.contains(&said), "the terminal's bill does not say {said}");
        }
    }
}

fn column(rows: &Rows, name: &str) -> usize {
    rows.iter().find_map(|row| row.iter().position(|cell| cell == name)).unwrap()
}

fn to_the_spreadsheet(option: &OptionPlan, here: &[String], lines: &Rows, bill: &Rows, decision: &Rows) {
    let there = row(decision, &option.name);
    assert_eq!([&written(&there[1]), &written(&there[3])], [&here[1], &here[3]], "{}", option.name);
    for line in LineItem::ALL {
        let sheet = &row(bill, line.label())[column(bill, &option.name)];
        let page = &row(lines, line.label())[column(lines, &option.name)];
        assert_eq!(written(sheet), *page, "{}: {}", option.name, line.label());
    }
}

fn to_focus(option: &OptionPlan, here: &[String], lines: &Rows, focus: &[BTreeMap<String, String>]) {
    let first = &focus[0]["ChargePeriodStart"];
    let mut sum = Usd::ZERO;
    for charge in
        focus.iter().filter(|row| row["x_OptionId"] == option.id && row["ChargePeriodStart"] == *first)
    {
        let usd = Usd(charge["BilledCost"].parse().unwrap());
        sum = [sum, usd].into_iter().sum();
        let page = &row(lines, &charge["x_CostLine"])[column(lines, &option.name)];
        assert_eq!(money(usd), *page, "{}: {}", option.name, charge["x_CostLine"]);
    }
    assert_eq!(money(sum), here[1], "{}", option.name);
}

#[test]
fn the_support_bot_reads_the_same_in_every_format() {
    agree(&formats("examples/support-bot.toml"));
}

#[test]
fn the_sales_copilot_reads_the_same_in_every_format() {
    agree(&formats("examples/sales-copilot.toml"));
}
