//! Damaged and adversarial GGUF files give an error that names the file, never a panic or a flood of memory.

use std::fs;
use std::path::Path;

use breakeven_models::inference::fetch::{FetchOptions, Silent, resolve};
use breakeven_models::inference::{Engine, EngineSettings, GgmlDType, LoadedModel};
use proptest::prelude::*;

use crate::small;

fn original() -> (tempfile::TempDir, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let path = small::write(folder.path(), &small::spec("llama"), GgmlDType::Q8_0, 5);
    let bytes = fs::read(path).unwrap();
    (folder, bytes)
}

fn open(folder: &Path, bytes: &[u8]) -> Result<LoadedModel, String> {
    let path = folder.join("damaged.gguf");
    fs::write(&path, bytes).unwrap();
    let opened = LoadedModel::open(&path, "damaged", "test", "");
    opened.map_err(|error| {
        let text = error.to_string();
        assert!(text.contains("damaged.gguf"), "the error does not name the file: {text}");
        text
    })
}

#[test]
fn every_truncation_is_refused() {
    let (folder, bytes) = original();
    let data_start = bytes.len() - 40_000;
    for length in (0..data_start).step_by(97).chain((data_start..bytes.len()).step_by(1009)) {
        assert!(
            open(folder.path(), &bytes[..length]).is_err(),
            "{length} of {} bytes were enough",
            bytes.len()
        );
    }
    open(folder.path(), &bytes).unwrap();
}

#[test]
fn a_flipped_bit_is_an_error_or_a_model_that_runs() {
    let (folder, bytes) = original();
    let header = bytes.len() - 100_000.min(bytes.len() / 2);
    let settings = EngineSettings { max_sequences: 1, max_context: 32, ..EngineSettings::default() };
    let mut opened = 0;
    for at in (0..header).step_by(13) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        if let Ok(model) = open(folder.path(), &damaged) {
            opened += 1;
            if opened % 40 == 0 {
                // A changed but lawful number may still not suit the engine; it may not crash it.
                drop(Engine::start(model, &settings));
            }
        }
    }
    assert!(opened > 0, "no flip ever left a lawful file: the test flips the wrong bytes");
}

/// A header with one metadata entry or tensor of the caller's making.
fn crafted(tensors: u64, entries: u64, rest: &[u8]) -> Vec<u8> {
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend(tensors.to_le_bytes());
    bytes.extend(entries.to_le_bytes());
    bytes.extend(rest);
    bytes
}

fn text(content: &str) -> Vec<u8> {
    [(content.len() as u64).to_le_bytes().as_slice(), content.as_bytes()].concat()
}

#[test]
fn absurd_headers_are_refused_with_what_was_expected() {
    let folder = tempfile::tempdir().unwrap();
    let huge = u64::MAX.to_le_bytes();
    let array = |key: &str, kind: u32, count: u64| {
        [text(key), 9u32.to_le_bytes().to_vec(), kind.to_le_bytes().to_vec(), count.to_le_bytes().to_vec()]
            .concat()
    };
    let tensor = |dims: &[u64], kind: u32, offset: u64| {
        let count = u32::try_from(dims.len()).unwrap();
        let dims = dims.iter().flat_map(|dim| dim.to_le_bytes()).collect();
        [
            text("t"),
            count.to_le_bytes().to_vec(),
            dims,
            kind.to_le_bytes().to_vec(),
            offset.to_le_bytes().to_vec(),
        ]
        .concat()
    };
    let alignment =
        [text("general.alignment"), 4u32.to_le_bytes().to_vec(), 0u32.to_le_bytes().to_vec()].concat();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", Vec::new(), "the file ends inside the magic"),
        ("not a GGUF", b"<html>not found</html>".to_vec(), "expected a GGUF file"),
        ("version 99", b"GGUF\x63\0\0\0".to_vec(), "expected 1, 2 or 3"),
        ("2^64 tensors", crafted(u64::MAX, 0, &[]), "more than the file can hold"),
        ("2^64 entries", crafted(0, u64::MAX, &[]), "more than the file can hold"),
        ("2^64 key", crafted(0, 1, &[huge.as_slice(), &[0; 16]].concat()), "long"),
        (
            "2^64 array",
            crafted(0, 1, &array("tokenizer.ggml.tokens", 8, u64::MAX)),
            "items, expected at most",
        ),
        ("2^24 array", crafted(0, 1, &array("tokenizer.ggml.tokens", 8, 1 << 24)), "needs at least"),
        ("nested arrays", crafted(0, 1, &array("a", 9, 1)), "list of lists"),
        (
            "value type 77",
            crafted(0, 1, &[text("a"), 77u32.to_le_bytes().to_vec(), vec![0; 8]].concat()),
            "0 to 12",
        ),
        ("alignment 0", crafted(0, 1, &alignment), "expected a power of two"),
        ("dims overflow", crafted(1, 0, &tensor(&[1 << 40, 1 << 40], 0, 0)), "impossible dimension"),
        ("no dims", crafted(1, 0, &tensor(&[], 0, 0)), "0 dimensions"),
        ("dim 0", crafted(1, 0, &tensor(&[0], 0, 0)), "impossible dimension"),
        ("unknown type", crafted(1, 0, &tensor(&[32], 200, 0)), "type 200"),
        ("ragged rows", crafted(1, 0, &tensor(&[33], 8, 0)), "multiple of 32"),
        ("beyond the end", crafted(1, 0, &tensor(&[1 << 40], 0, 0)), "the file has"),
        ("offset 2^64", crafted(1, 0, &tensor(&[1], 0, u64::MAX)), "the file has"),
        ("no architecture", crafted(0, 0, &[]), "general.architecture"),
    ];
    for (name, bytes, expected) in cases {
        let error = open(folder.path(), &bytes).unwrap_err();
        assert!(error.contains(expected), "{name}: {error}");
    }
}

#[test]
fn overlapping_tensors_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let tensor = |name: &str| {
        let kind_and_offset = [0u32.to_le_bytes().as_slice(), &0u64.to_le_bytes()].concat();
        [text(name), 1u32.to_le_bytes().to_vec(), 4u64.to_le_bytes().to_vec(), kind_and_offset].concat()
    };
    let mut bytes = crafted(2, 0, &[tensor("a"), tensor("b")].concat());
    bytes.resize(256, 0);
    assert!(open(folder.path(), &bytes).unwrap_err().contains("overlap"));
}

#[test]
fn merges_that_do_not_fit_the_vocabulary_are_refused() {
    let (folder, bytes) = original();
    // A merge longer than every entry of the vocabulary.
    let at = bytes.windows(21).position(|window| window == b"tokenizer.ggml.merges").unwrap();
    let mut damaged = bytes[..at].to_vec();
    damaged.extend(b"tokenizer.ggml.merges");
    damaged.extend([9u32.to_le_bytes(), 8u32.to_le_bytes()].concat());
    damaged.extend(1u64.to_le_bytes());
    damaged.extend(text("a bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"));
    damaged.extend(&bytes[at + 21 + 4 + 4 + 8 + 8 + 3..]);
    // The header grew, so the tensors move on by up to one alignment.
    damaged.extend([0; 64]);
    assert!(open(folder.path(), &damaged).unwrap_err().contains("make a known token"));
}

#[test]
fn a_file_that_is_no_model_is_named_by_resolve() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.gguf");
    fs::write(&path, "these are notes").unwrap();
    let error = resolve(path.to_str().unwrap(), &FetchOptions::default(), &mut Silent).unwrap_err();
    assert!(error.to_string().contains("notes.gguf"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn noise_after_a_lawful_start_never_panics(rest in prop::collection::vec(any::<u8>(), 0..400), tensors in 0u64..4, entries in 0u64..4) {
        let folder = tempfile::tempdir().unwrap();
        drop(open(folder.path(), &crafted(tensors, entries, &rest)));
    }

    #[test]
    fn overwritten_header_bytes_never_panic(at in 8usize..9000, new in prop::collection::vec(any::<u8>(), 1..12)) {
        thread_local!(static ORIGINAL: (tempfile::TempDir, Vec<u8>) = original());
        ORIGINAL.with(|(folder, bytes)| {
            let mut damaged = bytes.clone();
            damaged[at..at + new.len()].copy_from_slice(&new);
            drop(open(folder.path(), &damaged));
        });
    }
}
