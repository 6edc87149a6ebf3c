//! Fuzzing of everything that reads a model's files: real ones, damaged. A reader may refuse; it may not panic, hang or
//! take memory that the file does not account for.
//!
//! A few hundred inputs a reader as part of the test suite; `BREAKEVEN_FUZZ_SECONDS=60` makes it a minute a reader.

#![cfg(feature = "inference")]
#![expect(clippy::print_stdout, reason = "what was fuzzed, and how much, is for the reader of the log")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test says what went wrong by panicking")]

#[path = "inference/hub_models.rs"]
mod hub_models;
#[path = "inference/small.rs"]
mod small;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use breakeven_models::inference::{GgmlDType, LoadedModel, Message};
use candle_core::DType;
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Inputs a reader where no time is asked for.
const INPUTS: u64 = 300;

/// Most memory that the whole process may ever have held. Its files are below 300 kB, its five readers run side by side; what is
/// left is the test program itself. A length or dimension taken at its word would be gigabytes.
const MOST_RESIDENT: u64 = 400 << 20;
/// Most address space: memory that was asked for and never touched is not resident.
#[cfg(unix)]
const MOST_ADDRESSES: u64 = 8 << 30;

/// Peak of the resident memory; `None` where the system does not say.
fn most_resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes << 10)
}

/// From here on an allocation that takes the process beyond [`MOST_ADDRESSES`] ends it.
fn bound_addresses() {
    #[cfg(unix)]
    {
        use nix::sys::resource::{Resource, setrlimit};
        setrlimit(Resource::RLIMIT_AS, MOST_ADDRESSES, MOST_ADDRESSES).unwrap();
    }
}

/// Pieces that readers of sizes, JSON and templates stumble over.
const FRAGMENTS: [&[u8]; 24] = [
    &[0xff; 8],
    &[0, 0, 0, 0, 0, 0, 0, 0x80],
    &[0; 8],
    &[0xff, 0xff, 0xff, 0x7f],
    b"-1",
    b"1e999",
    b"18446744073709551615",
    b"9223372036854775808",
    b"null",
    b"[[[[[[[[[[[[[[[[",
    b"{\"a\":{\"a\":{\"a\":",
    b"\"\"",
    b"\\ud800",
    b"\xff\xfe",
    b"\"F64\"",
    b"\"ByteLevel\"",
    b"\"Unigram\"",
    b"\"WordPiece\"",
    b"{% for a in range(99999999) %}",
    b"{% endfor %}",
    b"{{ messages * 999999 }}",
    b"{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
    b"{% include 'chat' %}",
    b"{{ 'a'.ljust(10**12) }}",
];

/// Damages copies of `seed` within its first `most` bytes for as long as asked; `read` says whether an input was taken.
fn fuzz(name: &str, seed: &[u8], most: usize, mut read: impl FnMut(&[u8]) -> bool) {
    let seconds = std::env::var("BREAKEVEN_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    bound_addresses();
    let begun = Instant::now();
    let mut rng = ChaCha8Rng::seed_from_u64(seconds.unwrap_or(1));
    let (mut inputs, mut taken) = (0u64, 0u64);
    let mut slowest = Duration::ZERO;
    let most = most.min(seed.len());
    while seconds.map_or(inputs < INPUTS, |seconds| begun.elapsed() < Duration::from_secs(seconds)) {
        let mut bytes = seed.to_vec();
        for _ in 0..rng.random_range(1..=3) {
            let end = most.min(bytes.len());
            if end == 0 {
                break;
            }
            let at = rng.random_range(0..end);
            match rng.random_range(0..6) {
                0 => bytes[at] ^= 1 << rng.random_range(0..8),
                1 => bytes[at] = rng.next_u32().to_le_bytes()[0],
                2 => bytes.truncate(at),
                3 => drop(
                    bytes.splice(at..at, FRAGMENTS[rng.random_range(0..FRAGMENTS.len())].iter().copied()),
                ),
                4 => {
                    let fragment = FRAGMENTS[rng.random_range(0..FRAGMENTS.len())];
                    let end = (at + fragment.len()).min(bytes.len());
                    drop(bytes.splice(at..end, fragment.iter().copied()));
                }
                _ => {
                    let end = (at + rng.random_range(1..64)).min(bytes.len());
                    let copy = bytes[at..end].to_vec();
                    drop(bytes.splice(at..at, copy));
                }
            }
        }
        let input = Instant::now();
        taken += u64::from(read(&bytes));
        slowest = slowest.max(input.elapsed());
        inputs += 1;
    }
    let resident = most_resident();
    println!(
        "{name}: {inputs} inputs, {taken} taken, slowest {:.0} ms, peak of the process {} MB",
        slowest.as_secs_f64() * 1e3,
        resident.map_or_else(|| "?".to_owned(), |bytes| (bytes >> 20).to_string()),
    );
    assert!(resident.is_none_or(|bytes| bytes < MOST_RESIDENT), "{name}: {resident:?} bytes were held");
    // Not a measure of speed: an input that takes this long was on its way to hanging.
    assert!(slowest < Duration::from_secs(20), "{name}: an input took {slowest:?}");
}

#[test]
fn fuzz_gguf() {
    let folder = tempfile::tempdir().unwrap();
    let seed = fs::read(small::write(folder.path(), &small::spec("llama"), GgmlDType::Q8_0, 5)).unwrap();
    let path = folder.path().join("damaged.gguf");
    fuzz("GGUF", &seed, 12_000, |bytes| {
        fs::write(&path, bytes).unwrap();
        LoadedModel::open(&path, "damaged", "test", "").is_ok()
    });
}

/// One file of a folder is damaged, the others are good.
fn fuzz_file(name: &str, most: usize, after: impl Fn(&LoadedModel)) {
    let folder = tempfile::tempdir().unwrap();
    drop(hub_models::write(folder.path(), "llama", DType::F32, 1));
    let path = folder.path().join(name);
    let seed = fs::read(&path).unwrap();
    fuzz(name, &seed, most, |bytes| {
        fs::write(&path, bytes).unwrap();
        let opened = LoadedModel::open_folder(Path::new(folder.path()), "damaged", "test", "");
        opened.map(|model| after(&model)).is_ok()
    });
}

#[test]
fn fuzz_safetensors_header() {
    fuzz_file("model.safetensors", 2_000, |_| {});
}

#[test]
fn fuzz_tokenizer_json() {
    fuzz_file("tokenizer.json", usize::MAX, |model| {
        drop(model.encode("héllo <|im_end|> \u{0}\u{2581} 123"));
    });
}

#[test]
fn fuzz_config_json() {
    fuzz_file("config.json", usize::MAX, |_| {});
}

#[test]
fn fuzz_chat_template() {
    let messages = [Message::system("be brief"), Message::user("hi")];
    fuzz_file("chat_template.jinja", usize::MAX, |model| drop(model.render_chat(&messages)));
}
