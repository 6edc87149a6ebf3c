//! Models of the hub, fetched from a hub on this machine through the variables that the hub's own tools read. What
//! fetches is a process of its own: this very program, which then runs only [`child`].

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use breakeven_models::inference::fetch::{Attempt, FetchOptions, FetchProgress, WeightsChoice, resolve};
use breakeven_models::inference::{Engine, EngineSettings, GenerateRequest, GgmlDType, LoadedModel, Prompt};
use candle_core::DType;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::answer;
use crate::hub_server::{HubServer, Sent};
use crate::{hub_models, small};

const MODEL: &str = "BREAKEVEN_TEST_HUB_MODEL";
const RANDOM: &str = "BREAKEVEN_TEST_HUB_RANDOM";
const MARK: &str = "the child says ";
const ONE: &str = "1111111111111111111111111111111111111111";
const TWO: &str = "2222222222222222222222222222222222222222";

fn greedy(model: LoadedModel) -> Vec<u32> {
    let settings = EngineSettings { max_context: 64, threads: 1, ..EngineSettings::default() };
    let engine = Engine::start(model, &settings).unwrap();
    let prompt = Prompt::Tokens(vec![17, 3, 250, 99, 4]);
    answer(&engine, GenerateRequest { ignore_eos: true, ..GenerateRequest::new(prompt, 16) }).tokens
}

/// Tokens of a model on this machine's disk.
fn local(path: &Path) -> Vec<u32> {
    greedy(resolve(path.to_str().unwrap(), &FetchOptions::default(), &mut Notes::default()).unwrap().model)
}

#[derive(Default)]
struct Notes {
    tried: Vec<String>,
    failed: Vec<String>,
    reached: Option<(u64, Option<u64>)>,
}

impl FetchProgress for Notes {
    fn trying(&mut self, source: &str) {
        self.tried.push(source.to_owned());
    }
    fn advance(&mut self, bytes: u64, of: Option<u64>) {
        self.reached = Some((bytes, of));
    }
    fn failed(&mut self, attempt: &Attempt) {
        self.failed.push(attempt.failure.clone());
    }
}

/// The other process: fetches, runs, and says what happened. As a test of its own it does nothing.
#[test]
fn child() {
    let Ok(model) = env::var(MODEL) else { return };
    let mut notes = Notes::default();
    let mut options = FetchOptions::default();
    if env::var_os(RANDOM).is_some() {
        options.weights = WeightsChoice::Random { seed: 1, quantization: GgmlDType::Q8_0 };
    }
    let found = match resolve(&model, &options, &mut notes) {
        Err(error) => json!({ "error": error.to_string() }),
        Ok(resolved) => json!({
            "name": resolved.model.name,
            "origin": resolved.model.origin,
            "tokens": greedy(resolved.model),
            "tried": notes.tried,
            "failed": notes.failed,
            "reached": notes.reached,
        }),
    };
    println!("{MARK}{found}");
}

/// A hub and the folder where a user's cache lies.
struct Bench {
    server: HubServer,
    home: TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { server: HubServer::start(), home: tempfile::tempdir().unwrap() }
    }

    fn fetch_with(&self, model: &str, variables: &[(&str, &str)]) -> Value {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "hub::child", "--nocapture", "--test-threads", "1"]);
        let foreign = |name: &str| name.starts_with("HF_") || name.to_ascii_uppercase().ends_with("_PROXY");
        for (name, _) in env::vars().filter(|(name, _)| foreign(name)) {
            command.env_remove(name);
        }
        command.env(MODEL, model).env("HF_HOME", self.home.path()).env("HF_ENDPOINT", self.server.address());
        let output = command.envs(variables.iter().copied()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        // The test harness writes its own words before it on the same line.
        let line = said.lines().find_map(|line| Some(line.split_once(MARK)?.1));
        serde_json::from_str(line.unwrap_or_else(|| panic!("{said}{errors}"))).unwrap()
    }

    fn fetch(&self, model: &str) -> Value {
        self.fetch_with(model, &[])
    }

    /// The tokens of a model; it must be had.
    fn tokens(&self, model: &str) -> Vec<u32> {
        tokens(&self.fetch(model))
    }

    fn error(&self, model: &str) -> String {
        error(&self.fetch(model))
    }
}

fn tokens(found: &Value) -> Vec<u32> {
    assert!(found["error"].is_null(), "{found}");
    serde_json::from_value(found["tokens"].clone()).unwrap()
}

fn error(found: &Value) -> String {
    found["error"].as_str().unwrap_or_else(|| panic!("no error: {found}")).to_owned()
}

/// A repository with one GGUF file, and the file.
fn gguf(bench: &Bench, repository: &str, commit: &str, seed: u64) -> (TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = small::write(folder.path(), &small::spec("llama"), GgmlDType::Q8_0, seed);
    fs::write(folder.path().join("README.md"), "a model").unwrap();
    bench.server.commit(repository, commit, folder.path());
    (folder, path)
}

#[test]
fn a_file_runs_as_from_the_local_path_and_again_without_network() {
    let bench = Bench::new();
    let (_folder, path) = gguf(&bench, "lab/small-GGUF", ONE, 1);
    let expected = local(&path);
    let found = bench.fetch("hf:lab/small-GGUF");
    assert_eq!(tokens(&found), expected);
    let length = fs::metadata(&path).unwrap().len();
    assert_eq!(found["reached"], json!([length, length]));
    let origin = found["origin"].to_string();
    assert!(origin.contains(&format!("lab/small-GGUF@{ONE}/llama-1.gguf")), "{origin}");
    assert_eq!(bench.server.take_sent("llama-1.gguf").len(), 1);
    bench.server.take_requests();
    let again = bench.fetch_with("lab/small-GGUF", &[("HF_HUB_OFFLINE", "1")]);
    assert_eq!((tokens(&again), &again["origin"]), (expected.clone(), &found["origin"]));
    assert_eq!(bench.server.take_requests(), Vec::<String>::new());
    // A whole commit never changes, so that nobody is asked about it.
    assert_eq!(bench.tokens(&format!("hf:lab/small-GGUF@{ONE}")), expected);
    assert_eq!(bench.server.take_requests(), Vec::<String>::new());
    // A branch is asked about, but its file is there.
    assert_eq!(bench.tokens("hf:lab/small-GGUF"), expected);
    assert_eq!(bench.server.take_requests().len(), 1);
    assert_eq!(bench.server.take_sent("llama-1.gguf"), []);
    // And where the hub is away, what is there will do, and that is said.
    let away = bench.fetch_with("hf:lab/small-GGUF", &[("HF_ENDPOINT", "http://127.0.0.1:1")]);
    assert_eq!(tokens(&away), expected);
    assert!(away["failed"].to_string().contains("going on with the cached"), "{away}");
    let missing = error(&bench.fetch_with("hf:lab/other", &[("HF_HUB_OFFLINE", "1")]));
    assert!(missing.contains("offline") && missing.contains("lab/other"), "{missing}");
}

#[test]
fn a_folder_runs_as_from_the_local_path_and_again_without_network() {
    for shards in [1, 3] {
        let bench = Bench::new();
        let folder = tempfile::tempdir().unwrap();
        drop(hub_models::write(folder.path(), "qwen3", DType::BF16, shards));
        fs::write(folder.path().join("pytorch_model.bin"), "not wanted").unwrap();
        bench.server.commit("lab/small", ONE, folder.path());
        let expected = local(folder.path());
        // The shape alone costs no weights.
        let shape = bench.fetch_with("hf:lab/small", &[(RANDOM, "1")]);
        assert_eq!(shape["origin"], json!({ "kind": "random", "seed": 1 }), "{shape}");
        assert!(!bench.server.take_requests().iter().any(|line| line.contains("safetensors")));
        let found = bench.fetch("hf:lab/small");
        assert_eq!((tokens(&found), &found["name"]), (expected.clone(), &json!("small")));
        let requests = bench.server.take_requests();
        assert!(!requests.iter().any(|line| line.contains("pytorch_model")), "{requests:?}");
        let again = bench.fetch_with("hf:lab/small", &[("HF_HUB_OFFLINE", "true")]);
        assert_eq!((tokens(&again), &again["origin"]), (expected, &found["origin"]));
        assert_eq!(bench.server.take_requests(), Vec::<String>::new());
    }
}

#[test]
fn a_download_that_breaks_goes_on_where_it_ended() {
    let bench = Bench::new();
    let (_folder, path) = gguf(&bench, "lab/small-GGUF", ONE, 1);
    let length = usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
    // Broken once: the same run goes on.
    bench.server.cut(&[length / 3]);
    assert_eq!(bench.tokens("hf:lab/small-GGUF"), local(&path));
    let third = length / 3;
    let expected = [Sent { from: 0, bytes: third }, Sent { from: third, bytes: length - third }];
    assert_eq!(bench.server.take_sent("llama-1.gguf"), expected);
    // Broken as often as it is tried: the next run goes on.
    let (_folder, path) = gguf(&bench, "lab/other-GGUF", TWO, 2);
    bench.server.cut(&[100, 50, 25, 1000]);
    let broken = bench.error("hf:lab/other-GGUF");
    assert!(broken.contains("`llama-2.gguf` broke off") && broken.contains("try again"), "{broken}");
    assert_eq!(bench.tokens("hf:lab/other-GGUF"), local(&path));
    let sent = bench.server.take_sent("llama-2.gguf");
    let froms: Vec<usize> = sent.iter().map(|sent| sent.from).collect();
    assert_eq!(froms, [0, 100, 150, 175, 1175]);
    assert_eq!(sent.iter().map(|sent| sent.bytes).sum::<usize>(), length);
    // Whole, but not put into its place yet: a process that was killed leaves it so.
    let (_folder, path) = gguf(&bench, "lab/third-GGUF", ONE, 3);
    let blobs = bench.home.path().join("hub/models--lab--third-GGUF/blobs");
    fs::create_dir_all(&blobs).unwrap();
    let hash = breakeven_models::inference::cache::sha256_of(&path).unwrap();
    fs::copy(&path, blobs.join(format!("{hash}.part"))).unwrap();
    assert_eq!(bench.tokens("hf:lab/third-GGUF"), local(&path));
}

#[test]
fn a_revision_stays_and_a_branch_moves() {
    let bench = Bench::new();
    let (_first, old) = gguf(&bench, "lab/small-GGUF", ONE, 1);
    assert_eq!(bench.tokens("hf:lab/small-GGUF@main"), local(&old));
    let (_second, new) = gguf(&bench, "lab/small-GGUF", TWO, 2);
    assert_ne!(local(&old), local(&new));
    assert_eq!(bench.tokens("hf:lab/small-GGUF"), local(&new));
    assert_eq!(bench.tokens(&format!("hf:lab/small-GGUF@{ONE}")), local(&old));
    assert_eq!(bench.tokens(&format!("lab/small-GGUF@{TWO}:llama-2.gguf")), local(&new));
    let elsewhere = tempfile::tempdir().unwrap();
    let cache = elsewhere.path().to_str().unwrap();
    let pinned = format!("hf:lab/small-GGUF@{ONE}");
    assert_eq!(tokens(&bench.fetch_with(&pinned, &[("HF_HUB_CACHE", cache)])), local(&old));
    assert!(elsewhere.path().join("models--lab--small-GGUF/snapshots").join(ONE).is_dir());
}

#[test]
fn what_the_hub_refuses_is_said_with_what_to_do() {
    let bench = Bench::new();
    let (_folder, path) = gguf(&bench, "lab/small-GGUF", ONE, 1);
    let two = tempfile::tempdir().unwrap();
    fs::copy(&path, two.path().join("m.Q4_1.gguf")).unwrap();
    fs::copy(&path, two.path().join("m.Q8_0.gguf")).unwrap();
    bench.server.commit("lab/two-GGUF", ONE, two.path());
    for (model, words) in [
        ("hf:lab/none", ["knows no `lab/none`", "(404)", "asthe hub says"].as_slice()),
        ("hf:lab/small-GGUF@v9", &["no revision `v9`", "a branch, a tag or a commit"]),
        ("hf:lab/small-GGUF:q.gguf", &["no file `q.gguf`", "llama-1.gguf"]),
        ("hf:lab/small-GGUF:README.md", &["`README.md` is not a GGUF file"]),
        ("hf:lab/two-GGUF", &["2 GGUF files", "m.Q4_1.gguf, m.Q8_0.gguf"]),
        ("hf:lab/two-GGUF:Q5_0", &["no file `Q5_0`", "m.Q4_1.gguf"]),
    ] {
        let error = bench.error(model);
        assert!(words.iter().all(|word| error.contains(word)), "{model}: {error}");
        assert!(error.contains("cannot get model `hf:lab/"), "{error}");
    }
    assert_eq!(bench.tokens("hf:lab/two-GGUF:q8_0"), local(&path));
    for (repository, code, word) in
        [("lab/private", "RepoNotFound", "private or gated"), ("lab/gated", "GatedRepo", "accept its terms")]
    {
        let (_folder, path) = gguf(&bench, repository, ONE, 4);
        bench.server.lock(repository, "hf_right", code);
        let model = format!("hf:{repository}");
        let without = bench.error(&model);
        assert!(without.contains("set HF_TOKEN") && without.contains("(401)"), "{without}");
        assert!(without.contains(word), "{without}");
        let wrong = error(&bench.fetch_with(&model, &[("HF_TOKEN", "hf_wrong")]));
        assert!(wrong.contains("the token given may not read it") && !wrong.contains("hf_wrong"), "{wrong}");
        assert_eq!(tokens(&bench.fetch_with(&model, &[("HF_TOKEN", "hf_right")])), local(&path));
    }
    // The token that `hf auth login` leaves.
    let (_folder, path) = gguf(&bench, "lab/mine", TWO, 5);
    bench.server.lock("lab/mine", "hf_file", "RepoNotFound");
    fs::write(bench.home.path().join("token"), "hf_file\n").unwrap();
    assert_eq!(bench.tokens("hf:lab/mine"), local(&path));
}

#[test]
fn content_that_is_not_what_it_should_be_never_runs() {
    let bench = Bench::new();
    let (_folder, path) = gguf(&bench, "lab/small-GGUF", ONE, 1);
    bench.server.flip("llama-1.gguf", true);
    let changed = bench.error("hf:lab/small-GGUF");
    assert!(changed.contains("has SHA-256") && changed.contains("it was deleted, try again"), "{changed}");
    bench.server.flip("llama-1.gguf", false);
    let expected = local(&path);
    assert_eq!(bench.tokens("hf:lab/small-GGUF"), expected);
    // Damaged later, on this machine's disk.
    let blobs = bench.home.path().join("hub/models--lab--small-GGUF/blobs");
    let hash = breakeven_models::inference::cache::sha256_of(&path).unwrap();
    let mut bytes = fs::read(blobs.join(&hash)).unwrap();
    bytes[0] ^= 1;
    fs::write(blobs.join(&hash), &bytes).unwrap();
    let damaged = bench.error("hf:lab/small-GGUF");
    assert!(damaged.contains("delete it and try again"), "{damaged}");
    bytes.truncate(9);
    fs::write(blobs.join(&hash), &bytes).unwrap();
    // A size costs nothing to check, so that the file is fetched anew.
    assert_eq!(bench.tokens("hf:lab/small-GGUF"), expected);
    let (_folder, path) = gguf(&bench, "lab/lying-GGUF", ONE, 6);
    bench.server.misstate("llama-6.gguf", 7);
    let length = fs::metadata(path).unwrap().len();
    let lying = bench.error("hf:lab/lying-GGUF");
    assert!(lying.contains(&format!("came with {length} bytes, expected 7")), "{lying}");
}

#[test]
fn a_hub_that_says_nothing_is_given_up() {
    let bench = Bench::new();
    bench.server.silence(true);
    let patience = [("HF_HUB_ETAG_TIMEOUT", "1")];
    let silent = error(&bench.fetch_with("hf:lab/small-GGUF", &patience));
    assert!(silent.contains("no answer from http://127.0.0.1"), "{silent}");
    let nobody = error(&bench.fetch_with("hf:lab/small-GGUF", &[("HF_ENDPOINT", "http://127.0.0.1:1")]));
    assert!(nobody.contains("no answer from http://127.0.0.1:1"), "{nobody}");
    let nonsense = error(&bench.fetch_with("hf:lab/small-GGUF", &[("HF_ENDPOINT", "no address")]));
    assert!(nonsense.contains("no address"), "{nonsense}");
}
