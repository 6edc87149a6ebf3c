//! `breakeven prices`, `fit` and `hardware` as their users run them: real sheets, bad sheets, and what is written where.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use std::{fs, path::Path};

use support::{breakeven, shown};

const HEAD: &str = "provider,device,device_count,term,currency,price_per_hour,date,source_url\n";
const ROW: &str = "own,H100,8,on-demand,USD,20,2026-11-01,https://example.com/\n";

fn write(folder: &Path, name: &str, contents: &[u8]) -> String {
    let path = folder.join(name);
    fs::write(&path, contents).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_list_shows_every_row_with_source_and_date_and_marks_the_stale() {
    let list = ["prices", "list", "--find", "p5.48xlarge", "--as-of", "2026-11-23"];
    insta::assert_snapshot!(shown(&breakeven(&list)));
    let none = breakeven(&["prices", "list", "--find", "no such machine"]);
    assert_eq!(none.status.code(), Some(2));
    let json = breakeven(&["prices", "list", "--find", "gpt-5-nano", "--format", "json"]);
    let book: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert!(book["api"].as_array().is_some_and(|rows| !rows.is_empty()));
}

#[test]
fn the_users_sheet_overrides_and_extends_the_built_in() {
    let folder = tempfile::tempdir().unwrap();
    let sheet = write(folder.path(), "own.csv", format!("{HEAD}{ROW}").as_bytes());
    let text = shown(&breakeven(&["prices", "list", "--find", "example.com", "--prices", &sheet]));
    assert!(text.contains("8 x H100") && text.contains("20"), "{text}");
}

#[test]
fn check_says_what_is_doubtful_and_fails_then() {
    let folder = tempfile::tempdir().unwrap();
    let sheet = write(folder.path(), "own.csv", format!("{HEAD}{ROW}").as_bytes());
    let check = |day: &str| breakeven(&["prices", "check", &sheet, "--as-of", day]);
    let fresh = check("2026-11-23");
    assert_eq!(fresh.status.code(), Some(0), "{}", shown(&fresh));
    let stale = check("2027-11-23");
    assert_eq!(stale.status.code(), Some(1));
    assert!(shown(&stale).contains("own.csv:2: ") && shown(&stale).contains("was read 387 days ago"));
    assert_eq!(breakeven(&["prices", "check", "--as-of", "2026-11-23"]).status.code(), Some(1));
}

#[test]
fn importing_twice_changes_nothing_and_another_kind_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("api.csv");
    let into = into.to_str().unwrap();
    let litellm = "hardware/tests/fixtures/litellm_prices.json";
    let import =
        || breakeven(&["prices", "import", "litellm", litellm, "--as-of", "2026-11-23", "--into", into]);
    assert_eq!(import().status.code(), Some(0));
    let first = fs::read(into).unwrap();
    let second = import();
    assert!(shown(&second).contains("\n0 figures changed in "), "{}", shown(&second));
    assert_eq!(fs::read(into).unwrap(), first);
    assert_eq!(breakeven(&["prices", "diff", into, into]).status.code(), Some(0));
    let differing = breakeven(&["prices", "diff", "built-in", into]);
    assert_eq!(differing.status.code(), Some(1));
    assert!(shown(&differing).contains(" figures differ"));
    let gpus = write(
        folder.path(),
        "vms.csv",
        b"InstanceType,vCPUs,MemoryGiB,AcceleratorName,AcceleratorCount,GpuInfo,Price,SpotPrice,Region\n\
        p5.48xlarge,192,2048,H100,8,,55.04,14.2,us-east-1\n",
    );
    let other =
        ["prices", "import", "skypilot", &gpus, "--provider", "aws", "--as-of", "2026-11-23", "--into", into];
    let refused = breakeven(&other);
    assert_eq!(refused.status.code(), Some(2));
    assert!(shown(&refused).contains("holds API prices"), "{}", shown(&refused));
    assert_eq!(fs::read(into).unwrap(), first, "nothing half-imported");
}

/// One clear error each, with file and line, and exit code 2.
#[test]
fn bad_sheets_are_refused_with_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let row = |price: &str, currency: &str| {
        format!("{HEAD}own,H100,8,on-demand,{currency},{price},2026-11-01,https://e.x/\n")
    };
    let cases: [(&str, Vec<u8>); 11] = [
        ("negative.csv", row("-1", "USD").into_bytes()),
        ("nan.csv", row("NaN", "USD").into_bytes()),
        ("infinite.csv", row("inf", "USD").into_bytes()),
        ("no_price.csv", row("", "USD").into_bytes()),
        ("no_unit.csv", row("20", "").into_bytes()),
        ("currency.csv", row("20", "XXX").into_bytes()),
        ("duplicate.csv", format!("{HEAD}{ROW}{ROW}").into_bytes()),
        ("columns.csv", format!("{HEAD}own,H100,8,on-demand\n").into_bytes()),
        ("quote.csv", format!("{HEAD}\"own,H100,8,on-demand,USD,20,2026-11-01,https://e.x/\n").into_bytes()),
        (
            "not_utf8.csv",
            [HEAD.as_bytes(), b"own\xff,H100,8,on-demand,USD,20,2026-11-01,https://e.x/\n"].concat(),
        ),
        ("empty.csv", Vec::new()),
    ];
    let mut said = String::new();
    for (name, contents) in cases {
        let output = breakeven(&["prices", "check", &write(folder.path(), name, &contents)]);
        assert_eq!(output.status.code(), Some(2), "{name}: {}", shown(&output));
        let text = String::from_utf8_lossy(&output.stderr).replace(folder.path().to_str().unwrap(), "FOLDER");
        assert!(text.contains(name), "{text}");
        said.push_str(&text);
    }
    insta::assert_snapshot!(said);
}

#[test]
fn fifty_megabytes_of_json_are_one_error_and_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut json = b"{\"m\": [".to_vec();
    json.resize(50 << 20, b'[');
    let file = write(folder.path(), "huge.json", &json);
    let into = folder.path().join("api.csv");
    let into_text = into.to_str().unwrap();
    let output =
        breakeven(&["prices", "import", "litellm", &file, "--as-of", "2026-11-23", "--into", into_text]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("huge.json:1: file has 52428800 bytes, expected at most 33554432"), "{said}");
    // Nested beyond reason, but small enough to be read.
    let deep = write(folder.path(), "deep.json", &json[..1 << 20]);
    let output =
        breakeven(&["prices", "import", "litellm", &deep, "--as-of", "2026-11-23", "--into", into_text]);
    assert_eq!(output.status.code(), Some(2), "{}", shown(&output));
    assert!(shown(&output).contains("deep.json:1: "), "{}", shown(&output));
    assert!(!into.exists());
}

#[test]
fn fit_says_which_devices_hold_a_model() {
    let fit = ["fit", "llama-3.1-70b", "--quantization", "fp8", "--compute", "fp8", "--device", "h200"];
    insta::with_settings!({filters => vec![(r"\d{4}-\d\d-\d\d stale|\d{4}-\d\d-\d\d", "[day]")]}, {
        insta::assert_snapshot!(shown(&breakeven(&fit)));
    });
    let folder = tempfile::tempdir().unwrap();
    let config = write(
        folder.path(),
        "config.json",
        br#"{"model_type":"mixtral","hidden_size":4096,"num_local_experts":8}"#,
    );
    let output = breakeven(&["fit", &config]);
    assert_eq!(output.status.code(), Some(2));
    assert!(shown(&output).contains("`num_local_experts` is 8: a mixture of experts is not modelled"));
    // 70 billion parameters in 16 bits on one L4: no.
    let no = breakeven(&["fit", "llama-3.1-70b", "--device", "L4", "--devices", "1"]);
    assert_eq!(no.status.code(), Some(1), "{}", shown(&no));
    let unknown = breakeven(&["fit", "gpt-5"]);
    assert!(
        shown(&unknown).contains("unknown model `gpt-5`: expected a GGUF file, a config.json, or one of")
    );
}

#[test]
fn hardware_describes_this_machine_in_text_and_json() {
    let text = shown(&breakeven(&["hardware"]));
    for line in [
        "processor",
        "cores",
        "SIMD",
        "caches",
        "NUMA",
        "governor",
        "hypervisor",
        "memory",
        "container",
        "GPU",
    ] {
        assert!(
            text.lines().any(|found| found.starts_with(line) || found.contains(&format!("\n{line}"))),
            "{line}: {text}"
        );
    }
    let arguments = ["hardware", "--json", "--roofline", "--metadata"];
    let json: serde_json::Value = serde_json::from_slice(&breakeven(&arguments).stdout).unwrap();
    assert!(json["machine"]["cpu"]["logical_cores"].as_u64() >= Some(1));
    assert!(json["roofline"]["memory_read_bytes_per_second"]["best"].as_f64() > Some(0.0));
}

#[test]
fn a_measurement_is_held_against_the_floor() {
    let text = shown(&breakeven(&["hardware", "--against", "tests/fixtures/measurement-1.json"]));
    assert!(text.contains("published") && text.contains("not in the catalogue"), "{text}");
    assert!(text.contains("decode: TPOT") && text.contains("prefill: service TTFT"), "{text}");
}
