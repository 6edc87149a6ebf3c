//! A hub on this machine: the part of its HTTP interface that fetching a model uses, with faults on demand.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use breakeven_models::inference::cache::sha256_of;
use serde_json::{Value, json};

#[derive(Clone)]
struct Content {
    bytes: Vec<u8>,
    sha256: String,
}

impl Content {
    fn is_large(path: &str) -> bool {
        Path::new(path).extension().is_some_and(|ending| ending == "gguf" || ending == "safetensors")
    }

    /// What the hub names the content by.
    fn etag(&self, path: &str) -> &str {
        if Self::is_large(path) { &self.sha256 } else { &self.sha256[..40] }
    }
}

/// What a request for a file's content got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) from: usize,
    pub(crate) bytes: usize,
}

#[derive(Default)]
struct State {
    /// Repository and commit to path to content.
    commits: BTreeMap<(String, String), BTreeMap<String, Content>>,
    /// Repository and branch to commit.
    branches: BTreeMap<(String, String), String>,
    /// Repositories that want this token, and the `x-error-code` of those without it.
    locked: BTreeMap<String, (String, String)>,
    /// Most bytes of the next answers with a file's content; the connection then breaks.
    cuts: Vec<usize>,
    /// Paths whose first byte arrives changed.
    flipped: Vec<String>,
    /// Path to the size that the listing gives.
    misstated: BTreeMap<String, usize>,
    /// Accepts and says nothing.
    silent: bool,
    sent: BTreeMap<String, Vec<Sent>>,
    requests: Vec<String>,
}

/// Serves until the process ends.
#[derive(Clone)]
pub(crate) struct HubServer {
    address: String,
    state: Arc<Mutex<State>>,
}

impl HubServer {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let server = Self { address, state: Arc::default() };
        let shared = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = shared.clone();
                // A client that goes away is no failure of the server.
                std::thread::spawn(move || server.answer(stream).ok());
            }
        });
        server
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Adds all files of a folder as a commit, and moves `main` to it.
    pub(crate) fn commit(&self, repository: &str, commit: &str, folder: &Path) {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let content = Content { bytes: fs::read(&path).unwrap(), sha256: sha256_of(&path).unwrap() };
            files.insert(path.file_name().unwrap().to_str().unwrap().to_owned(), content);
        }
        let mut state = self.state();
        state.commits.insert((repository.to_owned(), commit.to_owned()), files);
        state.branches.insert((repository.to_owned(), "main".to_owned()), commit.to_owned());
    }

    pub(crate) fn lock(&self, repository: &str, token: &str, code: &str) {
        self.state().locked.insert(repository.to_owned(), (token.to_owned(), code.to_owned()));
    }

    /// Breaks the next answers after so many bytes.
    pub(crate) fn cut(&self, after: &[usize]) {
        self.state().cuts = after.to_vec();
    }

    pub(crate) fn flip(&self, path: &str, on: bool) {
        let mut state = self.state();
        state.flipped.retain(|flipped| flipped != path);
        if on {
            state.flipped.push(path.to_owned());
        }
    }

    pub(crate) fn misstate(&self, path: &str, bytes: usize) {
        self.state().misstated.insert(path.to_owned(), bytes);
    }

    pub(crate) fn silence(&self, on: bool) {
        self.state().silent = on;
    }

    /// What was sent of a file's content since the last call.
    pub(crate) fn take_sent(&self, path: &str) -> Vec<Sent> {
        self.state().sent.remove(path).unwrap_or_default()
    }

    /// Request lines since the last call.
    pub(crate) fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state().requests)
    }

    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let first = lines.next().unwrap_or(Ok(String::new()))?;
        let mut headers = BTreeMap::new();
        for line in lines {
            let line = line?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        self.state().requests.push(first.clone());
        if self.state().silent {
            // Until the client gives up.
            let mut rest = [0];
            while std::io::Read::read(&mut stream, &mut rest)? > 0 {}
            return Ok(());
        }
        let target = first.split(' ').nth(1).unwrap_or_default();
        let path = target.split('?').next().unwrap_or_default().trim_start_matches('/').to_owned();
        let parts: Vec<&str> = path.splitn(5, '/').collect();
        match parts.as_slice() {
            ["api", "models", owner, name, rest] => {
                let revision = rest.strip_prefix("revision/").unwrap_or_default();
                self.list(&mut stream, &headers, &format!("{owner}/{name}"), revision)
            }
            [owner, name, "resolve", revision, path] => {
                self.resolve(&mut stream, &headers, &format!("{owner}/{name}"), revision, path)
            }
            ["cdn", owner, name, commit, path] => {
                self.content(&mut stream, &headers, &format!("{owner}/{name}"), commit, path)
            }
            _ => respond(&mut stream, "404 Not Found", &[], b""),
        }
    }

    /// The commit of a revision, or how the hub refuses.
    fn find(
        &self,
        headers: &BTreeMap<String, String>,
        repository: &str,
        revision: &str,
    ) -> Result<String, (&'static str, String)> {
        let state = self.state();
        if let Some((token, code)) = state.locked.get(repository)
            && headers.get("authorization") != Some(&format!("Bearer {token}"))
        {
            return Err(("401 Unauthorized", code.clone()));
        }
        if !state.commits.keys().any(|(known, _)| known == repository) {
            return Err(("404 Not Found", "RepoNotFound".to_owned()));
        }
        let key = (repository.to_owned(), revision.replace("%2F", "/"));
        if state.commits.contains_key(&key) {
            return Ok(key.1);
        }
        state.branches.get(&key).cloned().ok_or_else(|| ("404 Not Found", "RevisionNotFound".to_owned()))
    }

    fn list(
        &self,
        stream: &mut TcpStream,
        headers: &BTreeMap<String, String>,
        repository: &str,
        revision: &str,
    ) -> std::io::Result<()> {
        // The hub tells everybody what a gated repository holds.
        let gated = self.state().locked.get(repository).is_some_and(|(_, code)| code == "GatedRepo");
        let found = if gated {
            let key = (repository.to_owned(), revision.to_owned());
            self.state().branches.get(&key).cloned().ok_or(("404 Not Found", String::new()))
        } else {
            self.find(headers, repository, revision)
        };
        let commit = match found {
            Ok(commit) => commit,
            Err((status, code)) => {
                let more = [("x-error-code", code.as_str()), ("x-error-message", "as\tthe hub says")];
                return respond(stream, status, &more, b"{}");
            }
        };
        let state = self.state();
        let siblings: Vec<Value> = state.commits[&(repository.to_owned(), commit.clone())]
            .iter()
            .map(|(path, content)| {
                let size = state.misstated.get(path).copied().unwrap_or(content.bytes.len());
                let mut entry = json!({ "rfilename": path, "size": size, "blobId": &content.sha256[..40] });
                if Content::is_large(path) {
                    entry["lfs"] = json!({ "sha256": content.sha256, "size": size, "pointerSize": 130 });
                }
                entry
            })
            .collect();
        let answer = json!({ "id": repository, "sha": commit, "siblings": siblings }).to_string();
        drop(state);
        respond(stream, "200 OK", &[("content-type", "application/json")], answer.as_bytes())
    }

    /// Large files are elsewhere, as the hub has them.
    fn resolve(
        &self,
        stream: &mut TcpStream,
        headers: &BTreeMap<String, String>,
        repository: &str,
        revision: &str,
        path: &str,
    ) -> std::io::Result<()> {
        let commit = match self.find(headers, repository, revision) {
            Ok(commit) => commit,
            Err((status, code)) => return respond(stream, status, &[("x-error-code", &code)], b""),
        };
        let key = (repository.to_owned(), commit.clone());
        let Some(content) = self.state().commits[&key].get(path).cloned() else {
            return respond(stream, "404 Not Found", &[("x-error-code", "EntryNotFound")], b"");
        };
        if !Content::is_large(path) {
            return self.content(stream, headers, repository, &commit, path);
        }
        let place = format!("{}/cdn/{repository}/{commit}/{path}", self.address);
        let etag = format!("\"{}\"", content.etag(path));
        let size = content.bytes.len().to_string();
        let more = [
            ("location", place.as_str()),
            ("x-linked-etag", etag.as_str()),
            ("x-linked-size", size.as_str()),
            ("x-repo-commit", commit.as_str()),
            ("etag", "\"of the pointer\""),
        ];
        respond(stream, "302 Found", &more, b"")
    }

    fn content(
        &self,
        stream: &mut TcpStream,
        headers: &BTreeMap<String, String>,
        repository: &str,
        commit: &str,
        path: &str,
    ) -> std::io::Result<()> {
        let key = (repository.to_owned(), commit.to_owned());
        let mut content = self.state().commits[&key][path].clone();
        if self.state().flipped.iter().any(|flipped| flipped == path) {
            content.bytes[0] ^= 1;
        }
        let whole = content.bytes.len();
        let range = headers.get("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
        let from: usize = range.map_or(0, |(from, _)| from.parse().unwrap());
        let to = range.and_then(|(_, to)| to.parse().ok()).map_or(whole, |to: usize| (to + 1).min(whole));
        if from >= to {
            let range = format!("bytes */{whole}");
            return respond(stream, "416 Range Not Satisfiable", &[("content-range", &range)], b"");
        }
        // hf-hub asks for the first byte only to learn the size.
        let probe = (from, to) == (0, 1);
        let most = {
            let mut state = self.state();
            if probe || state.cuts.is_empty() { usize::MAX } else { state.cuts.remove(0) }
        };
        let body = &content.bytes[from..to];
        let part = &body[..body.len().min(most)];
        if !probe {
            let sent = Sent { from, bytes: part.len() };
            self.state().sent.entry(path.to_owned()).or_default().push(sent);
        }
        let head = format!(
            "HTTP/1.1 206 Partial Content\r\ncontent-length: {}\r\ncontent-range: bytes {from}-{}/{whole}\r\n\
             accept-ranges: bytes\r\netag: \"{}\"\r\nx-repo-commit: {commit}\r\nconnection: close\r\n\r\n",
            body.len(),
            to - 1,
            content.etag(path)
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(part)?;
        stream.shutdown(Shutdown::Write)
    }
}

fn respond(
    stream: &mut TcpStream,
    status: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n", body.len());
    for (name, value) in headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    stream.write_all((head + "\r\n").as_bytes())?;
    stream.write_all(body)?;
    stream.shutdown(Shutdown::Write)
}
