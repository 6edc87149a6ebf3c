//! Writes a usage file of made-up traffic, to measure readers with: sixty days, five models, twelve routes, retries and fallbacks.
//!
//!     cargo run --release -p breakeven-usage --example generate -- csv 10000000 /tmp/usage.csv
//!
//! Shapes: `csv`, `litellm` (spend logs), `spans` (flat OpenTelemetry spans), `otlp` (`resourceSpans`, 20 spans a line), `parquet`.

#![expect(
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a tool for developers may fail by panicking"
)]

use std::{
    fs::File,
    io::{BufWriter, Write},
    sync::Arc,
};

use parquet::{
    basic::{Compression, LogicalType, Repetition, Type as Physical},
    data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type},
    file::{
        properties::WriterProperties,
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::types::Type,
};
use rand::{Rng, SeedableRng, rngs::SmallRng};

const MODELS: [(&str, f64, f64); 5] = [
    ("gpt-5-nano", 0.05, 0.4),
    ("gpt-5-mini", 0.25, 2.0),
    ("gemini-2.5-flash-lite", 0.1, 0.4),
    ("claude-haiku-4-5", 1.0, 5.0),
    ("gpt-4o", 2.5, 10.0),
];
const STAGES: [&str; 4] = ["classification", "generation", "validation", "escalation"];
const CAUSES: [&str; 4] = ["timeout", "rate_limit_exceeded", "500", "connection"];
/// 2026-10-01T00:00:00Z.
const BEGIN: i64 = 1_790_812_800;
const DAYS: i64 = 60;

struct Call {
    start_ms: i64,
    took_ms: i64,
    id: u64,
    model: usize,
    answered: usize,
    stage: usize,
    route: u32,
    feature: u32,
    team: u32,
    input: u64,
    output: u64,
    cached: u64,
    cost: f64,
    failed: Option<usize>,
}

struct Calls {
    random: SmallRng,
    total: u64,
    done: u64,
    last: Option<(u64, usize)>,
}

impl Iterator for Calls {
    type Item = Call;

    fn next(&mut self) -> Option<Call> {
        if self.done == self.total {
            return None;
        }
        let r = &mut self.random;
        let start_ms = BEGIN * 1000 + i64::try_from(self.done * 86_400_000 / self.total).ok()? * DAYS;
        let model = self.last.map_or_else(|| r.random_range(0..5), |(_, model)| model);
        let id = self.last.map_or_else(|| r.random(), |(id, _)| id);
        let failed = r.random_bool(0.01).then(|| r.random_range(0..4));
        let answered = if r.random_bool(0.005) { (model + 1) % 5 } else { model };
        let input: u64 = r.random_range(80..900);
        let output = if failed.is_some() { 0 } else { r.random_range(10..200) };
        let cached = if r.random_bool(0.3) { input / 2 } else { 0 };
        let (_, input_price, output_price) = MODELS[answered];
        let cost = (input as f64 * input_price + output as f64 * output_price) / 1e6;
        self.last = failed.map(|_| (id, model));
        self.done += 1;
        Some(Call {
            start_ms,
            took_ms: if self.last.is_some() { 0 } else { r.random_range(200..4_000) },
            id,
            model,
            answered,
            stage: r.random_range(0..4),
            route: r.random_range(0..12),
            feature: r.random_range(0..6),
            team: r.random_range(0..20),
            input,
            output,
            cached,
            cost,
            failed,
        })
    }
}

fn time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map(|time| format!("{time:.3}")).unwrap_or_default()
}

fn csv(calls: Calls, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(
        out,
        "time,duration_ms,request_id,model,requested_model,stage,route,feature,team,input_tokens,output_tokens,cached_tokens,cost_usd,status,error_type"
    )?;
    for c in calls {
        writeln!(
            out,
            "{},{},{:016x},{},{},{},/v1/route-{},feature-{},team-{},{},{},{},{},{},{}",
            time(c.start_ms),
            c.took_ms,
            c.id,
            MODELS[c.answered].0,
            MODELS[c.model].0,
            STAGES[0],
            c.route,
            c.feature,
            c.team,
            c.input,
            c.output,
            c.cached,
            c.cost,
            if c.failed.is_some() { "failure" } else { "success" },
            c.failed.map_or("", |cause| CAUSES[cause])
        )?;
    }
    Ok(())
}

fn litellm(calls: Calls, out: &mut impl Write) -> std::io::Result<()> {
    for (number, c) in calls.enumerate() {
        let fell_back = u8::from(c.answered != c.model);
        writeln!(
            out,
            r#"{{"request_id":"chatcmpl-{number:x}","call_type":"acompletion","api_key":"88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b","spend":{},"total_tokens":{},"prompt_tokens":{},"completion_tokens":{},"startTime":"{}","endTime":"{}","completionStartTime":"{}","model":"{}","model_id":"","model_group":"{}","custom_llm_provider":"openai","api_base":"https://api.openai.com/v1/","user":"default_user_id","metadata":{{"user_api_key_alias":"key-{}","user_api_key_team_alias":"team-{}","spend_logs_metadata":{{"feature":"feature-{}"}},"status":"{}","error_information":{{"error_code":"","error_class":"{}"}},"usage_object":{{"prompt_tokens":{},"completion_tokens":{},"prompt_tokens_details":{{"cached_tokens":{}}}}},"attempted_fallbacks":{fell_back}}},"cache_hit":"False","cache_key":"Cache OFF","request_tags":["route:{}"],"team_id":"t{}","end_user":"","session_id":"{:016x}","status":"{}"}}"#,
            c.cost,
            c.input + c.output,
            c.input,
            c.output,
            time(c.start_ms),
            time(c.start_ms + c.took_ms),
            time(c.start_ms + c.took_ms / 3),
            MODELS[c.answered].0,
            MODELS[c.answered].0,
            c.team,
            c.team,
            c.feature,
            if c.failed.is_some() { "failure" } else { "success" },
            c.failed.map_or("", |cause| CAUSES[cause]),
            c.input,
            c.output,
            c.cached,
            c.route,
            c.team,
            c.id,
            if c.failed.is_some() { "failure" } else { "success" },
        )?;
    }
    Ok(())
}

fn spans(calls: Calls, out: &mut impl Write) -> std::io::Result<()> {
    for c in calls {
        let error =
            c.failed.map_or_else(String::new, |cause| format!(r#","error.type":"{}""#, CAUSES[cause]));
        writeln!(
            out,
            r#"{{"name":"chat {m}","trace_id":"{:032x}","span_id":"{:016x}","start_time":"{}","end_time":"{}","status":"{}","attributes":{{"gen_ai.operation.name":"chat","gen_ai.provider.name":"openai","gen_ai.request.model":"{m}","gen_ai.response.model":"{}","gen_ai.usage.input_tokens":{},"gen_ai.usage.output_tokens":{},"gen_ai.usage.cache_read.input_tokens":{},"stage":"{}","http.route":"/v1/route-{}","feature":"feature-{}","team":"team-{}"{error}}}}}"#,
            c.id,
            c.id ^ 1,
            time(c.start_ms),
            time(c.start_ms + c.took_ms),
            if c.failed.is_some() { "ERROR" } else { "OK" },
            MODELS[c.answered].0,
            c.input,
            c.output,
            c.cached,
            STAGES[c.stage],
            c.route,
            c.feature,
            c.team,
            m = MODELS[c.model].0,
        )?;
    }
    Ok(())
}

fn otlp(calls: Calls, out: &mut impl Write) -> std::io::Result<()> {
    let text = |key: &str, value: &str| format!(r#"{{"key":"{key}","value":{{"stringValue":"{value}"}}}}"#);
    let whole = |key: &str, value: u64| format!(r#"{{"key":"{key}","value":{{"intValue":"{value}"}}}}"#);
    let mut calls = calls.peekable();
    while calls.peek().is_some() {
        let spans: Vec<String> = calls
            .by_ref()
            .take(20)
            .map(|c| {
                let mut attributes = vec![
                    text("gen_ai.operation.name", "chat"),
                    text("gen_ai.provider.name", "openai"),
                    text("gen_ai.request.model", MODELS[c.model].0),
                    text("gen_ai.response.model", MODELS[c.answered].0),
                    whole("gen_ai.usage.input_tokens", c.input),
                    whole("gen_ai.usage.output_tokens", c.output),
                    text("stage", STAGES[c.stage]),
                    text("http.route", &format!("/v1/route-{}", c.route)),
                    text("team", &format!("team-{}", c.team)),
                ];
                attributes.extend(c.failed.map(|cause| text("error.type", CAUSES[cause])));
                format!(
                    r#"{{"traceId":"{:032x}","spanId":"{:016x}","name":"chat {}","kind":3,"startTimeUnixNano":"{}000000","endTimeUnixNano":"{}000000","attributes":[{}],"status":{{"code":{}}}}}"#,
                    c.id,
                    c.id ^ 1,
                    MODELS[c.model].0,
                    c.start_ms,
                    c.start_ms + c.took_ms,
                    attributes.join(","),
                    if c.failed.is_some() { 2 } else { 1 }
                )
            })
            .collect();
        writeln!(
            out,
            r#"{{"resourceSpans":[{{"resource":{{"attributes":[{}]}},"scopeSpans":[{{"scope":{{"name":"opentelemetry.instrumentation.openai"}},"spans":[{}]}}]}}]}}"#,
            text("service.name", "support-bot"),
            spans.join(",")
        )?;
    }
    Ok(())
}

fn texts(group: &mut SerializedRowGroupWriter<'_, BufWriter<File>>, values: impl Iterator<Item = String>) {
    let values: Vec<ByteArray> = values.map(|text| ByteArray::from(text.into_bytes())).collect();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<ByteArrayType>().write_batch(&values, None, None).unwrap();
    column.close().unwrap();
}

fn integers(group: &mut SerializedRowGroupWriter<'_, BufWriter<File>>, values: impl Iterator<Item = i64>) {
    let values: Vec<i64> = values.collect();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int64Type>().write_batch(&values, None, None).unwrap();
    column.close().unwrap();
}

fn parquet(calls: Calls, out: BufWriter<File>) {
    let column = |name: &str, kind: Physical, logical: Option<LogicalType>| {
        let column = Type::primitive_type_builder(name, kind).with_repetition(Repetition::REQUIRED);
        Arc::new(column.with_logical_type(logical).build().unwrap())
    };
    let text = |name: &str| column(name, Physical::BYTE_ARRAY, Some(LogicalType::String));
    let whole = |name: &str| column(name, Physical::INT64, None);
    let time = LogicalType::timestamp(true, parquet::basic::TimeUnit::MILLIS);
    let fields = vec![
        column("time", Physical::INT64, Some(time)),
        whole("duration_ms"),
        text("request_id"),
        text("model"),
        text("requested_model"),
        text("stage"),
        text("route"),
        text("feature"),
        text("team"),
        whole("input_tokens"),
        whole("output_tokens"),
        whole("cached_tokens"),
        column("cost_usd", Physical::DOUBLE, None),
        text("status"),
        text("error_type"),
    ];
    let schema = Type::group_type_builder("usage").with_fields(fields).build().unwrap();
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer = SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties)).unwrap();
    let mut calls = calls.peekable();
    while calls.peek().is_some() {
        let rows: Vec<Call> = calls.by_ref().take(500_000).collect();
        let signed = |value: u64| i64::try_from(value).unwrap();
        let mut group = writer.next_row_group().unwrap();
        integers(&mut group, rows.iter().map(|c| c.start_ms));
        integers(&mut group, rows.iter().map(|c| c.took_ms));
        texts(&mut group, rows.iter().map(|c| format!("{:016x}", c.id)));
        texts(&mut group, rows.iter().map(|c| MODELS[c.answered].0.to_owned()));
        texts(&mut group, rows.iter().map(|c| MODELS[c.model].0.to_owned()));
        texts(&mut group, rows.iter().map(|_| STAGES[0].to_owned()));
        texts(&mut group, rows.iter().map(|c| format!("/v1/route-{}", c.route)));
        texts(&mut group, rows.iter().map(|c| format!("feature-{}", c.feature)));
        texts(&mut group, rows.iter().map(|c| format!("team-{}", c.team)));
        integers(&mut group, rows.iter().map(|c| signed(c.input)));
        integers(&mut group, rows.iter().map(|c| signed(c.output)));
        integers(&mut group, rows.iter().map(|c| signed(c.cached)));
        let mut column = group.next_column().unwrap().unwrap();
        let costs: Vec<f64> = rows.iter().map(|c| c.cost).collect();
        column.typed::<DoubleType>().write_batch(&costs, None, None).unwrap();
        column.close().unwrap();
        let status = |c: &Call| if c.failed.is_some() { "failure" } else { "success" };
        texts(&mut group, rows.iter().map(|c| status(c).to_owned()));
        texts(&mut group, rows.iter().map(|c| c.failed.map_or("", |cause| CAUSES[cause]).to_owned()));
        group.close().unwrap();
    }
    writer.close().unwrap();
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [shape, rows, path] = arguments.as_slice() else {
        eprintln!("usage: generate csv|litellm|spans|otlp|parquet ROWS FILE");
        return;
    };
    let total = rows.parse().expect("a number of rows");
    let calls = Calls { random: SmallRng::seed_from_u64(1), total, done: 0, last: None };
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path).expect("a file to write"));
    match shape.as_str() {
        "csv" => csv(calls, &mut out).unwrap(),
        "litellm" => litellm(calls, &mut out).unwrap(),
        "spans" => spans(calls, &mut out).unwrap(),
        "otlp" => otlp(calls, &mut out).unwrap(),
        "parquet" => parquet(calls, out),
        other => eprintln!("no shape `{other}`"),
    }
}
