//! One file from the hub into its cache, by `hf-hub`, which goes on where a broken download ended. What it does not do
//! is done here: time limits, further tries, and checks of the size.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use hf_hub::api::Progress;
use hf_hub::api::sync::ApiError;
use hf_hub::{Repo, RepoType};

use super::listing::RemoteFile;
use super::{Fault, Hub};
use crate::inference::error_chain;

/// Further tries of a download that broke off; each goes on where the last one ended.
const RETRIES: u32 = 3;
/// Pause before the first of them; the next ones wait twice as long each.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// hf-hub's ending of a file that is not whole yet.
const PART: &str = "part";

enum News {
    Size(u64),
    Bytes(u64),
    Finished(Result<PathBuf, ApiError>),
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

/// Told of bytes so far and the whole size.
pub(super) type Advance<'a> = dyn FnMut(u64, Option<u64>) + 'a;

impl Hub {
    /// Where the cache has a file of a commit.
    pub(super) fn place(&self, repository: &str, commit: &str, path: &str) -> PathBuf {
        let repo = Repo::new(repository.to_owned(), RepoType::Model);
        self.cache.repo(repo).pointer_path(commit).join(path)
    }

    /// Downloads a file at a commit; what an earlier attempt left is gone on with.
    pub(super) fn download(
        &self,
        repository: &str,
        commit: &str,
        file: &RemoteFile,
        advance: &mut Advance<'_>,
    ) -> Result<PathBuf, Fault> {
        self.drop_useless_part(repository, file);
        let mut pause = FIRST_PAUSE;
        let mut tries = 0;
        let (path, size) = loop {
            match self.transfer(repository, commit, &file.path, advance) {
                Err(Fault::Broken(_)) if tries < RETRIES => {
                    tries += 1;
                    std::thread::sleep(pause);
                    pause *= 2;
                }
                Err(fault) => return Err(fault),
                Ok(done) => break done,
            }
        };
        let found =
            fs::metadata(&path).map_err(|error| Fault::Local(format!("{}: {error}", path.display())))?;
        match file.bytes.or(size).filter(|expected| *expected != found.len()) {
            None => Ok(path),
            Some(expected) => {
                remove(&path);
                Err(Fault::Refused(format!(
                    "`{}` came with {} bytes, expected {expected}; it was deleted, try again",
                    file.path,
                    found.len()
                )))
            }
        }
    }

    /// A part as long as the whole would be refused by the server for ever, a longer one by hf-hub.
    fn drop_useless_part(&self, repository: &str, file: &RemoteFile) {
        let (Some(blob), Some(bytes)) = (&file.blob, file.bytes) else { return };
        let repo = Repo::new(repository.to_owned(), RepoType::Model);
        let part = self.cache.repo(repo).blob_path(blob).with_extension(PART);
        if fs::metadata(&part).is_ok_and(|found| found.len() >= bytes) {
            drop(fs::remove_file(part));
        }
    }

    fn transfer(
        &self,
        repository: &str,
        commit: &str,
        path: &str,
        advance: &mut Advance<'_>,
    ) -> Result<(PathBuf, Option<u64>), Fault> {
        let api = self.api()?;
        let repo = Repo::with_revision(repository.to_owned(), RepoType::Model, commit.to_owned());
        // hf-hub has no time limits of its own: it works in a thread that is left behind when it gives no sign.
        let (sender, receiver) = channel();
        let file = path.to_owned();
        std::thread::spawn(move || {
            let result = api.repo(repo).download_with_progress(&file, Reporter(sender.clone()));
            drop(sender.send(News::Finished(result)));
        });
        let mut size = None;
        let mut done = 0;
        loop {
            let patience = if size.is_none() { self.first_answer } else { self.stall };
            match receiver.recv_timeout(patience) {
                Ok(News::Size(bytes)) => size = Some(bytes),
                Ok(News::Bytes(bytes)) => {
                    done += bytes;
                    advance(done, size);
                }
                Ok(News::Finished(Ok(place))) => return Ok((place, size)),
                Ok(News::Finished(Err(error))) => return Err(self.fault(&error, repository, path)),
                Err(RecvTimeoutError::Timeout) => {
                    return Err(Fault::NoAnswer(format!(
                        "{} sent nothing for {} s; what has come is kept, try again",
                        self.endpoint,
                        patience.as_secs()
                    )));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Fault::Local("the download thread ended early".to_owned()));
                }
            }
        }
    }

    /// What an error of hf-hub means for a file.
    fn fault(&self, error: &ApiError, repository: &str, path: &str) -> Fault {
        match error {
            ApiError::RequestError(request) => match request.as_ref() {
                ureq::Error::StatusCode(404) => {
                    Fault::Refused(format!("`{repository}` has no file `{path}` (404)"))
                }
                ureq::Error::StatusCode(416) => Fault::Local(format!(
                    "a part of `{path}` in {} is as long as the file or longer; delete the *.{PART} files there and try again",
                    self.blobs(repository).display()
                )),
                ureq::Error::StatusCode(status @ 500..) => {
                    Fault::Broken(format!("{} answers {status} for `{path}`: try again later", self.endpoint))
                }
                // What a repository holds is told to everybody; its contents may be not.
                ureq::Error::StatusCode(status @ (401 | 403)) => {
                    self.refusal(*status, "GatedRepo", "", repository, "")
                }
                ureq::Error::StatusCode(status) => self.refusal(*status, "", "", repository, ""),
                other => Fault::Broken(format!(
                    "`{path}` broke off: {}; what has come is kept, try again",
                    error_chain(other)
                )),
            },
            ApiError::IoError(cause) => {
                Fault::Broken(format!("`{path}` broke off: {cause}; what has come is kept, try again"))
            }
            ApiError::InvalidResume => Fault::Local(format!(
                "a part of `{path}` in {} is longer than the file; delete the *.{PART} files there and try again",
                self.blobs(repository).display()
            )),
            ApiError::LockAcquisition(lock) => Fault::Local(format!(
                "another process is downloading `{path}`: it holds {}; try again when it is done",
                lock.display()
            )),
            other => Fault::Refused(format!("`{path}`: {}", error_chain(other))),
        }
    }

    fn blobs(&self, repository: &str) -> PathBuf {
        let repo = Repo::new(repository.to_owned(), RepoType::Model);
        self.cache.repo(repo).blob_path("").with_file_name("blobs")
    }
}

/// Takes a file out of the cache: its place in the snapshot and its content.
pub(super) fn remove(path: &Path) {
    if let Ok(content) = fs::canonicalize(path) {
        drop(fs::remove_file(content));
    }
    drop(fs::remove_file(path));
}
