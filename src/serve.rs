//! `breakeven serve`: the in-process engine as an OpenAI-compatible server.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context as _, Result};
use breakeven_models::inference::{
    Engine, EngineSettings,
    fetch::{FetchOptions, resolve},
};
use breakeven_serve::{Server, serve as run_server};
use clap::Args;
use tokio::net::TcpListener;

use crate::{
    cli::Weights,
    console::{self, Answer},
    download::Downloads,
    model::{STEP_TOKENS, weights_choice},
};

#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// Built-in model name, a GGUF file, a folder with config.json and safetensors, or hf:owner/name[@revision][:file] of the
    /// Hugging Face hub
    #[arg(default_value = breakeven_models::registry::DEFAULT_MODEL)]
    model: String,
    /// Address to listen on; only this machine can reach the default
    #[arg(long, default_value = "127.0.0.1:8000")]
    listen: SocketAddr,
    /// Weights: real ones, random ones where no source has the real, or random ones always
    #[arg(long, value_enum, default_value_t = Weights::RealOrRandom)]
    weights: Weights,
    /// Seed of random weights
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Compute threads; all cores where left out
    #[arg(long)]
    threads: Option<usize>,
    /// Most sequences decoded together
    #[arg(long, default_value_t = 32)]
    max_sequences: usize,
    /// Longest context of a sequence, in tokens
    #[arg(long, default_value_t = 2048)]
    max_context: usize,
    /// Never use the network to find weights
    #[arg(long)]
    offline: bool,
}

pub(crate) fn serve(arguments: &ServeArguments) -> Result<Answer> {
    let options = FetchOptions {
        weights: weights_choice(arguments.weights, arguments.seed),
        offline: arguments.offline,
        cache: None,
    };
    let resolved = resolve(&arguments.model, &options, &mut Downloads::new())?;
    if resolved.random_fallback {
        console::note("Random weights in the model's shapes: timings are real, texts are not.");
    }
    let settings = EngineSettings {
        threads: arguments.threads.unwrap_or(EngineSettings::default().threads),
        token_budget: STEP_TOKENS,
        max_sequences: arguments.max_sequences,
        max_context: arguments.max_context,
        ..EngineSettings::default()
    };
    let engine = Arc::new(Engine::start(resolved.model, &settings)?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the server's threads")?;
    runtime.block_on(async {
        let listener = TcpListener::bind(arguments.listen).await.with_context(|| {
            format!("cannot listen on {}; choose another address with --listen", arguments.listen)
        })?;
        let address = listener.local_addr().context("cannot tell the address")?;
        let in_force = engine.settings();
        console::note(&format!(
            "Serving {} at http://{address}/v1 with {} sequences of {} tokens; Ctrl-C stops",
            engine.record().name,
            in_force.max_sequences,
            in_force.max_context
        ));
        let stop = async {
            // Where signals cannot be had, the server runs until it is killed.
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        run_server(Server::new(Arc::clone(&engine)), listener, stop).await.context("the server failed")
    })?;
    Ok(Answer::Yes)
}
