//! Running the binary and showing what it said.

use std::process::{Command, Output};

/// The program under test; `BREAKEVEN` names another build of it, such as `target/release/breakeven` for figures.
pub(crate) fn binary() -> String {
    std::env::var("BREAKEVEN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_breakeven").to_owned())
}

/// Runs the binary in the repository's folder with a stable width.
pub(crate) fn breakeven(arguments: &[&str]) -> Output {
    Command::new(binary())
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("COLUMNS", "100")
        .env("NO_COLOR", "1")
        .output()
        .unwrap()
}

/// Exit code, standard output and standard error together.
pub(crate) fn shown(output: &Output) -> String {
    format!(
        "exit code: {}\n----- stdout\n{}----- stderr\n{}",
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
