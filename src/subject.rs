//! What `bench` and `run` measure: an endpoint, or the in-process engine on the product's model.

use std::{path::Path, sync::Arc};

use anyhow::Result;
use breakeven_bench::{
    launch::Server,
    requests::RequestSource,
    target::{Target, engine::EngineTarget, http::Wording},
};
use breakeven_measurement::run::Target as TargetRecord;
use breakeven_models::ModelRecord;
use breakeven_planner::Product;
use tokio::runtime::Runtime;

use crate::{cli::Measuring, console, endpoint, model, policy};

/// What is measured.
pub(crate) struct Subject {
    pub(crate) target: Arc<dyn Target>,
    pub(crate) source: RequestSource,
    pub(crate) model: Option<ModelRecord>,
    pub(crate) record: TargetRecord,
    pub(crate) server: Option<Arc<Server>>,
    /// Writes prompts as text, for a fallback.
    pub(crate) wording: Wording,
}

/// The endpoint of `--target`, else the in-process engine on the product's model.
pub(crate) fn subject(
    product: &Product,
    file: &Path,
    measuring: &Measuring,
    seed: u64,
    out: &Path,
    runtime: &Runtime,
) -> Result<Subject> {
    let workload = product.workload();
    if let Some(address) = &measuring.endpoint.target {
        let log = out.with_file_name("server.log");
        let ready = runtime.block_on(measuring.endpoint.ready(address, &workload, seed, log))?;
        let endpoint::Ready { target, source, record, server, wording } = ready;
        return Ok(Subject { target, source, model: None, record, server, wording });
    }
    policy::check_for_engine(product)?;
    let started = model::start(product, file, measuring, seed)?;
    let record = started.engine.record().clone();
    console::note(&format!(
        "Model: {} {}, {} M parameters, ready in {:.1} s",
        record.name,
        record.quantization,
        record.parameters / 1_000_000,
        started.record.load_seconds
    ));
    let engine = Arc::clone(&started.engine);
    let source = RequestSource::new(&workload, seed, &|text| engine.codec().encode(text, false))?;
    let wording: Wording = Arc::new(move |tokens| engine.codec().decode(tokens));
    Ok(Subject {
        target: Arc::new(EngineTarget::new(started.engine)),
        wording,
        source,
        model: Some(record),
        record: TargetRecord::Engine(started.record),
        server: None,
    })
}
