//! Models of the Hugging Face hub, through `hf-hub`: its cache first, then the network unless that is forbidden.
//!
//! The environment is that of the hub's own tools: `HF_ENDPOINT` (another server), `HF_HOME` and `HF_HUB_CACHE` (where files
//! go), `HF_TOKEN` or the file of `hf auth login`, `HF_HUB_OFFLINE`, `HF_HUB_ETAG_TIMEOUT` (seconds until the first sign of an
//! answer) and `HF_HUB_DOWNLOAD_TIMEOUT` (seconds that a download may stand still).

mod choose;
mod listing;
mod reference;
mod transfer;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hf_hub::api::sync::{Api, ApiBuilder};
use hf_hub::{Cache, Repo, RepoType};
use serde_json::Value;

use self::choose::{Chosen, INDEX, choose};
use self::listing::{Listing, RemoteFile, is_sha256};
pub use self::reference::HubReference;
use self::reference::is_commit;
use super::error_chain;
use super::fetch::{Attempt, FetchProgress};
use super::hub_folder;

const PUBLIC_HUB: &str = "https://huggingface.co";
/// A hub that has not answered by then is taken for unreachable: what its own tools wait.
const FIRST_ANSWER: Duration = Duration::from_secs(10);
/// A download that stands still for so long is given up.
const STALL: Duration = Duration::from_secs(60);
/// Characters of the hub's own message that are passed on.
const MOST_SAID: usize = 200;

/// Why something is not to be had. Each says what to do next.
#[derive(Debug)]
enum Fault {
    /// Nobody answers, or not in time.
    NoAnswer(String),
    /// The connection broke; what has come is kept.
    Broken(String),
    /// The hub says no.
    Refused(String),
    /// Something on this machine.
    Local(String),
}

impl From<Fault> for String {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::NoAnswer(text) | Fault::Broken(text) | Fault::Refused(text) | Fault::Local(text) => text,
        }
    }
}

/// A hub, its local cache, and how to deal with both.
#[derive(Debug)]
pub(crate) struct Hub {
    cache: Cache,
    endpoint: String,
    token: Option<String>,
    offline: bool,
    first_answer: Duration,
    stall: Duration,
}

/// A file of weights in the cache.
#[derive(Debug)]
pub(crate) struct HubWeights {
    pub(crate) path: PathBuf,
    /// What its content must hash to, where known.
    sha256: Option<String>,
    /// Whether it came just now.
    fresh: bool,
}

impl HubWeights {
    /// Holds a hash against what the hub said of the file. A bad download is deleted; an old file is left to its owner.
    pub(crate) fn check(&self, sha256: &str) -> Result<(), String> {
        let Some(expected) = self.sha256.as_deref().filter(|expected| *expected != sha256) else {
            return Ok(());
        };
        let next = if self.fresh {
            transfer::remove(&self.path);
            "it was deleted, try again"
        } else {
            "delete it and try again"
        };
        Err(format!("{} has SHA-256 {sha256}, expected {expected}; {next}", self.path.display()))
    }
}

/// A model of the hub, complete in the cache.
#[derive(Debug)]
pub(crate) struct HubModel {
    /// The GGUF file, or the folder.
    pub(crate) path: PathBuf,
    /// Name for people and records.
    pub(crate) name: String,
    /// Repository, commit and file.
    pub(crate) source: String,
    /// Its weights; none where only the shape was asked for.
    pub(crate) weights: Vec<HubWeights>,
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.trim().is_empty())
}

fn seconds(name: &str, default: Duration) -> Duration {
    let value = variable(name).and_then(|text| text.trim().parse().ok()).filter(|seconds| *seconds > 0);
    value.map_or(default, Duration::from_secs)
}

impl Hub {
    /// The hub that the environment names.
    pub(crate) fn from_env(offline: bool) -> Result<Self, String> {
        // hf-hub panics where there is no home.
        if variable("HF_HOME").is_none() && dirs::home_dir().is_none() {
            return Err("this system has no home folder: set HF_HOME".to_owned());
        }
        let home =
            variable("HF_HOME").map_or_else(Cache::default, |home| Cache::new(Path::new(&home).join("hub")));
        let token_file = variable("HF_TOKEN_PATH").and_then(|path| fs::read_to_string(path).ok());
        let token = variable("HF_TOKEN").or(token_file).map(|token| token.trim().to_owned());
        let token = token.filter(|token| !token.is_empty()).or_else(|| home.token());
        let forbidden = variable("HF_HUB_OFFLINE")
            .is_some_and(|value| ["1", "true", "yes", "on"].contains(&value.to_ascii_lowercase().as_str()));
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| PUBLIC_HUB.to_owned());
        Ok(Self {
            cache: variable("HF_HUB_CACHE").map_or(home, |path| Cache::new(path.into())),
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token,
            offline: offline || forbidden,
            first_answer: seconds("HF_HUB_ETAG_TIMEOUT", FIRST_ANSWER),
            stall: seconds("HF_HUB_DOWNLOAD_TIMEOUT", STALL),
        })
    }

    fn api(&self) -> Result<Api, Fault> {
        ApiBuilder::from_cache(self.cache.clone())
            .with_endpoint(self.endpoint.clone())
            .with_token(self.token.clone())
            .with_progress(false)
            .build()
            .map_err(|error| Fault::Local(error_chain(&error)))
    }

    /// Finds or downloads one file of a commit.
    pub(crate) fn file(
        &self,
        repository: &str,
        commit: &str,
        path: &str,
        advance: &mut dyn FnMut(u64, Option<u64>),
    ) -> Result<PathBuf, String> {
        let place = self.place(repository, commit, path);
        if place.is_file() {
            return Ok(place);
        }
        if self.offline {
            return Err("not in the hub's local cache, and offline".to_owned());
        }
        let file = RemoteFile { path: path.to_owned(), bytes: None, sha256: None, blob: None };
        Ok(self.download(repository, commit, &file, advance)?)
    }

    /// Finds or downloads a model. A commit that the cache has whole needs no network; of a branch or tag the hub is asked
    /// first, and where it does not answer, what the cache has is taken. `shape_only` leaves a folder's weights out.
    pub(crate) fn model(
        &self,
        reference: &HubReference,
        shape_only: bool,
        progress: &mut dyn FetchProgress,
    ) -> Result<HubModel, String> {
        let cached = || self.cached_model(reference, shape_only);
        if self.offline {
            return cached().map_err(|fault| format!("offline, and {fault}"));
        }
        if is_commit(reference.revision())
            && let Ok(model) = cached()
        {
            return Ok(model);
        }
        progress.trying(&format!("hugging face hub {reference}"));
        match self.listing(reference) {
            Ok(listing) => Ok(self.fetch_model(reference, &listing, shape_only, progress)?),
            Err(Fault::NoAnswer(failure)) => {
                let model = cached().map_err(|fault| format!("{failure}; and {fault}"))?;
                let failure = format!("{failure}; going on with the cached {}", model.source);
                progress.failed(&Attempt { source: format!("hugging face hub {reference}"), failure });
                Ok(model)
            }
            Err(fault) => Err(fault.into()),
        }
    }

    fn listing(&self, reference: &HubReference) -> Result<Listing, Fault> {
        let (repository, revision) = (reference.repository(), reference.revision());
        let repo = Repo::with_revision(repository.to_owned(), RepoType::Model, revision.to_owned());
        let request = self.api()?.repo(repo).info_request().query("blobs", "true");
        let request = request.config().http_status_as_error(false);
        let first = Some(self.first_answer);
        let request = request.timeout_resolve(first).timeout_connect(first).timeout_recv_response(first);
        let unanswered = |error: ureq::Error| {
            Fault::NoAnswer(format!("no answer from {}: {}", self.endpoint, error_chain(&error)))
        };
        let mut response = request.timeout_per_read(Some(self.stall)).build().call().map_err(unanswered)?;
        if !response.status().is_success() {
            let header =
                |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
            let (code, said) = (header("x-error-code"), header("x-error-message"));
            return Err(self.refusal(response.status().as_u16(), code, said, repository, revision));
        }
        let text = response.body_mut().read_to_string().map_err(unanswered)?;
        let answer: Value = serde_json::from_str(&text).map_err(|error| {
            Fault::Refused(format!(
                "{} does not answer as the hub does: {error}; check HF_ENDPOINT",
                self.endpoint
            ))
        })?;
        Listing::from_answer(&answer)
    }

    /// What a status other than success means; the hub tells one kind from another in `x-error-code`.
    fn refusal(&self, status: u16, code: &str, said: &str, repository: &str, revision: &str) -> Fault {
        let endpoint = &self.endpoint;
        let access = if self.token.is_some() {
            "the token given may not read it or is not valid"
        } else {
            "set HF_TOKEN to a token that may read it"
        };
        let text = match (status, code) {
            (_, "RevisionNotFound") => {
                format!("`{repository}` has no revision `{revision}`, expected a branch, a tag or a commit")
            }
            (_, "GatedRepo") | (403, _) => {
                format!("`{repository}` is gated: accept its terms at {endpoint}/{repository}; {access}")
            }
            (401, _) => format!(
                "{endpoint} knows no `{repository}`, or it is private or gated: check the name; {access}"
            ),
            (404, _) => {
                format!("{endpoint} knows no `{repository}`: check the name; if it is private, {access}")
            }
            (429, _) => format!("{endpoint} has had too many requests: try again later"),
            (500.., _) => return Fault::NoAnswer(format!("{endpoint} answers {status}: try again later")),
            _ => format!("{endpoint} answers {status} for `{repository}`: check HF_ENDPOINT"),
        };
        let said: String = said.chars().filter(|c| !c.is_control()).take(MOST_SAID).collect();
        let said = if said.is_empty() { said } else { format!(" (it says: {said})") };
        Fault::Refused(format!("{text} ({status}){said}"))
    }

    fn fetch_model(
        &self,
        reference: &HubReference,
        listing: &Listing,
        shape_only: bool,
        progress: &mut dyn FetchProgress,
    ) -> Result<HubModel, Fault> {
        let chosen = choose(listing, reference.file()).map_err(Fault::Refused)?;
        let mut get = |file: &RemoteFile| self.get(reference, &listing.commit, file, progress);
        let model = match chosen {
            Chosen::Gguf(file) => {
                let weights = get(file)?;
                gguf_model(reference, &listing.commit, &file.path, weights)
            }
            Chosen::Folder { beside, weights } => {
                for file in beside {
                    get(file)?;
                }
                let mut files = Vec::new();
                let folder = self.place(reference.repository(), &listing.commit, "");
                if !shape_only {
                    files.push(get(weights)?);
                    if weights.path == INDEX {
                        files.clear();
                        for name in shards(&folder).map_err(Fault::Refused)? {
                            let missing = || {
                                Fault::Refused(format!(
                                    "{INDEX} names `{name}`, which the repository has not"
                                ))
                            };
                            files.push(get(listing.get(&name).ok_or_else(missing)?)?);
                        }
                    }
                }
                folder_model(reference, &listing.commit, folder, files)
            }
        };
        // Only now: a branch that the cache knows is whole.
        if !is_commit(reference.revision()) && !shape_only {
            let repo = Repo::with_revision(
                reference.repository().to_owned(),
                RepoType::Model,
                reference.revision().to_owned(),
            );
            self.cache.repo(repo).create_ref(&listing.commit).map_err(|error| {
                Fault::Local(format!("cannot write to {}: {error}", self.cache.path().display()))
            })?;
        }
        Ok(model)
    }

    /// A file of the listing, from the cache where it is whole there.
    fn get(
        &self,
        reference: &HubReference,
        commit: &str,
        file: &RemoteFile,
        progress: &mut dyn FetchProgress,
    ) -> Result<HubWeights, Fault> {
        let place = self.place(reference.repository(), commit, &file.path);
        if let Ok(found) = fs::metadata(&place) {
            if file.bytes.is_none_or(|bytes| bytes == found.len()) {
                let known = cached_weights(place);
                return Ok(HubWeights { sha256: file.sha256.clone().or(known.sha256.clone()), ..known });
            }
            transfer::remove(&place);
        }
        progress.trying(&format!(
            "hugging face hub {}@{}/{}",
            reference.repository(),
            short(commit),
            file.path
        ));
        let mut advance = |bytes, of| progress.advance(bytes, of);
        let path = self.download(reference.repository(), commit, file, &mut advance)?;
        if path != place {
            return Err(Fault::Refused(format!(
                "{} sent another commit than {commit}: try again",
                self.endpoint
            )));
        }
        Ok(HubWeights { path, sha256: file.sha256.clone(), fresh: true })
    }

    /// The model as far as the cache has it; the error finishes "and …".
    fn cached_model(&self, reference: &HubReference, shape_only: bool) -> Result<HubModel, String> {
        let (repository, revision) = (reference.repository(), reference.revision());
        let root = self.place(repository, "", "");
        let root = root.parent().unwrap_or(&root);
        let unknown = || {
            format!("the hub's cache {} has no `{repository}` at `{revision}`", self.cache.path().display())
        };
        let commit = if is_commit(revision) {
            revision.to_owned()
        } else {
            let text = fs::read_to_string(root.join("refs").join(revision)).map_err(|_| unknown())?;
            Some(text.trim().to_owned()).filter(|commit| is_commit(commit)).ok_or_else(unknown)?
        };
        let folder = self.place(repository, &commit, "");
        if !folder.is_dir() {
            return Err(unknown());
        }
        let listing = Listing::from_snapshot(&folder, &commit);
        let partial = |fault: String| format!("of what the hub's cache {} has: {fault}", folder.display());
        match choose(&listing, reference.file()).map_err(partial)? {
            Chosen::Gguf(file) => {
                let weights = cached_weights(folder.join(&file.path));
                Ok(gguf_model(reference, &commit, &file.path, weights))
            }
            Chosen::Folder { .. } => {
                let paths = if shape_only { Vec::new() } else { shards(&folder).map_err(partial)? };
                let weights: Vec<_> = paths.iter().map(|name| cached_weights(folder.join(name))).collect();
                match weights.iter().find(|weights| !weights.path.is_file()) {
                    Some(missing) => Err(partial(format!("{} is missing", missing.path.display()))),
                    None => Ok(folder_model(reference, &commit, folder, weights)),
                }
            }
        }
    }
}

/// Names of a folder's weights files.
fn shards(folder: &Path) -> Result<Vec<String>, String> {
    let files = hub_folder::weights_files(folder).map_err(|error| error_chain(&error))?;
    let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
    Ok(files.iter().filter_map(name).collect())
}

/// The cache names a large file's content by its hash.
fn cached_weights(path: PathBuf) -> HubWeights {
    let content = fs::canonicalize(&path).ok();
    let name = content.and_then(|content| Some(content.file_name()?.to_str()?.to_owned()));
    HubWeights { path, sha256: name.filter(|name| is_sha256(name)), fresh: false }
}

fn gguf_model(reference: &HubReference, commit: &str, file: &str, weights: HubWeights) -> HubModel {
    let name = Path::new(file).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    HubModel {
        path: weights.path.clone(),
        name: name.unwrap_or_else(|| reference.short_name().to_owned()),
        source: format!("hugging face hub {}@{commit}/{file}", reference.repository()),
        weights: vec![weights],
    }
}

fn folder_model(
    reference: &HubReference,
    commit: &str,
    folder: PathBuf,
    weights: Vec<HubWeights>,
) -> HubModel {
    HubModel {
        path: folder,
        name: reference.short_name().to_owned(),
        source: format!("hugging face hub {}@{commit}", reference.repository()),
        weights,
    }
}

fn short(commit: &str) -> &str {
    commit.get(..8).unwrap_or(commit)
}
