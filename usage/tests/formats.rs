//! Each format's own way of saying the same things, and what is said of files that are none.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests: a panic is the report")]

use std::{io::Write as _, num::NonZeroUsize, sync::Arc};

use breakeven_usage::{Dimension, ModelPrice, Prices, ReadOptions, Usage, read, read_bytes};
use bytes::Bytes;
use parquet::{
    basic::{Compression, LogicalType, Repetition, Type as Physical},
    data_type::{ByteArray, ByteArrayType, DoubleType, FixedLenByteArray, FixedLenByteArrayType, Int64Type},
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::types::Type,
};

fn of(text: &str) -> Usage {
    read_bytes("usage", Bytes::from(text.to_owned()), &ReadOptions::default()).unwrap()
}

fn refused(bytes: &[u8]) -> String {
    read_bytes("usage", Bytes::copy_from_slice(bytes), &ReadOptions::default()).unwrap_err().to_string()
}

fn usd(usage: &Usage) -> String {
    usage.total.usd().map_or_else(|| "unknown".to_owned(), |usd| usd.0.to_string())
}

fn values(usage: &Usage, dimension: Dimension) -> Vec<String> {
    usage.by[&dimension].totals().keys().map(|name| (*name).to_owned()).collect()
}

/// A spend log as `LiteLLM_SpendLogs` has it, metadata as an object.
fn spend_log(id: &str, session: &str, spend: &str, model: &str, more: &str) -> String {
    format!(
        r#"{{"request_id":"{id}","call_type":"acompletion","spend":{spend},"total_tokens":150,"prompt_tokens":120,"completion_tokens":30,"startTime":"2026-11-03T10:00:00.000Z","endTime":"2026-11-03T10:00:01.500Z","model":"{model}","model_group":"chat","cache_hit":"False","request_tags":[],"team_id":"t1","session_id":"{session}",{more}}}"#
    ) + "\n"
}

#[test]
fn a_spend_log_says_it_all() {
    let success = r#""status":"success","metadata":{"user_api_key_team_alias":"care","usage_object":{"prompt_tokens_details":{"cached_tokens":40}},"spend_logs_metadata":{"feature":"answers","stage":"generation"},"attempted_fallbacks":0}"#;
    let fell_back = r#""status":"success","metadata":"{\"attempted_fallbacks\":1,\"original_model_group\":\"chat-large\",\"spend_logs_metadata\":{\"feature\":\"answers\"}}""#;
    let failure = r#""status":"failure","metadata":{"status":"failure","error_information":{"error_code":"429","error_class":"RateLimitError"}}"#;
    let text = spend_log("a", "s1", "3.45e-05", "openai/gpt-5-nano", success)
        + &spend_log("b", "s2", "0.000012345", "gpt-5-mini", fell_back)
        + &spend_log("c", "s3", "0.0", "gpt-5-nano", failure).replace(
            "\"prompt_tokens\":120,\"completion_tokens\":30",
            "\"prompt_tokens\":0,\"completion_tokens\":0",
        )
        + &spend_log("d", "s4", "0", "mystery", success)
        + &spend_log("e", "s5", "0", "gpt-5-nano", success).replace("False", "True");
    let usage = of(&text);
    let total = &usage.total;
    assert_eq!((total.attempts, total.failed, total.fallbacks, total.cache_hits), (5, 1, 1, 1));
    assert_eq!((total.input_tokens, total.output_tokens, total.cached_tokens), (480, 120, 120));
    assert_eq!(usd(&usage), "0.000046845");
    // A failure without tokens and a cache hit cost nothing; the proxy's 0 for 150 tokens of a model without a price is no cost.
    assert_eq!((total.recorded, usage.zero_cost_recorded), (4, 1));
    assert!(
        usage.source.notes.iter().any(|note| note.contains("1 calls record a spend of 0")),
        "{:?}",
        usage.source.notes
    );
    assert_eq!(usage.causes.as_ref().unwrap().get("RateLimitError"), Some(&1));
    assert_eq!(usage.fallbacks.as_ref().unwrap().keys().collect::<Vec<_>>(), ["chat-large → gpt-5-mini"]);
    assert_eq!(values(&usage, Dimension::Team), ["care", "t1"]);
    assert_eq!(values(&usage, Dimension::Feature), ["(none)", "answers"]);
    assert_eq!(values(&usage, Dimension::Stage), ["acompletion", "generation"]);
    assert_eq!(values(&usage, Dimension::Route), ["chat"]);
    assert_eq!(usage.latency.quantile(0.5).unwrap().finite().unwrap().as_millis() / 10, 150);
}

#[test]
fn attempts_of_a_spend_log_share_the_session_and_a_fallback_changes_the_group() {
    let failed = spend_log("a", "s", "0", "gpt-5-nano", r#""status":"failure""#);
    let next = spend_log("b", "s", "0.001", "claude-haiku-4-5", r#""status":"success""#)
        .replace("10:00:00.000", "10:00:02.000")
        .replace("10:00:01.500", "10:00:03.000")
        .replace("\"chat\"", "\"backup\"");
    let total = of(&(failed + &next)).total;
    assert_eq!((total.attempts, total.retries, total.fallbacks), (2, 1, 1));
    assert_eq!(total.retry_tokens, 150);
    assert_eq!(total.retry_usd.usd().0.to_string(), "0.001");
}

#[test]
fn spans_flat_nested_and_of_older_conventions() {
    let text = r#"{"name":"chat gpt-4o","context":{"trace_id":"0x1","span_id":"0x2"},"parent_id":"0x9","start_time":"2026-11-03T10:00:00.000000Z","end_time":"2026-11-03T10:00:02.000000Z","status":{"status_code":"UNSET"},"attributes":{"gen_ai.operation.name":"chat","gen_ai.request.model":"gpt-4o","gen_ai.response.model":"gpt-4o-2024-08-06","gen_ai.usage.input_tokens":100,"gen_ai.usage.output_tokens":20,"gen_ai.usage.cache_read.input_tokens":60,"http.route":"/ask"},"resource":{"attributes":{"service.name":"bot"}}}
{"trace_id":"1","start_time":"2026-11-03T11:00:00Z","gen_ai.request.model":"gpt-4o","gen_ai.response.model":"gpt-4o-mini","gen_ai.usage.prompt_tokens":50,"gen_ai.usage.completion_tokens":5}
{"trace_id":"2","start_time":"2026-11-03T12:00:00Z","gen_ai.operation.name":"embeddings","gen_ai.request.model":"text-embedding-3-small","gen_ai.usage.input_tokens":7,"status":{"code":2},"error.type":"timeout"}
{"trace_id":"1","name":"invoke_agent bot","start_time":"2026-11-03T11:00:00Z","gen_ai.operation.name":"invoke_agent","gen_ai.request.model":"gpt-4o","gen_ai.usage.input_tokens":150}
{"trace_id":"1","name":"GET /ask","start_time":"2026-11-03T11:00:00Z"}
"#;
    let usage = of(text);
    let total = &usage.total;
    assert_eq!((usage.source.read, usage.source.used, usage.source.passed_over), (5, 3, 2));
    assert_eq!((total.input_tokens, total.output_tokens, total.cached_tokens), (157, 25, 60));
    assert_eq!((total.failed, total.fallbacks), (1, 1), "a dated version is no fallback, a smaller model is");
    assert_eq!((total.output_known, total.cached_known), (2, 1), "what is not said is not 0");
    assert_eq!(usage.total.usd(), None);
    assert_eq!(values(&usage, Dimension::Stage), ["(none)", "chat", "embeddings"]);
    assert_eq!(values(&usage, Dimension::Feature), ["(none)", "bot"]);
    assert_eq!(usage.causes.unwrap().get("timeout"), Some(&1));
}

#[test]
fn an_otlp_export_holds_many_spans_a_line() {
    let span = |trace: &str, attributes: &str, code: u8| {
        format!(
            r#"{{"traceId":"{trace}","spanId":"1","parentSpanId":"","name":"chat m","kind":3,"startTimeUnixNano":"1793700000000000000","endTimeUnixNano":1793700001000000000,"attributes":[{attributes}],"status":{{"code":{code}}}}}"#
        )
    };
    let call = r#"{"key":"gen_ai.request.model","value":{"stringValue":"m"}},{"key":"gen_ai.usage.input_tokens","value":{"intValue":"12"}},{"key":"gen_ai.usage.output_tokens","value":{"intValue":3}},{"key":"gen_ai.response.finish_reasons","value":{"arrayValue":{"values":[{"stringValue":"stop"}]}}}"#;
    let wrong = r#"{"key":"gen_ai.request.model","value":{"stringValue":"m"}},{"key":"gen_ai.usage.input_tokens","value":{"intValue":"-12"}}"#;
    let line = format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"bot"}}}}]}},"scopeSpans":[{{"scope":{{}},"spans":[{},{},{},{}]}}]}}]}}"#,
        span("a", call, 0),
        span("b", call, 2),
        span("c", "", 0),
        span("d", wrong, 0),
    );
    let options = ReadOptions { most_refused: 1.0, ..ReadOptions::default() };
    let usage = read_bytes("spans.jsonl", Bytes::from(format!("{line}\r\n{line}")), &options).unwrap();
    assert_eq!(
        (usage.source.read, usage.source.used, usage.source.passed_over, usage.source.refused),
        (8, 4, 2, 2)
    );
    assert_eq!((usage.total.input_tokens, usage.total.output_tokens, usage.total.failed), (48, 12, 2));
    assert_eq!(values(&usage, Dimension::Feature), ["bot"]);
    assert_eq!(
        usage.source.first_refused[1].to_string(),
        "spans.jsonl:2: span 4: `input_tokens` is `-12`, expected a whole number of tokens, at most 1,000,000,000"
    );
}

#[test]
fn csv_with_a_mark_at_its_beginning_carriage_returns_and_a_missing_end() {
    let usage = of(
        "\u{feff}time,model,input_tokens,cost_usd\r\n2026-11-01,m,10,0.5\r\n\r\n2026-11-02,m,,\r\n2026-11-03,m,12.0,0.25",
    );
    assert_eq!((usage.source.read, usage.total.input_tokens, usage.total.input_known), (3, 22, 2));
    assert_eq!((usd(&usage).as_str(), usage.source.cut_off), ("0.75", false));
}

#[test]
fn a_last_line_that_was_cut_off_is_said() {
    let whole = spend_log("a", "s", "0.5", "m", r#""status":"success""#);
    let text = whole.repeat(200) + &whole[..whole.len() / 2];
    let usage = of(&text);
    assert_eq!((usage.source.used, usage.source.refused, usage.source.cut_off), (200, 1, true));
    assert!(usage.source.notes.iter().any(|note| note.contains("last line is cut off")));
    assert!(
        usage.source.first_refused[0].to_string().starts_with("usage:201: "),
        "{:?}",
        usage.source.first_refused
    );
}

#[test]
fn over_one_per_cent_of_wrong_rows_is_refused_with_the_first_of_them() {
    let good = "2026-11-01,m,10,success\n".repeat(98);
    let message = refused(
        format!("time,model,input_tokens,status\n{good}2026-11-01,m,-3,success\n2026-11-01,m,3,maybe\n")
            .as_bytes(),
    );
    assert!(message.contains("2 of 100 rows cannot be used, over the limit of 1 %"), "{message}");
    assert!(message.contains("usage:100: `input_tokens` is `-3`, expected a whole number"), "{message}");
    assert!(message.contains("usage:101: `status` is `maybe`, expected success"), "{message}");
    let cached = "time,model,input_tokens,cached_tokens\n2026-11-01,m,3,4\n";
    assert!(
        refused(cached.as_bytes()).contains("expected at most the 3 input tokens"),
        "{}",
        refused(cached.as_bytes())
    );
}

#[test]
fn what_is_no_usage_file_is_said() {
    for (bytes, says) in [
        (&b"\x1f\x8b\x08\x00rest"[..], "gzip; expected the file unpacked"),
        (b"\x28\xb5\x2f\xfd", "Zstandard; expected"),
        (b"\xff\xfe{\x00", "UTF-16 text; expected UTF-8"),
        (b"", "an empty file; expected rows"),
        (b" \n\n ", "expected rows"),
        (b"[{\"model\":\"m\"}]", "a JSON list; expected one JSON object a line (`jq -c '.[]'`"),
        (
            b"when,what\n1,2\n",
            "usage:1: the header `when,what`; expected comma-separated columns with `time`",
        ),
        (b"time,who\n1,2\n", "expected a column `model`"),
        (b"PAR1 and no more", "damaged Parquet"),
        (b"{\"trace_id\":\"1\",\"name\":\"GET /\"}\n", "no model calls in 1 rows"),
        (b"{}\n", "`model` is missing, expected a model, tokens or a cost"),
        (b"{\"model\":\"m\"}\n", "`time` is missing, expected a time from 2000"),
    ] {
        let message = refused(bytes);
        assert!(message.contains(says), "{message}");
    }
    let missing = read(std::path::Path::new("/nonexistent/usage.csv"), &ReadOptions::default()).unwrap_err();
    assert_eq!(missing.to_string(), "cannot read `/nonexistent/usage.csv`");
}

#[test]
fn columns_have_the_names_that_the_user_says_and_aliases_are_no_fallback() {
    let text =
        "when,model,requested_model,dept,price\n2026-11-01,gpt-4o-mini-2024-07-18,fast-chat,care,0.1\n";
    let options = ReadOptions {
        renamed: ["time=when", "team=dept", "cost_usd=price"].map(|text| text.parse().unwrap()).to_vec(),
        aliases: vec![("fast-chat".to_owned(), "gpt-4o-mini".to_owned())],
        ..ReadOptions::default()
    };
    let usage = read_bytes("usage", Bytes::from(text), &options).unwrap();
    assert_eq!((values(&usage, Dimension::Team), usd(&usage).as_str()), (vec!["care".to_owned()], "0.1"));
    assert_eq!(usage.total.fallbacks, 0);
    let plain = ReadOptions { aliases: Vec::new(), ..options };
    assert_eq!(read_bytes("usage", Bytes::from(text), &plain).unwrap().total.fallbacks, 1);
}

#[test]
fn calls_without_a_cost_are_priced_where_one_price_is_known() {
    let price = |model: &str, input: &str| ModelPrice {
        model: model.to_owned(),
        usd_per_million_input: breakeven_hardware::Usd(input.parse().unwrap()),
        usd_per_million_output: breakeven_hardware::Usd("0.4".parse().unwrap()),
        usd_per_request: breakeven_hardware::Usd("0.001".parse().unwrap()),
    };
    let text = "time,model,input_tokens,output_tokens,cost_usd,status\n\
        2026-11-01,gpt-5-nano-2025-08-07,1000,100,,success\n\
        2026-11-01,other,1000,100,,success\n\
        2026-11-01,gpt-5-nano,1000,100,0.5,success\n\
        2026-11-01,gpt-5-nano,1000,,,success\n\
        2026-11-01,gpt-5-nano,,,,failure\n";
    let read = |prices| {
        let options = ReadOptions { prices: Prices::new(prices), ..ReadOptions::default() };
        read_bytes("usage", Bytes::from(text), &options).unwrap()
    };
    let usage = read(vec![price("openai/gpt-5-nano", "0.05")]);
    // 1000 × 0.05/M + 100 × 0.4/M + 0.001 = 0.00109; the failure without tokens costs 0; without answer tokens nobody knows.
    assert_eq!(usage.total.priced_usd.usd().0.to_string(), "0.00109");
    assert_eq!((usage.total.priced, usage.total.recorded, usage.total.costed()), (2, 1, 3));
    let twice = read(vec![price("openai/gpt-5-nano", "0.05"), price("azure/gpt-5-nano", "0.06")]);
    assert_eq!(twice.total.priced, 0, "two prices for a model are none");
}

fn column(
    name: &str,
    kind: Physical,
    repetition: Repetition,
) -> parquet::schema::types::PrimitiveTypeBuilder<'_> {
    Type::primitive_type_builder(name, kind).with_repetition(repetition)
}

fn table(codec: Compression, groups: i64) -> Vec<u8> {
    let time = LogicalType::timestamp(true, parquet::basic::TimeUnit::MICROS);
    let fields = vec![
        column("time", Physical::INT64, Repetition::REQUIRED).with_logical_type(Some(time)).build().unwrap(),
        column("model", Physical::BYTE_ARRAY, Repetition::OPTIONAL)
            .with_logical_type(Some(LogicalType::String))
            .build()
            .unwrap(),
        column("input_tokens", Physical::DOUBLE, Repetition::OPTIONAL).build().unwrap(),
        column("cost_usd", Physical::FIXED_LEN_BYTE_ARRAY, Repetition::REQUIRED)
            .with_length(8)
            .with_logical_type(Some(LogicalType::decimal(9, 18)))
            .with_precision(18)
            .with_scale(9)
            .build()
            .unwrap(),
        column("success", Physical::BOOLEAN, Repetition::REQUIRED).build().unwrap(),
    ];
    let schema = Type::group_type_builder("row")
        .with_fields(fields.into_iter().map(Arc::new).collect())
        .build()
        .unwrap();
    let properties = WriterProperties::builder().set_compression(codec).build();
    let mut out = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut out, Arc::new(schema), Arc::new(properties)).unwrap();
    for group in 0..groups {
        let mut row_group = writer.next_row_group().unwrap();
        let times: Vec<i64> =
            (0..3).map(|row| 1_793_700_000_000_000 + (group * 3 + row) * 1_000_000).collect();
        let mut next = row_group.next_column().unwrap().unwrap();
        next.typed::<Int64Type>().write_batch(&times, None, None).unwrap();
        next.close().unwrap();
        let mut next = row_group.next_column().unwrap().unwrap();
        let models = [ByteArray::from("a"), ByteArray::from("b")];
        next.typed::<ByteArrayType>().write_batch(&models, Some(&[1, 0, 1]), None).unwrap();
        next.close().unwrap();
        let mut next = row_group.next_column().unwrap().unwrap();
        next.typed::<DoubleType>().write_batch(&[100.0, f64::NAN], Some(&[1, 1, 0]), None).unwrap();
        next.close().unwrap();
        let mut next = row_group.next_column().unwrap().unwrap();
        let costs: Vec<FixedLenByteArray> =
            [1_i64, 20, 300].map(|n| FixedLenByteArray::from(n.to_be_bytes().to_vec())).to_vec();
        next.typed::<FixedLenByteArrayType>().write_batch(&costs, None, None).unwrap();
        next.close().unwrap();
        let mut next = row_group.next_column().unwrap().unwrap();
        next.typed::<parquet::data_type::BoolType>().write_batch(&[true, false, true], None, None).unwrap();
        next.close().unwrap();
        row_group.close().unwrap();
    }
    writer.close().unwrap();
    out
}

#[test]
fn parquet_with_gaps_decimals_and_times() {
    let bytes = table(Compression::SNAPPY, 3);
    let usage = read_bytes("usage.parquet", Bytes::from(bytes.clone()), &ReadOptions::default()).unwrap();
    assert_eq!((usage.source.read, usage.source.used), (9, 9));
    assert_eq!((usage.total.input_tokens, usage.total.input_known), (300, 3));
    assert_eq!(usd(&usage), "0.000000963");
    assert_eq!((usage.total.judged, usage.total.successes), (9, 6));
    assert_eq!(values(&usage, Dimension::Model), ["(none)", "a", "b"]);
    assert_eq!(usage.first_day().to_string(), "2026-11-03");
    // From a file the same as from memory.
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&bytes).unwrap();
    let read = read(file.path(), &ReadOptions::default()).unwrap();
    assert_eq!(read.total, usage.total);
    // Cut off: the footer is gone.
    let cut = refused(&bytes[..bytes.len() - 20]);
    assert!(cut.contains("damaged Parquet"), "{cut}");
}

#[test]
fn threads_that_read_one_parquet_file_do_not_move_each_other() {
    let bytes = table(Compression::SNAPPY, 300);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&bytes).unwrap();
    let alone = ReadOptions { threads: Some(NonZeroUsize::MIN), ..ReadOptions::default() };
    let memory = read_bytes("usage.parquet", Bytes::from(bytes), &alone).unwrap();
    for threads in [2, 8] {
        let options = ReadOptions { threads: NonZeroUsize::new(threads), ..ReadOptions::default() };
        let usage = read(file.path(), &options).unwrap();
        assert_eq!(usage.total, memory.total, "{threads} threads");
        assert_eq!(usage.days, memory.days, "{threads} threads");
    }
}

#[test]
fn a_bad_row_is_named_by_its_line_whatever_ends_the_lines() {
    for end in ["\n", "\r\n", "\r\n\r\n", "\n\n"] {
        let good = "2026-11-01T00:00:00Z,m,1";
        let text = ["time,model,input_tokens", good, "2026-11-01T00:00:00Z,m,x", good, ""].join(end);
        let options = ReadOptions { most_refused: 0.9, ..ReadOptions::default() };
        let usage = read_bytes("f.csv", Bytes::from(text), &options).unwrap();
        let line = 1 + 2 * end.matches('\n').count() as u64;
        assert_eq!(usage.source.first_refused[0].line, line, "{end:?}");
    }
}

#[test]
fn a_byte_order_mark_in_the_midst_of_a_file_is_read_the_same_in_every_block() {
    let row = "2026-11-01T00:00:00Z,m,1\n";
    let text = [
        "time,model,input_tokens\n",
        row,
        "\u{feff}",
        row,
        "\u{feff}\"2026-11-01T00:00:00Z\",m,1\n",
        row,
        "\u{feff}",
    ]
    .concat();
    for block_bytes in [1, 30, 1 << 20] {
        let options = ReadOptions { most_refused: 0.9, block_bytes, ..ReadOptions::default() };
        let usage = read_bytes("f.csv", Bytes::from(text.clone()), &options).unwrap();
        let source = &usage.source;
        assert_eq!((source.read, source.used, source.cut_off), (5, 2, true), "{block_bytes}");
        assert_eq!(
            source.first_refused.iter().map(|row| row.line).collect::<Vec<_>>(),
            [3, 4, 6],
            "{block_bytes}"
        );
    }
}

#[test]
fn bad_rows_of_one_line_stay_in_their_order_whatever_the_threads() {
    let row = "2026-11-01T00:00:00Z,m,1\n";
    let text = ["time,model,input_tokens\n", row, "zz\rab\n", row, "zy\raa\n"].concat();
    for threads in [1, 2] {
        let threads = NonZeroUsize::new(threads);
        let options = ReadOptions { most_refused: 0.9, block_bytes: 1, threads, ..ReadOptions::default() };
        let usage = read_bytes("f.csv", Bytes::from(text.clone()), &options).unwrap();
        let refused: Vec<_> =
            usage.source.first_refused.iter().map(|row| (row.line, row.value.as_str())).collect();
        assert_eq!(refused, [(3, "zz"), (3, "ab"), (5, "zy"), (5, "aa")]);
    }
}

#[test]
fn blanks_after_the_last_row_are_no_row_that_was_cut_off() {
    for end in ["\n\r", "\r", "\n  ", "\n"] {
        let text = format!("time,model,input_tokens\n2026-11-01T00:00:00Z,m,1\nbroken{end}");
        for block_bytes in [1, 1 << 20] {
            let options = ReadOptions { most_refused: 0.9, block_bytes, ..ReadOptions::default() };
            let usage = read_bytes("f.csv", Bytes::from(text.clone()), &options).unwrap();
            assert!(!usage.source.cut_off, "{end:?}");
        }
    }
}
