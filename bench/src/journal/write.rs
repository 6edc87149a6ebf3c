//! Writing a journal from a thread of its own, so that neither encoding nor a slow disk delays an arrival.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    },
    thread::{self, JoinHandle},
};

use breakeven_measurement::{LevelResult, RequestRate, SearchRecord, SweepPoint};
use jiff::Timestamp;

use super::{AttemptLine, Entry, Header, Kept, Searched, resume::resume};
use crate::drive::Attempt;

/// Lines are gathered up to this many bytes where they come faster than the disk takes them.
const BATCH_BYTES: usize = 1 << 20;

/// A journal that cannot be written.
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "cannot write the journal `{path}`; what it holds is whole: make room, or check its folder, then go on with --resume"
)]
pub struct JournalError {
    path: PathBuf,
    #[source]
    source: Arc<io::Error>,
}

/// Where a journal's bytes go: a file, or in tests something that fills up.
pub trait Sink: Write + Send {
    /// Drops everything behind the first `len` bytes.
    fn cut(&mut self, len: u64) -> io::Result<()>;
    /// Hands everything to the device.
    fn sync(&mut self) -> io::Result<()>;
}

impl Sink for File {
    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// A JSON-lines file of what a run does.
///
/// A line is in the hands of the operating system a moment after its attempt ended, so it outlives the process; at the
/// end of a search or level all lines are on the device, so they outlive the machine.
pub struct Journal {
    lines: Option<Sender<Message>>,
    writer: Option<JoinHandle<()>>,
    fault: Arc<OnceLock<Arc<io::Error>>>,
    path: PathBuf,
    kept: Kept,
}

enum Message {
    Line(Box<Entry>),
    /// Answers when everything before it is on the device.
    Sync(SyncSender<()>),
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("path", &self.path).field("kept", &self.kept).finish_non_exhaustive()
    }
}

impl Journal {
    /// Starts an empty journal. What was at `path` before is overwritten.
    pub fn create(path: &Path, header: &Header) -> Result<Self, JournalError> {
        let error = |source| JournalError { path: path.to_owned(), source: Arc::new(source) };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(error)?;
        }
        let file = File::create(path).map_err(error)?;
        let mut journal = Self::on(Box::new(file), 0, path, Kept::default());
        journal.send(Entry::Header(header.clone()))?;
        Ok(journal)
    }

    /// Goes on with the journal of an earlier run, after its last whole line.
    ///
    /// # Errors
    /// Where it cannot be read, or its run was asked for something else.
    pub fn resume(path: &Path, header: &Header) -> Result<(Self, Header), super::ResumeError> {
        let (kept, earlier, whole_bytes) = resume(path, header)?;
        let error = |source| JournalError { path: path.to_owned(), source: Arc::new(source) };
        let file = OpenOptions::new().append(true).open(path).map_err(error)?;
        // A line that a crash cut off is not a record.
        file.set_len(whole_bytes).map_err(error)?;
        let mut journal = Self::on(Box::new(file), whole_bytes, path, kept);
        journal.send(Entry::Resumed { at: Timestamp::now() })?;
        Ok((journal, earlier))
    }

    /// A journal on any sink that holds `len` bytes already.
    pub fn on(sink: Box<dyn Sink>, len: u64, path: &Path, kept: Kept) -> Self {
        let fault = Arc::new(OnceLock::new());
        let (lines, incoming) = channel();
        let writer = Writer { sink, len, fault: Arc::clone(&fault) };
        let writer = thread::Builder::new().name("journal".to_owned()).spawn(move || writer.run(&incoming));
        if let Err(error) = &writer {
            drop(fault.set(Arc::new(io::Error::new(error.kind(), "no thread to write from"))));
        }
        Self { lines: Some(lines), writer: writer.ok(), fault, path: path.to_owned(), kept }
    }

    /// What a resumed run need not repeat; empty for a new one.
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Appends one attempt of a phase (`probe 3`, `expected`).
    ///
    /// # Errors
    /// Where this or an earlier line could not be written.
    pub fn append(&mut self, phase: &str, attempt: &Attempt) -> Result<(), JournalError> {
        self.send(Entry::Attempt(AttemptLine { phase: phase.to_owned(), record: attempt.clone() }))
    }

    /// Notes a finished search, and waits for all lines to be on the device.
    ///
    /// # Errors
    /// Where anything so far could not be written.
    pub fn searched(&mut self, record: &SearchRecord, base_rate: RequestRate) -> Result<(), JournalError> {
        self.send(Entry::Searched(Searched { record: record.clone(), base_rate }))?;
        self.sync()
    }

    /// Notes a level that ran to the end of its schedule, and waits for all lines to be on the device.
    ///
    /// # Errors
    /// Where anything so far could not be written.
    pub fn level(&mut self, level: &LevelResult) -> Result<(), JournalError> {
        self.send(Entry::Level(Box::new(level.clone())))?;
        self.sync()
    }

    /// Notes a step of the sweep that ran to its end, and waits for all lines to be on the device.
    ///
    /// # Errors
    /// Where anything so far could not be written.
    pub fn swept(&mut self, point: &SweepPoint) -> Result<(), JournalError> {
        self.send(Entry::Swept(Box::new(point.clone())))?;
        self.sync()
    }

    /// Waits for all lines to be on the device.
    ///
    /// # Errors
    /// Where anything so far could not be written.
    pub fn sync(&mut self) -> Result<(), JournalError> {
        let (done, wait) = sync_channel(1);
        if let Some(lines) = &self.lines
            && lines.send(Message::Sync(done)).is_ok()
        {
            // An error means that the writer ended, which its fault explains.
            wait.recv().ok();
        }
        self.check()
    }

    fn send(&mut self, entry: Entry) -> Result<(), JournalError> {
        self.check()?;
        if let Some(lines) = &self.lines {
            // A writer that ended has left its fault, which the next call reports.
            drop(lines.send(Message::Line(Box::new(entry))));
        }
        Ok(())
    }

    fn check(&self) -> Result<(), JournalError> {
        match self.fault.get() {
            Some(source) => Err(JournalError { path: self.path.clone(), source: Arc::clone(source) }),
            None => Ok(()),
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // The writer takes in what is left and ends when nobody can send any more.
        self.lines = None;
        if let Some(writer) = self.writer.take() {
            drop(writer.join());
        }
    }
}

struct Writer {
    sink: Box<dyn Sink>,
    /// Bytes of whole lines written.
    len: u64,
    fault: Arc<OnceLock<Arc<io::Error>>>,
}

impl Writer {
    fn run(mut self, incoming: &Receiver<Message>) {
        let mut batch = Vec::new();
        while let Ok(first) = incoming.recv() {
            batch.clear();
            let mut waiting = None;
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    Message::Line(entry) => {
                        if let Err(error) = encode(&entry, &mut batch) {
                            return self.fail(error);
                        }
                    }
                    Message::Sync(done) => {
                        waiting = Some(done);
                        break;
                    }
                }
                next = if batch.len() < BATCH_BYTES { incoming.try_recv().ok() } else { None };
            }
            if let Err(error) = self.write(&batch) {
                return self.fail(error);
            }
            if let Some(done) = waiting {
                if let Err(error) = self.sink.sync() {
                    return self.fail(error);
                }
                // Whoever waited may have given up.
                done.send(()).ok();
            }
        }
    }

    /// Writes whole lines; where the sink fills up, what is left of a line is taken back.
    fn write(&mut self, batch: &[u8]) -> io::Result<()> {
        let mut written = 0;
        while let Some(rest) = batch.get(written..).filter(|rest| !rest.is_empty()) {
            let error = match self.sink.write(rest) {
                Ok(0) => io::Error::from(io::ErrorKind::WriteZero),
                Ok(more) => {
                    written += more;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            let whole = batch.iter().take(written).rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            self.len += whole as u64;
            // Where even that fails, a reader still finds the last whole line.
            drop(self.sink.cut(self.len));
            return Err(error);
        }
        self.len += written as u64;
        Ok(())
    }

    fn fail(self, error: io::Error) {
        // The first fault is the one to tell.
        drop(self.fault.set(Arc::new(error)));
    }
}

fn encode(entry: &Entry, into: &mut Vec<u8>) -> io::Result<()> {
    serde_json::to_writer(&mut *into, entry)?;
    into.push(b'\n');
    Ok(())
}
