//! Laws of the reader: nothing is lost, the parts are the whole, and no number of threads or size of block changes anything.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests: a panic is the report")]

use std::{collections::BTreeMap, num::NonZeroUsize};

use breakeven_usage::{Breakdown, ReadOptions, Sums, Usage, read_bytes};
use bytes::Bytes;
use proptest::prelude::*;
use rust_decimal::Decimal;

/// A row of made-up usage; `broken` makes it one that must be refused.
#[derive(Debug, Clone)]
struct Row {
    minute: u32,
    request: u8,
    model: u8,
    route: u8,
    input: Option<u32>,
    output: Option<u32>,
    cost: Option<String>,
    failed: bool,
    broken: u8,
}

fn row() -> impl Strategy<Value = Row> {
    let cost = prop_oneof![
        Just(None),
        (0_u64..1_000_000, 0_u32..18)
            .prop_map(|(n, scale)| { Some(Decimal::from_i128_with_scale(i128::from(n), scale).to_string()) }),
    ];
    let counts = (proptest::option::of(0_u32..5_000), proptest::option::of(0_u32..5_000));
    let labels = (0_u32..60 * 24 * 40, 0_u8..20, 0_u8..4, 0_u8..5);
    (labels, counts, cost, any::<bool>(), 0_u8..40).prop_map(
        |((minute, request, model, route), (input, output), cost, failed, broken)| Row {
            minute,
            request,
            model,
            route,
            input,
            output,
            cost,
            failed,
            broken,
        },
    )
}

impl Row {
    fn is_broken(&self) -> bool {
        self.broken < 4
    }

    fn time(&self) -> String {
        let at = jiff::Timestamp::from_second(1_790_812_800 + i64::from(self.minute) * 60).unwrap();
        if self.broken == 0 { "yesterday".to_owned() } else { at.to_string() }
    }

    fn text(value: Option<impl ToString>) -> String {
        value.map(|value| value.to_string()).unwrap_or_default()
    }

    fn csv(&self) -> String {
        let model =
            if self.model == 0 { "\"a \"\"b\"\",\nc\"".to_owned() } else { format!("m{}", self.model) };
        let cost = if self.broken == 1 { "-1".to_owned() } else { Self::text(self.cost.clone()) };
        let input = if self.broken == 2 { "many".to_owned() } else { Self::text(self.input) };
        let status = if self.failed { "failure" } else { "success" };
        let more = if self.broken == 3 { ",surplus" } else { "" };
        format!(
            "{},r{},{model},route {},{input},{},{cost},{status}{more}\n",
            self.time(),
            self.request,
            self.route,
            Self::text(self.output)
        )
    }

    fn json(&self) -> String {
        let mut object = serde_json::json!({
            "time": self.time(), "request_id": format!("r{}", self.request), "route": format!("route {}", self.route),
            "model": if self.model == 0 { "a \"b\",\nc".to_owned() } else { format!("m{}", self.model) },
            "status": if self.failed { "failure" } else { "success" },
            "output_tokens": self.output, "input_tokens": self.input, "cost_usd": self.cost,
        });
        match self.broken {
            1 => object["cost_usd"] = "-1".into(),
            2 => object["input_tokens"] = "many".into(),
            3 => return "{\"time\": \n".to_owned(),
            _ => {}
        }
        format!("{object}\n")
    }
}

fn options(threads: usize, block_bytes: usize) -> ReadOptions {
    ReadOptions {
        most_refused: 1.0,
        threads: NonZeroUsize::new(threads),
        block_bytes,
        ..ReadOptions::default()
    }
}

const HEADER: &str = "time,request_id,model,route,input_tokens,output_tokens,cost_usd,status\n";

fn parts(usage: &Usage) -> impl Iterator<Item = (&'static str, Sums)> {
    usage.by.iter().map(|(dimension, breakdown)| {
        let mut all = Sums::default();
        breakdown.totals().values().for_each(|sums| all.merge(sums));
        (dimension.name(), all)
    })
}

proptest! {
    #[test]
    fn nothing_is_lost_and_the_parts_are_the_whole(rows in prop::collection::vec(row(), 1..120)) {
        let used: Vec<&Row> = rows.iter().filter(|row| !row.is_broken()).collect();
        let csv = HEADER.to_owned() + &rows.iter().map(Row::csv).collect::<String>();
        let json: String = rows.iter().map(Row::json).collect();
        for text in [csv, json] {
            let read = read_bytes("usage", Bytes::from(text), &options(2, 400));
            if used.is_empty() {
                prop_assert!(read.is_err());
                continue;
            }
            let usage = read.unwrap();
            let source = &usage.source;
            prop_assert_eq!(source.read, rows.len() as u64);
            prop_assert_eq!(source.read, source.used + source.refused + source.passed_over);
            prop_assert_eq!(source.used, used.len() as u64);
            prop_assert_eq!(source.first_refused.len() as u64, source.refused.min(5));
            // The oracle adds up decimals and integers of the rows as they were made.
            let total = &usage.total;
            let money: Decimal = used.iter().filter_map(|row| row.cost.as_ref()).map(|cost| cost.parse::<Decimal>().unwrap()).sum();
            prop_assert_eq!(total.recorded_usd.usd().0, money.normalize());
            prop_assert_eq!(total.attempts, used.len() as u64);
            prop_assert_eq!(total.input_tokens, used.iter().filter_map(|row| row.input).map(u64::from).sum::<u64>());
            prop_assert_eq!(total.input_known, used.iter().filter(|row| row.input.is_some()).count() as u64);
            prop_assert_eq!(total.output_tokens, used.iter().filter_map(|row| row.output).map(u64::from).sum::<u64>());
            prop_assert_eq!(total.failed, used.iter().filter(|row| row.failed).count() as u64);
            for (name, sum) in parts(&usage) {
                prop_assert_eq!(&sum, total, "{}", name);
            }
            let mut by_day = Sums::default();
            usage.days.values().for_each(|day| by_day.merge(day));
            prop_assert_eq!(&by_day, total);
            prop_assert_eq!(usage.causes.unwrap().values().sum::<u64>(), total.failed);
            prop_assert!(total.retries <= total.failed, "a retry follows a failure");
        }
    }

    #[test]
    fn threads_and_blocks_change_nothing(rows in prop::collection::vec(row(), 1..120), threads in 2_usize..5, block in 1_usize..3_000) {
        let csv = HEADER.to_owned() + &rows.iter().map(Row::csv).collect::<String>();
        let json: String = rows.iter().map(Row::json).collect();
        for text in [csv, json] {
            let text = Bytes::from(text);
            let alone = read_bytes("usage", text.clone(), &options(1, 1 << 20));
            let together = read_bytes("usage", text, &options(threads, block));
            match (alone, together) {
                (Ok(alone), Ok(together)) => prop_assert_eq!(alone, together),
                (alone, together) => prop_assert_eq!(alone.map_err(|e| e.to_string()), together.map_err(|e| e.to_string())),
            }
        }
    }
}

#[test]
fn a_label_with_too_many_values_is_dropped_and_said_however_the_rows_are_dealt_out() {
    let mut text = "time,model,route,feature,cost_usd\n".to_owned();
    for row in 0..10_001 {
        let line = format!("2026-11-01T00:00:00Z,m,/ticket/{row},f{},0.001\n", row % 10_000);
        text += &line;
    }
    let text = Bytes::from(text);
    let read = |threads, block| read_bytes("usage.csv", text.clone(), &options(threads, block)).unwrap();
    let usage = read(1, 1 << 20);
    assert_eq!(usage, read(4, 5_000));
    let of = |dimension| &usage.by[&dimension];
    assert_eq!(*of(breakeven_usage::Dimension::Route), Breakdown::TooMany);
    assert_eq!(of(breakeven_usage::Dimension::Feature).totals().len(), 10_000);
    assert_eq!(usage.total.recorded_usd.usd().0, Decimal::new(10_001, 3));
    assert!(
        usage.source.notes.iter().any(|note| note.starts_with("route has more than 10000 values")),
        "{:?}",
        usage.source.notes
    );
}

/// Attempts of one request, in the file's order, and what they are counted as.
#[test]
fn a_retry_follows_a_failure_of_the_same_request_within_ten_minutes() {
    let read = |rows: &str| {
        let text = format!("time,duration_ms,request_id,stage,model,requested_model,status,attempt\n{rows}");
        read_bytes("usage.csv", Bytes::from(text), &options(2, 64)).unwrap().total
    };
    let cases: BTreeMap<&str, (u64, u64, &str)> = [
        ("failed, then answered", (1, 0, "00:00:00Z,1,r,s,m,m,failure,\n00:00:02Z,1,r,s,m,m,success,")),
        ("answered twice: two calls", (0, 0, "00:00:00Z,1,r,s,m,m,success,\n00:00:02Z,1,r,s,m,m,success,")),
        ("another stage", (0, 0, "00:00:00Z,1,r,a,m,m,failure,\n00:00:02Z,1,r,b,m,m,success,")),
        ("another request", (0, 0, "00:00:00Z,1,r,s,m,m,failure,\n00:00:02Z,1,q,s,m,m,success,")),
        ("too late", (0, 0, "00:00:00Z,1,r,s,m,m,failure,\n00:10:01Z,1,r,s,m,m,success,")),
        (
            "began before the failure ended",
            (0, 0, "00:00:00Z,5000,r,s,m,m,failure,\n00:00:02Z,1,r,s,m,m,success,"),
        ),
        ("said by the log", (1, 0, "00:00:00Z,1,r,s,m,m,success,2\n00:00:02Z,1,q,s,m,m,success,1")),
        ("twice", (2, 0, "00:00:00Z,1,r,s,m,m,429,\n00:00:02Z,1,r,s,m,m,500,\n00:00:04Z,1,r,s,m,m,200,")),
        ("on another model", (1, 1, "00:00:00Z,1,r,s,m,m,failure,\n00:00:02Z,1,r,s,n,n,success,")),
        ("another model, and said", (1, 1, "00:00:00Z,1,r,s,m,m,failure,\n00:00:02Z,1,r,s,n,m,success,")),
        (
            "a fallback without a failure",
            (0, 1, "00:00:00Z,1,r,s,n,m,success,\n00:00:02Z,1,q,s,m,m,success,"),
        ),
    ]
    .into();
    for (name, (retries, fallbacks, rows)) in cases {
        let rows = rows.lines().map(|row| ["2026-11-01T", row, "\n"].concat()).collect::<Vec<_>>().concat();
        let total = read(&rows);
        assert_eq!((total.retries, total.fallbacks), (retries, fallbacks), "{name}");
        assert_eq!(total.requests(), total.attempts - retries, "{name}");
    }
}
