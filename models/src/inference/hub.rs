//! Weights from the Hugging Face hub, through `hf-hub`: its cache first, then the network unless
//! `HF_HUB_OFFLINE` forbids it. `HF_HOME` and `HF_ENDPOINT` are honoured by `hf-hub` itself.

use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use hf_hub::api::Progress;
use hf_hub::api::sync::ApiBuilder;
use hf_hub::{Cache, Repo, RepoType};

/// A hub that has not answered by then is taken for unreachable.
const FIRST_ANSWER: Duration = Duration::from_secs(5);
/// A download that stands still for so long is given up.
const STALL: Duration = Duration::from_secs(60);

enum News {
    Size(u64),
    Bytes(u64),
    Finished(Result<PathBuf, String>),
}

struct Reporter(Sender<News>);

impl Progress for Reporter {
    fn init(&mut self, size: usize, _file: &str) {
        drop(self.0.send(News::Size(size as u64)));
    }

    fn update(&mut self, size: usize) {
        drop(self.0.send(News::Bytes(size as u64)));
    }

    fn finish(&mut self) {}
}

/// Whether the environment forbids network use.
pub(crate) fn is_offline() -> bool {
    std::env::var("HF_HUB_OFFLINE")
        .is_ok_and(|value| ["1", "true", "yes", "on"].contains(&value.to_ascii_lowercase().as_str()))
}

/// Finds or downloads one file; `advance` gets bytes so far and the whole size.
pub(crate) fn fetch(
    repository: &str,
    revision: &str,
    path: &str,
    offline: bool,
    advance: &mut dyn FnMut(u64, Option<u64>),
) -> Result<PathBuf, String> {
    let repo = Repo::with_revision(repository.to_owned(), RepoType::Model, revision.to_owned());
    if let Some(found) = Cache::from_env().repo(repo.clone()).get(path) {
        return Ok(found);
    }
    if offline || is_offline() {
        return Err("not in the hub's local cache, and offline".to_owned());
    }
    // hf-hub has no time-outs of its own: it works in a thread that is left behind when it gives no sign.
    let (sender, receiver) = channel();
    let file = path.to_owned();
    std::thread::spawn(move || {
        let result = ApiBuilder::from_env()
            .with_progress(false)
            .build()
            .and_then(|api| api.repo(repo).download_with_progress(&file, Reporter(sender.clone())))
            .map_err(|error| super::error_chain(&error));
        drop(sender.send(News::Finished(result)));
    });
    let mut size = None;
    let mut done = 0;
    loop {
        let patience = if size.is_none() { FIRST_ANSWER } else { STALL };
        match receiver.recv_timeout(patience) {
            Ok(News::Size(bytes)) => size = Some(bytes),
            Ok(News::Bytes(bytes)) => {
                done += bytes;
                advance(done, size);
            }
            Ok(News::Finished(result)) => return result,
            Err(RecvTimeoutError::Timeout) => return Err(format!("no answer for {} s", patience.as_secs())),
            Err(RecvTimeoutError::Disconnected) => return Err("the download thread ended early".to_owned()),
        }
    }
}
