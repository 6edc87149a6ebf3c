//! The journal survives what ends a run, and a resumed run repeats nothing that was finished.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the report")]

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use breakeven_bench::{
    RunEvent, RunPlan,
    drive::Pacing,
    journal::{Entries, Entry, FORMAT, Header, Journal, Kept, ReadError, ResumeError, Sink},
    requests::RequestSource,
    run::{Durations, RunError, RunOutcome, run},
    target::{Target, mock::Mock},
};
use breakeven_measurement::{
    Fraction, Lengths, LevelName, LevelResult, RequestRate, Segment, Slo, Workload, level::ArrivalProcess,
    run::Status,
};
use proptest::prelude::*;
use tokio::sync::watch;

const MS: Duration = Duration::from_millis(1);

fn workload() -> Workload {
    Workload {
        segments: vec![Segment {
            name: "happy path".to_owned(),
            weight: 1.0,
            input_tokens: Lengths::new(10, 20, None).unwrap(),
            output_tokens: Lengths::constant(6).unwrap(),
            shared_prefix: Fraction::ZERO,
            prefix_pool: 1,
            text: breakeven_measurement::PromptText::default(),
            session: None,
        }],
    }
}

fn plan(rates: Option<[f64; 3]>) -> RunPlan {
    RunPlan {
        workload: workload(),
        slo: Slo { ttft: Some(MS * 1_000), tpot: None, e2e: None, attainment: Fraction::new(0.9).unwrap() },
        rates: rates.map(|rates| rates.map(|r| RequestRate::new(r).unwrap())),
        durations: Durations { search: MS * 100_000, levels: [MS * 100_000; 3] },
        arrivals: ArrivalProcess::Poisson,
        trace: None,
        seed: 11,
        timeout: MS * 60_000,
        pacing: Pacing::Timer,
        most_in_flight: None,
        shard: None,
        repeats: breakeven_bench::Repeating::ONCE,
        calibration: false,
    }
}

fn header(plan: &RunPlan) -> Header {
    Header {
        format: FORMAT.to_owned(),
        run_id: "run-1".to_owned(),
        started: "2026-11-23T12:00:00Z".parse().unwrap(),
        settings: serde_json::json!({ "plan": plan, "model": "mock" }),
    }
}

async fn run_until(
    plan: &RunPlan,
    journal: &mut Journal,
    stop: impl Fn(&RunEvent) -> bool + Sync,
) -> Result<RunOutcome, RunError> {
    let target: Arc<dyn Target> = Arc::new(Mock::new(MS * 300, MS * 20, 8));
    let (cancel, cancelled) = watch::channel(false);
    let source = RequestSource::lengths_only(&plan.workload, 5);
    run(&target, plan, source, Some(journal), cancelled, &mut |event| {
        if stop(&event) {
            cancel.send_replace(true);
        }
    })
    .await
}

fn entries(path: &Path) -> Vec<Entry> {
    Entries::open(path).unwrap().1.collect::<Result<_, _>>().unwrap()
}

/// Attempts by phase.
fn attempts(path: &Path) -> BTreeMap<String, Vec<u64>> {
    let mut by_phase: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for entry in entries(path) {
        if let Entry::Attempt(line) = entry {
            by_phase.entry(line.phase).or_default().push(line.record.id);
        }
    }
    by_phase
}

#[tokio::test(start_paused = true)]
async fn a_resumed_run_keeps_finished_levels_and_repeats_no_request() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("attempts.jsonl");
    let plan = plan(None);
    let mut journal = Journal::create(&path, &header(&plan)).unwrap();
    let in_expected = |event: &RunEvent| matches!(event, RunEvent::LevelStarted { name, .. } if *name == LevelName::Expected);
    let first = run_until(&plan, &mut journal, in_expected).await.unwrap();
    drop(journal);
    assert_eq!(first.levels.len(), 2, "baseline, and expected cut off");
    let before = attempts(&path);

    let (mut journal, earlier) = Journal::resume(&path, &header(&plan)).unwrap();
    assert_eq!(earlier.run_id, "run-1");
    let kept = journal.kept().clone();
    let counts = |levels: &[LevelResult]| levels.iter().map(|l| l.overall.clone()).collect::<Vec<_>>();
    let of_kept: Vec<LevelResult> = kept.levels.iter().map(|level| level.result.clone()).collect();
    assert_eq!(counts(&of_kept), counts(&first.levels[..1]));
    let second = run_until(&plan, &mut journal, |_| false).await.unwrap();
    drop(journal);
    assert_eq!(second.status, Status::Complete);
    assert_eq!(second.levels.len(), 3);
    assert_eq!(second.levels[0].overall, first.levels[0].overall, "taken from the journal");
    let probes = |outcome: &RunOutcome| {
        let probes = outcome.search.clone().unwrap().probes;
        probes.iter().map(|probe| (probe.window, probe.scheduled, probe.within_slo)).collect::<Vec<_>>()
    };
    assert_eq!(probes(&second), probes(&first), "and so is the search");

    let after = attempts(&path);
    assert_eq!(after["baseline"], before["baseline"], "the finished level was not run again");
    assert!(after["expected"].len() > before.get("expected").map_or(0, Vec::len) + 10);
    let mut ids: Vec<u64> = after.into_values().flatten().collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "no prompt was sent twice");

    // Nothing is left to run: a third time only reads.
    let (mut journal, _) = Journal::resume(&path, &header(&plan)).unwrap();
    let third = run_until(&plan, &mut journal, |_| false).await.unwrap();
    assert_eq!(counts(&third.levels), counts(&second.levels));
}

#[tokio::test(start_paused = true)]
async fn a_resumed_run_goes_on_with_its_repeats() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("attempts.jsonl");
    let mut plan = plan(Some([1.0, 2.0, 3.0]));
    plan.repeats.least = 3.try_into().unwrap();
    let mut journal = Journal::create(&path, &header(&plan)).unwrap();
    let in_second = |event: &RunEvent| matches!(event, RunEvent::LevelStarted { name, run: 1, .. } if *name == LevelName::Expected);
    let first = run_until(&plan, &mut journal, in_second).await.unwrap();
    drop(journal);
    assert!(matches!(first.status, Status::Incomplete { .. }));
    assert_eq!(first.levels.len(), 3);
    let runs = |outcome: &RunOutcome| {
        let of = |level: &LevelResult| level.headlines.first().map_or(0, |headline| headline.runs.len());
        outcome.levels.iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(runs(&first), [2, 0, 0], "the cut-off run is no run, and one run is not several");

    let (mut journal, _) = Journal::resume(&path, &header(&plan)).unwrap();
    let second = run_until(&plan, &mut journal, |_| false).await.unwrap();
    drop(journal);
    assert_eq!((second.status.clone(), runs(&second)), (Status::Complete, vec![3, 3, 3]));
    let (mut journal, _) = Journal::resume(&path, &header(&plan)).unwrap();
    let third = run_until(&plan, &mut journal, |_| false).await.unwrap();
    // Requests, and with them the intervals, come back from the journal.
    assert_eq!(
        third.levels.iter().map(|l| (&l.overall, &l.headlines)).collect::<Vec<_>>(),
        second.levels.iter().map(|l| (&l.overall, &l.headlines)).collect::<Vec<_>>()
    );
}

#[tokio::test(start_paused = true)]
async fn other_settings_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("attempts.jsonl");
    let asked = plan(Some([1.0, 2.0, 3.0]));
    drop(Journal::create(&path, &header(&asked)).unwrap());
    let mut other = asked.clone();
    other.seed = 12;
    other.slo.ttft = Some(MS * 900);
    let refused = Journal::resume(&path, &header(&other)).unwrap_err().to_string();
    assert!(refused.contains("plan.seed was 11, now 12"), "{refused}");
    assert!(refused.contains("plan.slo.ttft_seconds was 1.0, now 0.9"), "{refused}");
    assert!(Journal::resume(&path, &header(&asked)).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_line_cut_off_anywhere_costs_only_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("attempts.jsonl");
    let plan = plan(Some([1.0, 2.0, 3.0]));
    let mut journal = Journal::create(&path, &header(&plan)).unwrap();
    let at_20 =
        |event: &RunEvent| matches!(event, RunEvent::Progress { progress, .. } if progress.completed == 20);
    run_until(&plan, &mut journal, at_20).await.unwrap();
    drop(journal);
    let whole = fs::read(&path).unwrap();
    let lines = lines_of(&whole);
    let last = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    for cut in last..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let (_, mut read) = Entries::open(&path).unwrap();
        assert_eq!(read.by_ref().map(Result::unwrap).count(), lines - 2, "cut at {cut}");
        assert_eq!(read.cut_bytes(), (cut - last) as u64);
    }
    // A resumed run writes on after the last whole line.
    fs::write(&path, &whole[..last + 9]).unwrap();
    drop(Journal::resume(&path, &header(&plan)).unwrap());
    assert!(matches!(entries(&path).last(), Some(Entry::Resumed { .. })));
    // Damage in the middle is no accident of the end.
    let mut damaged = whole.clone();
    damaged[last - 5] = b'!';
    fs::write(&path, &damaged).unwrap();
    let error = Entries::open(&path).unwrap().1.find_map(Result::err).unwrap();
    assert!(matches!(error, ReadError::Parse { line, .. } if line == lines as u64 - 1), "{error}");
    fs::write(&path, "").unwrap();
    let empty = Journal::resume(&path, &header(&plan)).unwrap_err();
    assert!(matches!(empty, ResumeError::Read(ReadError::Parse { line: 1, .. })), "{empty}");
}

fn lines_of(bytes: &[u8]) -> usize {
    bytes.split(|byte| *byte == b'\n').count() - 1
}

/// A disk with so much room, shared so that the test can look at it.
#[derive(Debug, Clone)]
struct Disk {
    bytes: Arc<Mutex<Vec<u8>>>,
    room: usize,
}

impl Write for Disk {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let mut bytes = self.bytes.lock().unwrap();
        let fits = data.len().min(self.room - bytes.len());
        if fits == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        bytes.extend(data.iter().take(fits));
        Ok(fits)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for Disk {
    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.bytes.lock().unwrap().truncate(usize::try_from(len).unwrap());
        Ok(())
    }
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_ends_the_run_and_leaves_whole_lines() {
    let plan = plan(Some([1.0, 2.0, 3.0]));
    let mut start = serde_json::to_vec(&Entry::Header(header(&plan))).unwrap();
    start.push(b'\n');
    for room in [start.len() + 1, 5_000, 5_001, 20_003] {
        let disk = Disk { bytes: Arc::new(Mutex::new(start.clone())), room };
        let mut journal =
            Journal::on(Box::new(disk.clone()), start.len() as u64, Path::new("full.jsonl"), Kept::default());
        let error = run_until(&plan, &mut journal, |_| false).await.unwrap_err();
        assert!(matches!(error, RunError::Journal(_)), "{error}");
        assert!(error.to_string().contains("cannot write the journal `full.jsonl`"), "{error}");
        drop(journal);
        let bytes = disk.bytes.lock().unwrap().clone();
        assert_eq!(bytes.last(), Some(&b'\n'));
        let (_, read) = Entries::of(bytes.as_slice(), Path::new("full.jsonl")).unwrap();
        assert_eq!(read.map(Result::unwrap).count() + 1, lines_of(&bytes));
        assert!(bytes.len() + 1_000 > room, "the disk was used: {} of {room}", bytes.len());
    }
}

proptest! {
    #[test]
    fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok((_, entries)) = Entries::of(bytes.as_slice(), Path::new("noise")) {
            drop(entries.collect::<Vec<_>>());
        }
    }
}
