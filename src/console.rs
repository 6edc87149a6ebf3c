//! The one place that writes to the terminal, and the exit codes.

use std::{
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

/// Bad input, or a failure of ours.
pub(crate) const EXIT_BAD_INPUT: u8 = 2;
/// The answer is no: no option can be had.
const EXIT_NO: u8 = 1;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Done.
    Yes,
    /// Done, and the answer is no.
    No,
    /// Stopped by Ctrl-C; what was done is kept.
    Interrupted,
}

impl Answer {
    pub(crate) fn exit_code(self) -> ExitCode {
        match self {
            Self::Yes => ExitCode::SUCCESS,
            Self::No => ExitCode::from(EXIT_NO),
            // 128 + SIGINT, as shells report it.
            Self::Interrupted => ExitCode::from(130),
        }
    }
}

/// Data a reader may pipe on.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(())
}

/// A line about what is going on; never data.
pub(crate) fn note(text: &str) {
    // A closed standard error is no reason to stop measuring.
    drop(writeln!(io::stderr(), "{text}"));
}

/// An error and its causes, each once.
pub(crate) fn error(error: &anyhow::Error) {
    note(&format!("error: {error:#}"));
}

/// Whether the reader of our output went away, which is no failure.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// Columns of the terminal; 100 where it is none.
pub(crate) fn width() -> usize {
    let columns = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok());
    let terminal = || terminal_size::terminal_size().map(|(terminal_size::Width(w), _)| usize::from(w));
    columns.or_else(terminal).unwrap_or(100).clamp(60, 200)
}

/// Columns of the terminal that standard error is, for lines that are drawn over: one less, so that none wraps.
pub(crate) fn terminal_width() -> usize {
    let size = terminal_size::terminal_size_of(io::stderr());
    size.map_or(80, |(terminal_size::Width(width), _)| usize::from(width)).saturating_sub(1)
}

/// Colour only on a terminal, and never against `NO_COLOR`.
pub(crate) fn color() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}
