//! The histogram log of a stored measurement, held to what the HdrHistogram project's own tools read from it.
//!
//! `fixtures/measurement-1.hlog` was written by `breakeven export tests/fixtures/measurement-1.json --hlog`;
//! `fixtures/measurement-1.hlog.json` is what the project's Python package (hdrhistogram 0.10.8, `HistogramLogReader`) found
//! in it, and the constants below what its Java tool (`HistogramLogProcessor` 2.1.11) printed, in milliseconds.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

use std::{collections::BTreeMap, path::Path};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use breakeven_measurement::{LatencySeries, LevelName, Measurement, Quantile, file, hlog};
use hdrhistogram::{Histogram, serialization::Deserializer};

const LOG: &str = include_str!("fixtures/measurement-1.hlog");
const PYTHON: &str = include_str!("fixtures/measurement-1.hlog.json");

#[derive(serde::Deserialize)]
struct Read {
    count: u64,
    p50: u64,
    max: u64,
    mean: f64,
}

fn stored() -> Measurement {
    file::read(Path::new("../tests/fixtures/measurement-1.json")).unwrap()
}

fn series<'a>(measurement: &'a Measurement, tag: &str) -> &'a LatencySeries {
    let (level, name) = tag.split_once('.').unwrap();
    let level = LevelName::ALL.into_iter().find(|l| l.to_string() == level).unwrap();
    let of_level = hlog::series_of(&measurement.level(level).unwrap().overall);
    of_level.into_iter().find(|(n, _)| *n == name).unwrap().1
}

fn nanoseconds(series: &LatencySeries, rank: u64) -> u128 {
    match series.at_rank(rank).unwrap() {
        Quantile::Finite(value) => value.as_nanos(),
        Quantile::Infinite => panic!("a finite rank"),
    }
}

/// The lines of a log with their histograms decoded: how well they are compressed is the library's business.
fn decoded(log: &str) -> Vec<(String, Option<Histogram<u64>>)> {
    log.lines()
        .map(|line| match line.rsplit_once(',') {
            Some((head, payload)) if payload.starts_with("HIST") => {
                let bytes = BASE64_STANDARD.decode(payload).unwrap();
                (head.to_owned(), Some(Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap()))
            }
            _ => (line.to_owned(), None),
        })
        .collect()
}

#[test]
fn the_log_is_the_one_that_the_tools_read() {
    let mut out = Vec::new();
    hlog::write_measurement(&stored(), &mut out).unwrap();
    let (now, then) = (decoded(&String::from_utf8(out).unwrap()), decoded(LOG));
    assert!(now == then, "export the fixture again, and have the tools read it again");
    assert!(then.iter().filter(|(_, histogram)| histogram.is_some()).count() > 50);
}

#[test]
fn pythons_reader_finds_our_values() {
    let measurement = stored();
    let read: BTreeMap<String, Read> = serde_json::from_str(PYTHON).unwrap();
    assert_eq!(read.len(), 18, "six series of three levels");
    for (tag, read) in read {
        let series = series(&measurement, &tag);
        let finite = series.len() - series.infinite();
        assert_eq!(read.count, finite, "{tag}");
        assert_eq!(u128::from(read.max), nanoseconds(series, finite), "{tag}");
        // The package rounds ranks to the nearest, we round up: an even count has its median between two.
        let median = [finite.div_ceil(2), finite / 2 + 1].map(|rank| nanoseconds(series, rank));
        assert!(median.contains(&u128::from(read.p50)), "{tag}: {} is none of {median:?}", read.p50);
        let mean = series.finite_mean().unwrap().as_secs_f64() * 1e9;
        assert!((read.mean - mean).abs() <= 1.0, "{tag}: {} {mean}", read.mean);
    }
}

#[test]
fn javas_log_processor_prints_our_values() {
    let measurement = stored();
    for (tag, count, p50, p90, max) in [
        ("baseline.ttft", 11, 139.330, 626.524, 951.583),
        ("expected.e2e", 34, 562.561, 1_751.122, 2_279.604),
        ("stress.chunk_gap", 1_007, 4.764, 6.013, 58.556),
    ] {
        let series = series(&measurement, tag);
        let finite = series.len() - series.infinite();
        assert_eq!(finite, count, "{tag}");
        let at = |share: f64| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a rank of at most 1,007"
            )]
            let rank = (share * finite as f64).ceil() as u64;
            nanoseconds(series, rank) as f64 / 1e6
        };
        for (share, java) in [(0.5, p50), (0.9, p90), (1.0, max)] {
            // Printed to three decimals.
            assert!((at(share) - java).abs() <= 0.000_5 + 1e-9, "{tag} at {share}: {} {java}", at(share));
        }
    }
}
