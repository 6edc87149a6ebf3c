//! What a repository holds at a revision: asked of the hub, or read off its local cache.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::Fault;
use super::reference::{is_commit, is_inside};

/// Files of a snapshot lie at most so deep in folders.
const DEEPEST: usize = 8;

/// A file of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RemoteFile {
    /// Path inside the repository.
    pub(super) path: String,
    /// Size, where it was told.
    pub(super) bytes: Option<u64>,
    /// Content hash, lower-case hex; told of large files only.
    pub(super) sha256: Option<String>,
    /// Name of its content in the cache.
    pub(super) blob: Option<String>,
}

/// The files of a repository at one commit.
#[derive(Debug)]
pub(super) struct Listing {
    /// The commit.
    pub(super) commit: String,
    /// The files, those with paths that lead outside left out.
    pub(super) files: Vec<RemoteFile>,
}

impl Listing {
    /// A file by its path.
    pub(super) fn get(&self, path: &str) -> Option<&RemoteFile> {
        self.files.iter().find(|file| file.path == path)
    }

    /// From the answer to `/api/models/{repository}/revision/{revision}?blobs=true`; servers other than the hub may
    /// leave sizes and hashes out.
    pub(super) fn from_answer(answer: &Value) -> Result<Self, Fault> {
        let commit = answer.get("sha").and_then(Value::as_str).filter(|commit| is_commit(commit));
        let commit = commit.ok_or_else(|| Fault::Refused("the hub's answer names no commit".to_owned()))?;
        let files = answer.get("siblings").and_then(Value::as_array).into_iter().flatten();
        Ok(Self { commit: commit.to_owned(), files: files.filter_map(remote_file).collect() })
    }

    /// From a snapshot in the cache, which may be a part of what the repository holds.
    pub(super) fn from_snapshot(folder: &Path, commit: &str) -> Self {
        let mut files = Vec::new();
        walk(folder, "", DEEPEST, &mut files);
        files.sort();
        let file = |path| RemoteFile { path, bytes: None, sha256: None, blob: None };
        Self { commit: commit.to_owned(), files: files.into_iter().map(file).collect() }
    }
}

fn remote_file(entry: &Value) -> Option<RemoteFile> {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let path = text(entry.get("rfilename")).filter(|path| is_inside(path))?;
    let sha256 = text(entry.pointer("/lfs/sha256")).map(|hash| hash.to_ascii_lowercase());
    let sha256 = sha256.filter(|hash| is_sha256(hash));
    let blob = sha256.clone().or_else(|| text(entry.get("blobId")).filter(|id| is_commit(id)));
    let bytes = entry.pointer("/lfs/size").or_else(|| entry.get("size")).and_then(Value::as_u64);
    Some(RemoteFile { path, bytes, sha256, blob })
}

/// Whether a text is a SHA-256 in lower-case hex.
pub(super) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn walk(folder: &Path, prefix: &str, deepest: usize, files: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        // Through links: that is how the cache's snapshots point to contents.
        let Ok(kind) = fs::metadata(entry.path()) else { continue };
        let path = format!("{prefix}{name}");
        if kind.is_file() {
            files.push(path);
        } else if kind.is_dir() && deepest > 0 {
            walk(&entry.path(), &format!("{path}/"), deepest - 1, files);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sizes_and_hashes_are_read_where_told_and_paths_outside_are_left_out() {
        let sha = "A".repeat(64);
        let listing = Listing::from_answer(&json!({
            "sha": "0123456789abcdef0123456789abcdef01234567",
            "siblings": [
                { "rfilename": "config.json", "size": 7, "blobId": "0123456789abcdef0123456789abcdef01234567" },
                { "rfilename": "m/x.gguf", "size": 130, "lfs": { "sha256": sha, "size": 9 } },
                { "rfilename": "../../.bashrc" }, { "rfilename": "/etc/passwd" }, { "rfilename": 3 }, {},
                { "rfilename": "plain", "blobId": "../x" },
            ],
        }))
        .unwrap();
        assert_eq!(listing.files.len(), 3);
        assert_eq!(listing.get("config.json").unwrap().bytes, Some(7));
        let large = listing.get("m/x.gguf").unwrap();
        assert_eq!((large.bytes, large.blob.as_deref()), (Some(9), Some("a".repeat(64).as_str())));
        assert_eq!(listing.get("plain").unwrap().blob, None);
        for answer in [json!({}), json!([]), json!({ "sha": "../x" }), json!({ "sha": "main" })] {
            assert!(Listing::from_answer(&answer).is_err(), "{answer}");
        }
    }
}
