//! Fuzzing of every parser of price and device files: real files, damaged. A parser may refuse; it may not panic, hang, or
//! give a book that does not survive being written and read again.
//!
//! A few thousand inputs a parser as part of the test suite; `BREAKEVEN_FUZZ_SECONDS=60` makes it a minute a parser, as CI does.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]
#![expect(clippy::print_stdout, reason = "what was fuzzed, and how much, is for the reader of the log")]

use std::time::{Duration, Instant};

use breakeven_hardware::{
    AsOf, PriceBook,
    band::parse_bands,
    device::parse_devices,
    import::{ImportFormat, ImportSource, import},
};
use rand::{Rng, RngCore, SeedableRng, rngs::SmallRng, seq::IndexedRandom};

/// Inputs a parser where no time is asked for.
const INPUTS: u64 = 3_000;
/// Damaged inputs that a parser still took are damaged further.
const KEPT_SEEDS: usize = 64;

/// Fragments that parsers of tables and numbers stumble over.
const FRAGMENTS: [&[u8]; 32] = [
    b"-1",
    b"NaN",
    b"inf",
    b"1e999",
    b"1e-999",
    b"99999999999999999999999999999999999999",
    b"0",
    b"-0",
    b"\"",
    b"\"\"",
    b",",
    b"\n",
    b"\r\n",
    b"\r",
    b"\0",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\xc3",
    b"{",
    b"}",
    b"[",
    b"]",
    b"[[compute]]\n",
    b"[[api]]\n",
    b":",
    b"null",
    b"\\u0000",
    b"\\ud800",
    b"USD",
    b"XXX",
    b"2026-02-30",
    b"0.000000000000000000000000000000000001",
];

/// Runs a parser over damaged copies of its seeds; `parse` says whether it took the input.
fn fuzz(name: &str, seeds: &[Vec<u8>], parse: impl Fn(&[u8]) -> bool) {
    let seconds = std::env::var("BREAKEVEN_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let budget = seconds.map(Duration::from_secs);
    // A timed run begins elsewhere every time; its seed is printed with the failing input.
    let seed = if budget.is_some() { rand::rng().next_u64() } else { 1 };
    let mut random = SmallRng::seed_from_u64(seed);
    for seed in seeds {
        assert!(parse(seed), "{name}: the undamaged file is not taken");
    }
    let mut kept = seeds.to_vec();
    let (begun, mut inputs, mut taken) = (Instant::now(), 0_u64, 0_u64);
    while budget.map_or(inputs < INPUTS, |budget| begun.elapsed() < budget) {
        let input = damaged(&kept, &mut random);
        let took = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| parse(&input)));
        let Ok(took) = took else {
            panic!("{name}: seed {seed}, input {inputs} broke it: {:?}", String::from_utf8_lossy(&input));
        };
        inputs += 1;
        if took {
            taken += 1;
            if kept.len() < KEPT_SEEDS {
                kept.push(input);
            } else {
                let victim = random.random_range(seeds.len()..kept.len());
                kept[victim] = input;
            }
        }
    }
    println!("{name}: {inputs} inputs, {taken} taken, {:.1} s", begun.elapsed().as_secs_f64());
    assert!(taken > 0, "{name}: no input was taken, so the parser's inside was never reached");
}

fn damaged(kept: &[Vec<u8>], random: &mut SmallRng) -> Vec<u8> {
    let mut input = kept.choose(random).unwrap().clone();
    for _ in 0..random.random_range(1..=4) {
        let at = random.random_range(0..=input.len());
        let to = (at + random.random_range(0..=24)).min(input.len());
        match random.random_range(0..6) {
            0 if at < input.len() => input[at] ^= 1 << random.random_range(0..8),
            1 => drop(input.drain(at..to)),
            2 => drop(input.splice(at..at, FRAGMENTS.choose(random).unwrap().iter().copied())),
            3 => drop(input.splice(at..to, FRAGMENTS.choose(random).unwrap().iter().copied())),
            4 => {
                let other = kept.choose(random).unwrap();
                let from = random.random_range(0..=other.len());
                let end = (from + random.random_range(0..=200)).min(other.len());
                drop(input.splice(at..to, other[from..end].iter().copied()));
            }
            _ => input.truncate(at),
        }
    }
    input.truncate(64 << 10);
    input
}

/// A file's head and some lines of it, so that a seed stays small.
fn excerpt(text: &str, lines: usize) -> Vec<u8> {
    text.lines().take(lines).collect::<Vec<_>>().join("\n").into_bytes()
}

/// Whether a sheet was taken; what was taken must read the same after it was written.
fn sheet(file: &str, bytes: &[u8]) -> bool {
    let Ok(book) = PriceBook::parse(file, bytes) else { return false };
    round_trip(&book);
    true
}

fn round_trip(book: &PriceBook) {
    for (kind, csv) in [(book.compute.is_empty(), book.compute_csv()), (book.api.is_empty(), book.api_csv())]
    {
        if kind {
            continue;
        }
        let again = PriceBook::parse("again.csv", csv.as_bytes());
        let again = again.unwrap_or_else(|error| panic!("what we write, we must read: {error}\n{csv}"));
        let part = |other: &PriceBook| {
            book.diff(other).iter().filter(|change| change.before.is_some() && change.after.is_some()).count()
        };
        assert_eq!(part(&again), 0, "a price changed by being written\n{csv}");
    }
}

fn importer(format: ImportFormat, bytes: &[u8]) -> bool {
    let day = "2026-11-23".parse::<AsOf>().unwrap();
    let source = ImportSource { file: "list", as_of: day, provider: Some("somebody") };
    let Ok(imported) = import(format, &source, bytes) else { return false };
    let report = &imported.report;
    assert!(report.taken <= report.rows * 2, "at most an on-demand and a spot price a row: {report}");
    round_trip(&imported.book);
    true
}

const COMPUTE: &str = include_str!("../catalog/compute_prices.csv");
const API: &str = include_str!("../catalog/api_prices.csv");

#[test]
fn compute_sheet() {
    fuzz("compute CSV", &[excerpt(COMPUTE, 12)], |bytes| sheet("s.csv", bytes));
}

#[test]
fn api_sheet() {
    fuzz("API CSV", &[excerpt(API, 12)], |bytes| sheet("s.csv", bytes));
}

#[test]
fn toml_sheet() {
    let seed = br#"[currency.EUR]
usd_per_unit = 1.08
rate_date = 2026-11-01

[[compute]]
provider = "own"
device = "H100"
device_count = 8
term = "owned"
currency = "EUR"
price_per_hour = 12.5
date = 2026-11-01
source_url = "https://example.com/"

[[api]]
provider = "own"
model = "m"
service = "standard"
currency = "USD"
input_per_million_tokens = 1.0
output_per_million_tokens = 2
date = 2026-11-01
source_url = "https://example.com/"
"#;
    fuzz("TOML sheet", &[seed.to_vec()], |bytes| sheet("s.toml", bytes));
}

#[test]
fn device_sheet() {
    let text = include_str!("../catalog/devices.csv");
    fuzz("devices", &[excerpt(text, 8)], |bytes| parse_devices("d.csv", bytes).is_ok());
}

#[test]
fn band_sheet() {
    let text = include_str!("../catalog/owned_bands.csv");
    fuzz("bands", &[excerpt(text, 8)], |bytes| parse_bands("b.csv", bytes).is_ok());
}

#[test]
fn litellm() {
    let text = br#"{"gpt-5-nano": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 5e-08,
"output_cost_per_token": 4e-07, "cache_read_input_token_cost": 5e-09, "input_cost_per_token_batches": 2.5e-08,
"input_cost_per_token_above_200k_tokens": 1e-07, "max_input_tokens": 272000, "deprecation_date": "2027-01-01"},
"img": {"litellm_provider": "x", "mode": "image_generation", "input_cost_per_image": 0.04}}"#;
    fuzz("LiteLLM", &[text.to_vec()], |bytes| importer(ImportFormat::Litellm, bytes));
}

#[test]
fn skypilot() {
    let text = b"InstanceType,vCPUs,MemoryGiB,AcceleratorName,AcceleratorCount,GpuInfo,Price,SpotPrice,Region,AvailabilityZone\n\
        p5.48xlarge,192.0,2048.0,H100,8.0,\"{'Gpus': []}\",55.04,14.2,us-east-1,us-east-1a\n\
        m5.large,2.0,8.0,,,,0.096,0.04,us-east-1,us-east-1a\nx.half,4,16,A10,0.5,,1.2,,eastus,\n";
    fuzz("SkyPilot", &[text.to_vec()], |bytes| importer(ImportFormat::Skypilot, bytes));
}

#[test]
fn gpuhunt() {
    let text = b"instance_name,location,price,cpu,memory,gpu_count,gpu_name,gpu_memory,spot,disk_size,gpu_vendor\n\
        p5.48xlarge,us-east-1,55.04,192,2048.0,8,H100,80.0,False,,nvidia\nm5,us-east-1,0.1,2,8.0,0,,,True,,\n";
    fuzz("gpuhunt", &[text.to_vec()], |bytes| importer(ImportFormat::Gpuhunt, bytes));
}

#[test]
fn azure() {
    let text = br#"{"Items":[{"currencyCode":"USD","retailPrice":98.32,"unitPrice":98.32,"armRegionName":"eastus",
"productName":"ND H100 v5 Series","skuName":"ND96isr","serviceName":"Virtual Machines","type":"Consumption",
"unitOfMeasure":"1 Hour","armSkuName":"Standard_ND96isr_H100_v5"},{"currencyCode":"USD","retailPrice":500000.0,
"armRegionName":"eastus","productName":"ND H100 v5 Series","skuName":"ND96isr","serviceName":"Virtual Machines",
"type":"Reservation","reservationTerm":"1 Year","unitOfMeasure":"1 Hour","armSkuName":"Standard_ND96isr_H100_v5"}]}"#;
    fuzz("Azure", &[text.to_vec()], |bytes| importer(ImportFormat::AzureRetail, bytes));
}

#[test]
fn aws() {
    let text = b"\"FormatVersion\",\"v1.0\"\n\"Disclaimer\",\"x\"\n\"Publication Date\",\"2026-11-01T00:00:00Z\"\n\
        \"Version\",\"1\"\n\"OfferCode\",\"AmazonEC2\"\n\"SKU\",\"TermType\",\"Unit\",\"PricePerUnit\",\"Currency\",\
        \"LeaseContractLength\",\"PurchaseOption\",\"OfferingClass\",\"Instance Type\",\"vCPU\",\"Memory\",\"Tenancy\",\
        \"Operating System\",\"CapacityStatus\",\"GPU\",\"Pre Installed S/W\",\"Region Code\"\n\
        \"A\",\"OnDemand\",\"Hrs\",\"55.04\",\"USD\",\"\",\"\",\"\",\"p5.48xlarge\",\"192\",\"2048 GiB\",\"Shared\",\"Linux\",\
        \"Used\",\"8\",\"NA\",\"us-east-1\"\n";
    fuzz("AWS", &[text.to_vec()], |bytes| importer(ImportFormat::AwsOffer, bytes));
}

#[test]
fn openrouter() {
    let text =
        br#"{"data":[{"id":"openai/gpt-5-nano","context_length":400000,"pricing":{"prompt":"0.00000005",
"completion":"0.0000004","request":"0","image":"0","input_cache_read":"0.000000005"},
"top_provider":{"max_completion_tokens":128000}}]}"#;
    fuzz("OpenRouter", &[text.to_vec()], |bytes| importer(ImportFormat::Openrouter, bytes));
}
