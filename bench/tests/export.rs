//! Tables hold what the journal holds.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

use std::{path::Path, time::Duration};

use breakeven_bench::{
    drive::Attempt,
    export::{
        attempts::{self, COLUMNS},
        parquet::write_parquet,
        table::write_csv,
    },
    journal::{AttemptLine, Entries, Entry, FORMAT, Header},
};
use breakeven_measurement::{FailureCause, level::TokenSource};
use parquet::{
    file::reader::{FileReader as _, SerializedFileReader},
    record::RowAccessor as _,
};

const MS: Duration = Duration::from_millis(1);

fn attempt(id: u64) -> Attempt {
    let failed = id % 3 == 2;
    let i = u32::try_from(id).unwrap();
    Attempt {
        id,
        segment: 0,
        scheduled: MS * (i * 100),
        sent: MS * (i * 100) + Duration::from_micros(50),
        first_token: (!failed).then_some(MS * (i * 100 + 40)),
        first_visible: None,
        last_token: (!failed).then_some(MS * (i * 100 + 100)),
        done: MS * (i * 100 + 101),
        input_tokens: 10,
        cached_tokens: 0,
        output_tokens: if failed { 0 } else { 4 },
        token_source: (!failed).then_some(TokenSource::Usage),
        tokenizer_tokens: None,
        chunk_gaps: if failed { vec![] } else { vec![MS * 20; 3] },
        failure: failed.then_some(FailureCause::ServerError),
        detail: failed.then(|| "HTTP 500, \"busy\",\nsorry".to_owned()),
        http_status: failed.then_some(500),
        retry_after: failed.then_some(MS * 1_500),
        finish_reason: (!failed).then(|| "stop".to_owned()),
        retries: Vec::new(),
        retried_tokens: 0,
        fell_back: false,
    }
}

/// A journal of thirty attempts, the last ten after a resume.
fn journal() -> Vec<u8> {
    let header = Entry::Header(Header {
        format: FORMAT.to_owned(),
        run_id: "run-1".to_owned(),
        started: "2026-11-23T12:00:00Z".parse().unwrap(),
        settings: serde_json::Value::Null,
    });
    let mut entries = vec![header];
    entries.extend(
        (0..30).map(|id| Entry::Attempt(AttemptLine { phase: "expected".to_owned(), record: attempt(id) })),
    );
    entries.insert(21, Entry::Resumed { at: "2026-11-23T13:00:00Z".parse().unwrap() });
    let mut text = Vec::new();
    for entry in entries {
        serde_json::to_writer(&mut text, &entry).unwrap();
        text.push(b'\n');
    }
    text
}

fn entries(journal: &[u8]) -> Entries<&[u8]> {
    Entries::of(journal, Path::new("attempts.jsonl")).unwrap().1
}

#[test]
fn csv_has_a_row_an_attempt() {
    let journal = journal();
    let mut out = Vec::new();
    assert_eq!(write_csv(&COLUMNS, attempts::rows(entries(&journal)), &mut out).unwrap(), 30);
    let text = String::from_utf8(out).unwrap();
    let lines: Vec<&str> = text.lines().take(4).collect();
    insta::assert_snapshot!(lines.join("\n"));
    let mut read = csv::Reader::from_reader(text.as_bytes());
    let rows: Vec<csv::StringRecord> = read.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 30, "a line end inside a text is no row");
    assert_eq!((&rows[19][0], &rows[20][0]), ("0", "1"), "the column `resumed`");
}

#[test]
fn parquet_reads_back_with_nulls_and_lists() {
    let journal = journal();
    let mut out = Vec::new();
    assert_eq!(write_parquet(&COLUMNS, attempts::rows(entries(&journal)), &mut out).unwrap(), 30);
    let read = SerializedFileReader::new(bytes::Bytes::from(out)).unwrap();
    assert_eq!(read.metadata().file_metadata().num_rows(), 30);
    let at = |name: &str| COLUMNS.iter().position(|column| column.name == name).unwrap();
    for (id, row) in read.get_row_iter(None).unwrap().enumerate() {
        let row = row.unwrap();
        let truth = attempt(id as u64);
        assert_eq!(row.get_string(at("phase")).unwrap(), "expected");
        assert_eq!(row.get_long(at("id")).unwrap(), i64::try_from(id).unwrap());
        assert_eq!(row.get_long(at("send_lag_ns")).unwrap(), 50_000);
        let ttft = row.get_long(at("ttft_ns")).ok();
        assert_eq!(ttft, truth.failure.is_none().then_some(40_000_000));
        assert_eq!(row.get_long(at("tpot_ns")).ok(), truth.failure.is_none().then_some(20_000_000));
        assert_eq!(
            row.get_string(at("failure")).ok().map(String::as_str),
            truth.failure.map(|_| "server_error")
        );
        let gaps = row.get_list(at("chunk_gaps_ns")).map_or(0, parquet::record::List::len);
        assert_eq!(gaps, truth.chunk_gaps.len());
    }
}

#[test]
fn a_journal_becomes_a_log_of_seconds() {
    let journal = journal();
    let mut out = Vec::new();
    let started = "2026-11-23T12:00:00Z".parse().unwrap();
    let written =
        attempts::write_hlog("title", started, attempts::rows(entries(&journal)), &mut out).unwrap();
    assert_eq!(written, 30);
    let text = String::from_utf8(out).unwrap();
    // Attempts 0 to 9 were due in the first second, 10 to 19 in the second; those after the resume begin a phase anew.
    let ttft: Vec<&str> = text.lines().filter(|line| line.starts_with("Tag=expected.ttft,")).collect();
    let start = |line: &str| line.split(',').nth(1).unwrap().to_owned();
    assert_eq!(ttft.iter().map(|line| start(line)).collect::<Vec<_>>(), ["0.000", "1.000", "5.000"]);
    assert!(text.contains("#expected.ttft: 3 failed requests are infinitely slow"), "{text}");
}
