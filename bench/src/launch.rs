//! Starting the server that is measured, and stopping it whatever happens.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout};

use crate::target::http::{Client, first_model};

/// How long a server may take to stop before it is killed.
const STOPPING: Duration = Duration::from_secs(5);
/// Lines of its output that an error shows.
const LAST_LINES: usize = 8;

/// A server of ours. Dropping it stops it.
#[derive(Debug)]
pub struct Server {
    child: Child,
    log: PathBuf,
}

/// Why a server could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// Its output has nowhere to go.
    #[error("cannot write the server's output to `{path}`")]
    Log {
        /// The file.
        path: PathBuf,
        /// The file system's answer.
        #[source]
        source: io::Error,
    },
    /// No shell to run it.
    #[error("cannot run `sh` to start the server")]
    Start(#[source] io::Error),
    /// It ended by itself.
    #[error("the server ended ({status}) before it answered; its last lines in `{log}`:\n{said}")]
    Ended {
        /// How.
        status: String,
        /// Where its output is.
        log: PathBuf,
        /// The end of its output.
        said: String,
    },
    /// It runs but does not answer.
    #[error(
        "the server did not list its models within {seconds} s ({answer}); check that --target has its port, or raise \
         --launch-timeout; its last lines in `{log}`:\n{said}"
    )]
    Silent {
        /// How long was waited.
        seconds: u64,
        /// What the last try met.
        answer: String,
        /// Where its output is.
        log: PathBuf,
        /// The end of its output.
        said: String,
    },
}

impl Server {
    /// Runs a shell command in a process group of its own, its output into `log`.
    pub fn start(command: &str, log: PathBuf) -> Result<Self, LaunchError> {
        let fault = |source| LaunchError::Log { path: log.clone(), source };
        if let Some(folder) = log.parent() {
            fs::create_dir_all(folder).map_err(fault)?;
        }
        let output = File::create(&log).map_err(fault)?;
        let errors = output.try_clone().map_err(fault)?;
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).stdin(Stdio::null()).stdout(output).stderr(errors);
        // The key is ours for the target's client; a server is told its own by its own variables.
        shell.env_remove("BREAKEVEN_API_KEY");
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut shell, 0);
        let child = shell.spawn().map_err(LaunchError::Start)?;
        Ok(Self { child, log })
    }

    /// Waits until the server lists a model. Returns how long that took.
    pub async fn wait_until_healthy(
        &mut self,
        client: &Client,
        limit: Duration,
    ) -> Result<Duration, LaunchError> {
        let began = Instant::now();
        let passed = || Instant::now().saturating_duration_since(began);
        let mut answer = "no try ended".to_owned();
        while passed() < limit {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(LaunchError::Ended {
                    status: status.to_string(),
                    log: self.log.clone(),
                    said: last_lines(&self.log),
                });
            }
            match timeout(Duration::from_secs(2), first_model(client)).await {
                Ok(Ok(_)) => return Ok(passed()),
                Ok(Err(said)) => answer = said,
                Err(_) => "it accepts connections and says nothing".clone_into(&mut answer),
            }
            sleep(Duration::from_millis(100)).await;
        }
        Err(LaunchError::Silent {
            seconds: limit.as_secs(),
            answer,
            log: self.log.clone(),
            said: last_lines(&self.log),
        })
    }

    /// Process number of the shell that runs the command, which is also its group's.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let group = self.id();
        stop_group(group, false);
        let waits = STOPPING.as_millis() / 20;
        for _ in 0..waits {
            if !matches!(self.child.try_wait(), Ok(None)) {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        // Whatever is left of the group, children of a shell that has ended too.
        stop_group(group, true);
        drop(self.child.wait());
    }
}

/// Asks a process group to end, or ends it.
#[cfg(unix)]
pub fn stop_group(group: u32, at_once: bool) {
    use nix::{
        sys::signal::{Signal, killpg},
        unistd::Pid,
    };
    let signal = if at_once { Signal::SIGKILL } else { Signal::SIGTERM };
    if let Ok(group) = i32::try_from(group) {
        // Fails where nobody is left in it, which is what was wanted.
        let _nobody_left = killpg(Pid::from_raw(group), signal);
    }
}

/// No process groups here: the child alone is ended by its owner.
#[cfg(not(unix))]
pub fn stop_group(_group: u32, _at_once: bool) {}

fn last_lines(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let start = lines.len().saturating_sub(LAST_LINES);
    let shown: Vec<String> = lines.iter().skip(start).map(|line| format!("  {line}")).collect();
    if shown.is_empty() { "  (none)".to_owned() } else { shown.join("\n") }
}
