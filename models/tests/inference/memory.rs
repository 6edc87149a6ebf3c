//! What the engine's process takes beside weights and KV cache. It is a process of its own, this very program, so that no
//! other test counts.

#![cfg(target_os = "linux")]

use std::env;
use std::fs;
use std::process::Command;

use breakeven_models::inference::{EngineSettings, GenerateRequest, Prompt};

use crate::common::{answer, real_engine, real_weights};

const SWITCH: &str = "BREAKEVEN_TEST_MEMORY";
const MARK: &str = "the child's peak and what it needs ";
const TOKENS: usize = 256;

/// The other process: runs the real model until its slot is full. As a test of its own it does nothing.
#[test]
fn child() {
    if env::var_os(SWITCH).is_none() {
        return;
    }
    let settings = EngineSettings { max_sequences: 1, max_context: TOKENS, ..EngineSettings::default() };
    let engine = real_engine(&settings);
    let prompt = Prompt::Tokens((1000..1032).collect());
    let request = GenerateRequest { ignore_eos: true, ..GenerateRequest::new(prompt, TOKENS - 32) };
    assert_eq!(answer(&engine, request).tokens.len(), TOKENS - 32);
    let needed = engine.record().weight_bytes + engine.record().kv_bytes_per_token * TOKENS as u64;
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches("kB").trim().parse().unwrap();
    println!("{MARK}{} {needed}", peak * 1024);
}

/// Weights are never there twice, nor in f32: what comes on top of them and the KV cache is the program, the tokenizer and
/// some buffers, whatever their size. (That is more than a tenth of a model as small as this; see docs/PERFORMANCE.md.)
#[test]
fn a_process_takes_weights_and_cache_and_little_more() {
    // So that a download is not the child's.
    real_weights();
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "memory::child", "--nocapture", "--test-threads", "1"]).env(SWITCH, "1");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let figures = said.lines().find_map(|line| Some(line.split_once(MARK)?.1));
    let figures = figures.unwrap_or_else(|| panic!("{said}{}", String::from_utf8_lossy(&output.stderr)));
    let (peak, needed) = figures.split_once(' ').unwrap();
    let (peak, needed): (u64, u64) = (peak.parse().unwrap(), needed.parse().unwrap());
    let beside = peak.saturating_sub(needed);
    println!("{} MiB peak, {} MiB needed, {} MiB beside", peak >> 20, needed >> 20, beside >> 20);
    assert!(beside < 40 << 20, "{beside} bytes beside {needed} of weights and cache");
}
