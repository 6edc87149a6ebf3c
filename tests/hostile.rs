//! Names that try to be more than names, from a product file and from a price sheet, through every format.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

mod support;

use std::{
    fs,
    io::{Cursor, Read as _},
};

use support::{breakeven, shown};

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/measurement-1.json");
/// A spreadsheet's formula, an end of script, a tag with a handler, markdown's marks.
const NAME: &str = "=cmd|' /C calc'!A1</script><script>alert(1)</script><img src=x onerror=alert(1)>|`*_[x](javascript:alert(1))";

#[test]
fn names_stay_text_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let mut sheet = csv::Writer::from_path(path("prices.csv")).unwrap();
    let heads = fs::read_to_string("hardware/catalog/api_prices.csv").unwrap();
    let heads: Vec<&str> = heads.lines().next().unwrap().split(',').collect();
    sheet.write_record(&heads).unwrap();
    let cell = |head: &&str| match *head {
        "provider" | "model" | "dataset" => NAME,
        "service" => "standard",
        "currency" => "USD",
        "input_per_million_tokens" => "0.01",
        "output_per_million_tokens" => "0.02",
        "date" => "2026-11-20",
        "source_url" => "https://prices.example/<script>",
        _ => "",
    };
    sheet.write_record(heads.iter().map(cell)).unwrap();
    sheet.flush().unwrap();
    let quoted = format!("\"{NAME}\"");
    let bot = fs::read_to_string("examples/support-bot.toml").unwrap();
    let product = bot
        .replacen("\"Support bot\"", &quoted, 1)
        .replacen("\"happy path\"", &quoted, 1)
        .replacen("\"placeholder for a small 2-core cloud machine; put your own price here\"", &quoted, 1)
        + &format!("\n[[api]]\nprovider = {quoted}\nmodel = {quoted}\n");
    fs::write(path("product.toml"), product).unwrap();
    let planned = breakeven(&[
        "plan",
        &path("product.toml"),
        "--measurement",
        FIXTURE,
        "--as-of",
        "2026-11-23",
        "--prices",
        &path("prices.csv"),
        "--out",
        &path("plan.json"),
    ]);
    assert_eq!(planned.status.code(), Some(0), "{}", shown(&planned));
    let report = breakeven(&[
        "report",
        &path("plan.json"),
        "--html",
        &path("page.html"),
        "--xlsx",
        &path("book.xlsx"),
        "--focus",
        &path("focus.csv"),
    ]);
    assert_eq!(report.status.code(), Some(0), "{}", shown(&report));

    let page = fs::read_to_string(path("page.html")).unwrap();
    for tag in ["<script", "</script", "<img"] {
        assert!(!page.contains(tag), "{tag} in the page");
    }
    // Text of tables, text of drawings, and names of drawings.
    for part in ["<th", "<text", "aria-label=\""] {
        let held = page.split(part).skip(1).any(|rest| {
            rest.split("</t").next().is_some_and(|text| text.contains("&lt;img src=x onerror=alert(1)&gt;"))
        });
        assert!(held, "no {part} has the name");
    }

    let markdown = breakeven(&["report", &path("plan.json"), "--format", "markdown"]);
    let markdown = String::from_utf8(markdown.stdout).unwrap();
    assert!(!markdown.contains("<script") && !markdown.contains("<img"), "tags in markdown");
    for line in markdown.lines().filter(|line| line.contains("onerror")) {
        assert!(!line.replace("\\]", "").contains("](javascript"), "a link in markdown: {line}");
        assert!(!line.contains("cmd|"), "a bar that ends a cell: {line}");
    }

    let mut book = zip::ZipArchive::new(Cursor::new(fs::read(path("book.xlsx")).unwrap())).unwrap();
    let mut strings = String::new();
    for index in 0..book.len() {
        let mut part = book.by_index(index).unwrap();
        let mut text = String::new();
        // Pictures are none; every part is text.
        part.read_to_string(&mut text).unwrap();
        for formula in text.split("<f>").skip(1) {
            let formula = formula.split("</f>").next().unwrap();
            assert!(!formula.contains("cmd") && !formula.contains("calc"), "{formula}");
        }
        assert!(!text.contains("<img"), "{}", part.name().unwrap());
        strings += &text;
    }
    assert!(strings.contains("=cmd|"), "the name is a string of the book");

    let mut rows = csv::Reader::from_path(path("focus.csv")).unwrap();
    let mut seen = 0;
    for cell in rows.records().flat_map(|row| row.unwrap().iter().map(str::to_owned).collect::<Vec<_>>()) {
        let formula = cell.starts_with(['=', '+', '@', '\t', '\r'])
            || cell.starts_with('-') && cell.parse::<f64>().is_err();
        assert!(!formula, "a formula: {cell}");
        seen += usize::from(cell.starts_with("'=cmd|"));
    }
    assert!(seen > 0, "the name is there, as text");
}
