//! `--target`: an OpenAI-compatible endpoint instead of the in-process engine, and `--launch`: the server behind it.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context as _, Result, bail};
use breakeven_bench::{
    launch::Server,
    requests::RequestSource,
    target::{
        Target,
        counted::{Count, Counted},
        http::{Api, ApiKey, Client, Endpoint, HttpTarget, Sending, Wording, first_model, prompt::Words},
    },
};
use breakeven_measurement::{Workload, run::Target as TargetRecord};
use breakeven_models::inference::tokenizer::TextCodec;
use clap::{Args, ValueEnum};
use serde_json::{Map, Value};

use crate::{console, interrupt::asked_to_end};

/// The only place a key may come from: arguments and files are seen by others.
const KEY_VARIABLE: &str = "BREAKEVEN_API_KEY";

/// Which server to drive.
#[derive(Debug, Args)]
#[command(next_help_heading = "Endpoint instead of the in-process engine")]
pub(crate) struct EndpointArguments {
    /// Base address of an OpenAI-compatible server (http://host:port/v1); the key comes from `BREAKEVEN_API_KEY`
    #[arg(long, value_name = "URL")]
    pub(crate) target: Option<String>,
    /// Interface of the server
    #[arg(long, value_enum, default_value_t = ApiChoice::Chat, requires = "target")]
    pub(crate) api: ApiChoice,
    /// Model name to ask for; the first that the server lists where left out
    #[arg(long, value_name = "NAME", requires = "target")]
    pub(crate) model: Option<String>,
    /// JSON object laid over each request's body; null takes a field out (`ignore_eos` is sent to http:// servers)
    #[arg(long, value_name = "JSON", requires = "target")]
    pub(crate) extra_body: Option<String>,
    /// tokenizer.json or GGUF file of the target's model: prompts get the lengths that were asked for, and answers are counted by it
    /// where the server sends no usage record, and beside it where it does
    #[arg(long, value_name = "FILE", requires = "target")]
    pub(crate) tokenizer: Option<PathBuf>,
    /// Command that starts the server; it is stopped at the end, on Ctrl-C and on errors
    #[arg(long, value_name = "COMMAND", requires = "target")]
    pub(crate) launch: Option<String>,
    /// Longest wait for a launched server to list its models, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600, requires = "launch")]
    pub(crate) launch_timeout: u64,
}

/// Which interface of the server to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ApiChoice {
    /// /chat/completions
    Chat,
    /// /completions
    Completions,
}

/// Turns a text into tokens, or says why not.
type Encode = Box<dyn Fn(&str) -> Result<Vec<u32>, String>>;

/// An endpoint ready to be driven.
pub(crate) struct Ready {
    pub(crate) target: Arc<dyn Target>,
    pub(crate) source: RequestSource,
    pub(crate) record: TargetRecord,
    /// Stops the server when dropped, where we started it.
    pub(crate) server: Option<Arc<Server>>,
    /// Writes prompts as text.
    pub(crate) wording: Wording,
}

impl EndpointArguments {
    /// Starts the server where asked, finds the model, and says what will be driven. `log` takes a launched server's output.
    pub(crate) async fn ready(
        &self,
        address: &str,
        workload: &Workload,
        seed: u64,
        log: PathBuf,
    ) -> Result<Ready> {
        let endpoint = Endpoint::parse(address).context("--target")?;
        let key = match std::env::var(KEY_VARIABLE) {
            Ok(text) if !text.trim().is_empty() => Some(ApiKey::new(&text).context(KEY_VARIABLE)?),
            Ok(_) | Err(_) => None,
        };
        if key.is_some() && !endpoint.is_encrypted() && !endpoint.is_loopback() {
            console::note(&format!(
                "Warning: the key goes to {endpoint} unencrypted; https:// would protect it."
            ));
        }
        let extra_body = extra_body(self.extra_body.as_deref())?;
        let client = Client::new(endpoint.clone(), key).context("--target")?;
        let server = match &self.launch {
            Some(command) => Some(Arc::new(self.launch(command, &client, log).await?)),
            None => None,
        };
        let model = match &self.model {
            Some(name) => name.clone(),
            None => match first_model(&client).await {
                Ok(name) => name,
                Err(said) => {
                    bail!("asking {endpoint} for its models: {said}; is the server up, or give --model NAME")
                }
            },
        };
        console::note(&format!("Target: {model} at {endpoint}"));
        let (encode, wording, count) = self.text()?;
        let source = RequestSource::new(workload, seed, &*encode)?;
        let sending = Sending { api: self.api.into(), model: model.clone(), extra_body };
        let target: Arc<dyn Target> = Arc::new(HttpTarget::new(client, sending, Arc::clone(&wording)));
        let target = match count {
            Some(count) => Arc::new(Counted { target, count }),
            None => target,
        };
        let record = TargetRecord::Endpoint { url: endpoint.to_string(), model };
        Ok(Ready { target, source, record, server, wording })
    }

    /// How prompts become tokens and text: by the target's own tokenizer, which then counts answers too, else by words.
    fn text(&self) -> Result<(Encode, Wording, Option<Count>)> {
        let Some(path) = &self.tokenizer else {
            let words = Arc::new(Words::default());
            let encoding = Arc::clone(&words);
            let encode: Encode = Box::new(move |text| Ok(encoding.encode(text)));
            return Ok((encode, Arc::new(move |tokens| words.decode(tokens)), None));
        };
        let codec = Arc::new(TextCodec::open(path).context("--tokenizer")?);
        let (encoding, counting) = (Arc::clone(&codec), Arc::clone(&codec));
        let count: Count =
            Arc::new(move |text| counting.encode(text, false).ok().map(|tokens| tokens.len() as u64));
        let encode: Encode = Box::new(move |text| encoding.encode(text, false));
        Ok((encode, Arc::new(move |tokens| codec.decode(tokens)), Some(count)))
    }

    async fn launch(&self, command: &str, client: &Client, log: PathBuf) -> Result<Server> {
        console::note(&format!("Starting the server; its output goes to {}", log.display()));
        let mut server = Server::start(command, log)?;
        let limit = std::time::Duration::from_secs(self.launch_timeout);
        let took = tokio::select! {
            healthy = server.wait_until_healthy(client, limit) => healthy?,
            true = asked_to_end() => bail!("stopped while the server was starting"),
        };
        console::note(&format!("The server answers after {:.1} s", took.as_secs_f64()));
        Ok(server)
    }
}

impl From<ApiChoice> for Api {
    fn from(choice: ApiChoice) -> Self {
        match choice {
            ApiChoice::Chat => Self::Chat,
            ApiChoice::Completions => Self::Completions,
        }
    }
}

fn extra_body(text: Option<&str>) -> Result<Map<String, Value>> {
    let Some(text) = text else { return Ok(Map::new()) };
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(other) => bail!("--extra-body: expected a JSON object such as {{\"top_p\": 0.9}}, found {other}"),
        Err(error) => Err(error).context("--extra-body: expected a JSON object such as {\"top_p\": 0.9}"),
    }
}
